// SPDX-License-Identifier: Apache-2.0
//
// cuDNN descriptors that free themselves, and the RNN descriptor of a model.
#ifndef LSTMD_ENGINE_CUDNN_DESCRIPTORS_H_
#define LSTMD_ENGINE_CUDNN_DESCRIPTORS_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/cudnn/device.h"
#include "engine/spec.h"

namespace lstmd::cudnn {

// Owns one descriptor. Empty until Create.
template <typename Handle, auto Make, auto Destroy>
class Descriptor {
 public:
  explicit Descriptor(const Device& device) : device_(&device) {}
  ~Descriptor() {
    if (handle_ != nullptr) (device_->api().*Destroy)(handle_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  absl::Status Create() { return device_->Check((device_->api().*Make)(&handle_), "making a descriptor"); }
  Handle get() const { return handle_; }

 private:
  const Device* device_;
  Handle handle_ = nullptr;
};

using RnnDescriptor =
    Descriptor<cudnnRNNDescriptor_t, &DeviceApi::cudnnCreateRNNDescriptor, &DeviceApi::cudnnDestroyRNNDescriptor>;
using RnnDataDescriptor = Descriptor<cudnnRNNDataDescriptor_t, &DeviceApi::cudnnCreateRNNDataDescriptor,
                                     &DeviceApi::cudnnDestroyRNNDataDescriptor>;
using TensorDescriptor = Descriptor<cudnnTensorDescriptor_t, &DeviceApi::cudnnCreateTensorDescriptor,
                                    &DeviceApi::cudnnDestroyTensorDescriptor>;

cudnnDataType_t DataTypeOf(Element element);

// Whether cudnnRNNForward computes this model: default functions, none of ONNX's extras, both directions concatenated
// (or a single layer, whose halves are merged afterwards).
bool CudnnComputes(const ModelSpec& spec);

// The fastest algorithm that the rules allow: persistent kernels want sequences of one length, no projection, and sizes
// that fit on the chip.
cudnnRNNAlgo_t ChooseAlgorithm(const ModelSpec& spec, Element element, bool equal_lengths);

// Sets the RNN descriptor of `spec`. REQUIRES: CudnnComputes(spec).
absl::Status SetRnn(const Device& device, const ModelSpec& spec, Element element, cudnnRNNAlgo_t algorithm,
                    bool allow_tf32, RnnDescriptor* descriptor);

}  // namespace lstmd::cudnn

#endif  // LSTMD_ENGINE_CUDNN_DESCRIPTORS_H_
