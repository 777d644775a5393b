// SPDX-License-Identifier: Apache-2.0
#include "engine/cudnn/device_weights.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/cudnn/kernel_bodies.h"
#include "engine/errors.h"

namespace lstmd::cudnn {

// cell_math.h switches over these numbers.
static_assert(static_cast<int>(Function::kSigmoid) == 0 && static_cast<int>(Function::kTanh) == 1 &&
              static_cast<int>(Function::kHardSigmoid) == 2 && static_cast<int>(Function::kRelu) == 3 &&
              static_cast<int>(Function::kLinear) == 4 && static_cast<int>(Function::kSoftsign) == 5 &&
              static_cast<int>(Function::kSoftplus) == 6 && static_cast<int>(Function::kElu) == 7 &&
              static_cast<int>(Function::kSelu) == 8 && static_cast<int>(Function::kSilu) == 9 &&
              static_cast<int>(Function::kGelu) == 10 && static_cast<int>(Function::kLeakyRelu) == 11 &&
              static_cast<int>(Function::kThresholdedRelu) == 12 && static_cast<int>(Function::kScaledTanh) == 13 &&
              static_cast<int>(Function::kAffine) == 14);

Element ElementOf(Precision precision) {
  switch (precision) {
    case Precision::kF16:
      return Element::kF16;
    case Precision::kBf16:
      return Element::kBf16;
    default:
      return Element::kF32;
  }
}

size_t SizeOf(Element element) { return element == Element::kF32 ? 4 : 2; }

DeviceActivation ActivationOf(const Activation& activation) {
  return {static_cast<int32_t>(activation.function), activation.alpha, activation.beta};
}

CellFunctions FunctionsOf(const Activations& activations) {
  return {ActivationOf(activations.gate), ActivationOf(activations.cell), ActivationOf(activations.output)};
}

CudnnModel::CudnnModel(const Device& device, const ModelSpec& spec)
    : device_(device),
      spec_(spec),
      element_(ElementOf(spec.precision)),
      head_weight_(device),
      head_bias_(device),
      weight_space_(device) {}

absl::StatusOr<std::unique_ptr<CudnnModel>> CudnnModel::Create(const Device& device, const ModelSpec& spec,
                                                               const Weights& weights) {
  if (absl::Status status = device.Enter(); !status.ok()) return status;
  std::unique_ptr<CudnnModel> model(new CudnnModel(device, spec));
  if (absl::Status status = model->UploadCells(weights); !status.ok()) return status;
  if (absl::Status status = model->UploadHead(weights); !status.ok()) return status;
  if (CudnnComputes(spec)) {
    if (absl::Status status = model->UploadWeightSpace(weights); !status.ok()) return status;
  }
  model->initial_row_.assign(model->row_size(), 0.0f);
  if (spec.learned_initial_state) {
    std::copy(weights.initial_h.span().begin(), weights.initial_h.span().end(), model->initial_row_.begin());
    std::copy(weights.initial_c.span().begin(), weights.initial_c.span().end(),
              model->initial_row_.begin() + spec.h_size());
  }
  return model;
}

uint64_t CudnnModel::weight_bytes() const {
  uint64_t bytes = head_weight_.bytes() + head_bias_.bytes() + weight_space_.bytes();
  for (const DeviceCell& cell : cells_) {
    bytes += cell.wr.bytes() + cell.bias.bytes() + cell.projection.bytes() + cell.peepholes.bytes();
  }
  return bytes;
}

absl::Status CudnnModel::UploadElements(absl::Span<const float> values, DeviceBuffer* to) {
  if (element_ == Element::kF32) return to->Upload(values.data(), values.size() * sizeof(float));
  std::vector<uint16_t> narrow(values.size());
  for (size_t i = 0; i < values.size(); ++i) StoreElement(narrow.data(), static_cast<int64_t>(i), element_, values[i]);
  return to->Upload(narrow.data(), narrow.size() * sizeof(uint16_t));
}

absl::Status CudnnModel::UploadCells(const Weights& weights) {
  const size_t H = spec_.hidden_size;
  const size_t S = spec_.hidden_state_size();
  for (uint32_t index = 0; index < spec_.cells(); ++index) {
    const CellWeights& from = weights.cells[index];
    const size_t in = spec_.layer_input_size(index / spec_.directions());
    std::vector<float> wr(4 * H * (in + S));
    for (size_t row = 0; row < 4 * H; ++row) {
      float* to = wr.data() + row * (in + S);
      std::memcpy(to, from.w.data() + row * in, in * sizeof(float));
      std::memcpy(to + in, from.r.data() + row * S, S * sizeof(float));
    }
    cells_.emplace_back(device_);
    DeviceCell& cell = cells_.back();
    if (absl::Status status = UploadElements(wr, &cell.wr); !status.ok()) return status;
    if (absl::Status status = UploadElements(from.projection.span(), &cell.projection); !status.ok()) return status;
    for (auto [array, buffer] : {std::pair(&from.bias, &cell.bias), std::pair(&from.peepholes, &cell.peepholes)}) {
      if (absl::Status status = buffer->Upload(array->data(), array->size() * sizeof(float)); !status.ok()) {
        return status;
      }
    }
  }
  return absl::OkStatus();
}

absl::Status CudnnModel::UploadHead(const Weights& weights) {
  if (!spec_.head) return absl::OkStatus();
  host_head_bias_.assign(weights.head_bias.span().begin(), weights.head_bias.span().end());
  if (absl::Status status = UploadElements(weights.head_weight.span(), &head_weight_); !status.ok()) return status;
  return head_bias_.Upload(host_head_bias_.data(), host_head_bias_.size() * sizeof(float));
}

// cuDNN says where in its weight space each matrix lies; gates i f g o are its linear layers 0-3 (input) and 4-7
// (recurrent), 8 is the projection.
absl::Status CudnnModel::UploadWeightSpace(const Weights& weights) {
  const DeviceApi& api = device_.api();
  RnnDescriptor rnn(device_);
  absl::Status status = SetRnn(device_, spec_, element_, CUDNN_RNN_ALGO_STANDARD, false, &rnn);
  if (!status.ok()) return status;
  status = device_.Check(api.cudnnGetRNNWeightSpaceSize(device_.dnn(), rnn.get(), &weight_space_bytes_),
                         "sizing the weight space");
  if (status.ok()) status = weight_space_.Reserve(weight_space_bytes_);
  if (!status.ok()) return status;
  char* const base = weight_space_.as<char>();
  std::vector<char> image(weight_space_bytes_, 0);  // the second bias stays zero
  const auto put = [&](const void* address, absl::Span<const float> values, std::string_view what) -> absl::Status {
    if (values.empty()) return absl::OkStatus();
    const size_t offset = static_cast<const char*>(address) - base;
    const size_t bytes = values.size() * SizeOf(element_);
    if (address == nullptr || offset > image.size() || bytes > image.size() - offset) {
      return Internal("DEVICE_ERROR", absl::StrCat("cuDNN places ", absl::string_view(what.data(), what.size()),
                                                   " outside its weight space"));
    }
    for (size_t i = 0; i < values.size(); ++i) {
      StoreElement(image.data() + offset, static_cast<int64_t>(i), element_, values[i]);
    }
    return absl::OkStatus();
  };
  TensorDescriptor matrix(device_), bias(device_);
  if (status = matrix.Create(); !status.ok()) return status;
  if (status = bias.Create(); !status.ok()) return status;
  const size_t H = spec_.hidden_size;
  const size_t S = spec_.hidden_state_size();
  for (uint32_t index = 0; index < spec_.cells(); ++index) {
    const CellWeights& from = weights.cells[index];
    const size_t in = spec_.layer_input_size(index / spec_.directions());
    for (int32_t id = 0; id <= (spec_.projection_size != 0 ? 8 : 7); ++id) {
      void* matrix_at = nullptr;
      void* bias_at = nullptr;
      status = device_.Check(
          api.cudnnGetRNNWeightParams(device_.dnn(), rnn.get(), static_cast<int32_t>(index), weight_space_bytes_, base,
                                      id, matrix.get(), &matrix_at, bias.get(), &bias_at),
          "finding a weight's place");
      if (!status.ok()) return status;
      const size_t gate = static_cast<size_t>(id % 4);
      absl::Span<const float> values = from.projection.span();
      if (id < 4) values = from.w.span().subspan(gate * H * in, H * in);
      if (id >= 4 && id < 8) values = from.r.span().subspan(gate * H * S, H * S);
      if (status = put(matrix_at, values, "a matrix"); !status.ok()) return status;
      if (id < 4 && !from.bias.empty()) {
        if (status = put(bias_at, from.bias.span().subspan(gate * H, H), "a bias"); !status.ok()) return status;
      }
    }
  }
  return device_.CopyNow(base, image.data(), image.size());
}

}  // namespace lstmd::cudnn
