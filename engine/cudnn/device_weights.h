// SPDX-License-Identifier: Apache-2.0
//
// A model's weights on the device: for the cell path [W|R] of each cell as one matrix, for cuDNN its weight space.
#ifndef LSTMD_ENGINE_CUDNN_DEVICE_WEIGHTS_H_
#define LSTMD_ENGINE_CUDNN_DEVICE_WEIGHTS_H_

#include <memory>
#include <vector>

#include "engine/backend.h"
#include "engine/cudnn/descriptors.h"
#include "engine/cudnn/device.h"

namespace lstmd::cudnn {

struct DeviceCell {
  explicit DeviceCell(const Device& device) : wr(device), bias(device), projection(device), peepholes(device) {}
  DeviceBuffer wr;          // [4H, I' + (P or H)] of the model's element type, rows i f g o
  DeviceBuffer bias;        // [4H] float32, empty without
  DeviceBuffer projection;  // [P, H] of the element type, empty without
  DeviceBuffer peepholes;   // [3H] float32 i f o, empty without
};

// Element type in which a model of this precision multiplies.
Element ElementOf(Precision precision);
size_t SizeOf(Element element);
CellFunctions FunctionsOf(const Activations& activations);
DeviceActivation ActivationOf(const Activation& activation);

class CudnnModel final : public DeviceModel {
 public:
  // Uploads. REQUIRES: as Backend::Load.
  static absl::StatusOr<std::unique_ptr<CudnnModel>> Create(const Device& device, const ModelSpec& spec,
                                                            const Weights& weights);

  uint64_t weight_bytes() const override;
  const ModelSpec& spec() const { return spec_; }
  Element element() const { return element_; }
  const DeviceCell& cell(uint32_t index) const { return cells_[index]; }
  // Floats of one state row.
  int32_t row_size() const { return static_cast<int32_t>(spec_.h_size() + spec_.c_size()); }
  const void* head_weight() const { return head_weight_.as<void>(); }  // [O, features] of the element type
  const float* head_bias() const { return head_bias_.as<float>(); }
  const std::vector<float>& host_head_bias() const { return host_head_bias_; }
  // The initial state as a state row.
  const std::vector<float>& initial_row() const { return initial_row_; }
  // Whether cudnnRNNForward computes this spec; then its weight space.
  bool has_rnn() const { return weight_space_.bytes() != 0; }
  const DeviceBuffer& weight_space() const { return weight_space_; }
  size_t weight_space_bytes() const { return weight_space_bytes_; }

 private:
  CudnnModel(const Device& device, const ModelSpec& spec);
  absl::Status UploadCells(const Weights& weights);
  absl::Status UploadHead(const Weights& weights);
  absl::Status UploadWeightSpace(const Weights& weights);
  absl::Status UploadElements(absl::Span<const float> values, DeviceBuffer* to);

  const Device& device_;
  const ModelSpec spec_;
  const Element element_;
  std::vector<DeviceCell> cells_;
  DeviceBuffer head_weight_;
  DeviceBuffer head_bias_;
  DeviceBuffer weight_space_;
  size_t weight_space_bytes_ = 0;
  std::vector<float> host_head_bias_;
  std::vector<float> initial_row_;
};

}  // namespace lstmd::cudnn

#endif  // LSTMD_ENGINE_CUDNN_DEVICE_WEIGHTS_H_
