// SPDX-License-Identifier: Apache-2.0
#include "engine/cudnn/descriptors.h"

namespace lstmd::cudnn {
namespace {

// Hidden sizes up to which the persistent kernels exist.
constexpr uint32_t kSmallHidden = 192;
constexpr uint32_t kPersistentHidden = 1024;

}  // namespace

cudnnDataType_t DataTypeOf(Element element) {
  switch (element) {
    case Element::kF16:
      return CUDNN_DATA_HALF;
    case Element::kBf16:
      return CUDNN_DATA_BFLOAT16;
    default:
      return CUDNN_DATA_FLOAT;
  }
}

bool CudnnComputes(const ModelSpec& spec) {
  const bool two = spec.direction == Direction::kBidirectional;
  for (uint32_t d = 0; d < spec.directions(); ++d) {
    if (!(spec.activations[d] == Activations{})) return false;
  }
  if (spec.peepholes || spec.clip > 0 || spec.input_forget) return false;
  return !two || spec.num_layers == 1 || spec.merge_mode == MergeMode::kConcat;
}

cudnnRNNAlgo_t ChooseAlgorithm(const ModelSpec& spec, Element element, bool equal_lengths) {
  if (!equal_lengths || spec.projection_size != 0) return CUDNN_RNN_ALGO_STANDARD;
  if (spec.hidden_size <= kSmallHidden) return CUDNN_RNN_ALGO_PERSIST_STATIC_SMALL_H;
  if (element != Element::kF32 && spec.hidden_size <= kPersistentHidden && spec.hidden_size % 128 == 0 &&
      spec.num_layers == 1 && spec.directions() == 1) {
    return CUDNN_RNN_ALGO_PERSIST_STATIC;
  }
  return CUDNN_RNN_ALGO_STANDARD;
}

absl::Status SetRnn(const Device& device, const ModelSpec& spec, Element element, cudnnRNNAlgo_t algorithm,
                    bool allow_tf32, RnnDescriptor* descriptor) {
  if (absl::Status status = descriptor->Create(); !status.ok()) return status;
  const cudnnMathType_t math = element != Element::kF32 ? CUDNN_TENSOR_OP_MATH
                               : allow_tf32             ? CUDNN_DEFAULT_MATH
                                                        : CUDNN_FMA_MATH;
  // Always both biases (the second is zero): the other modes exist for the standard algorithm only. A projection as
  // wide as the hidden state stands for none.
  return device.Check(
      device.api().cudnnSetRNNDescriptor_v8(
          descriptor->get(), algorithm, CUDNN_LSTM, CUDNN_RNN_DOUBLE_BIAS,
          spec.directions() == 2 ? CUDNN_BIDIRECTIONAL : CUDNN_UNIDIRECTIONAL, CUDNN_LINEAR_INPUT, DataTypeOf(element),
          CUDNN_DATA_FLOAT, math, static_cast<int32_t>(spec.input_size), static_cast<int32_t>(spec.hidden_size),
          static_cast<int32_t>(spec.hidden_state_size()), static_cast<int32_t>(spec.num_layers),
          /*dropoutDesc=*/nullptr, CUDNN_RNN_PADDED_IO_DISABLED),
      "describing the LSTM");
}

}  // namespace lstmd::cudnn
