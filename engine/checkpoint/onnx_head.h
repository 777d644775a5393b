// SPDX-License-Identifier: Apache-2.0
//
// The dense layer at the end of a graph: Gemm, or MatMul and Add, and an activation.
#ifndef LSTMD_ENGINE_CHECKPOINT_ONNX_HEAD_H_
#define LSTMD_ENGINE_CHECKPOINT_ONNX_HEAD_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/checkpoint/onnx.pb.h"
#include "engine/checkpoint/onnx_glue.h"
#include "engine/spec.h"

namespace lstmd::onnx {

struct Dense {
  const NodeProto* node = nullptr;
  int64_t inputs = 0;
  int64_t outputs = 0;
  std::vector<float> weight;  // [outputs, inputs]
  std::vector<float> bias;    // [outputs], empty: none
  std::optional<Activation> activation;
  // Counts Gemm or MatMul, Add, activation as they are met: only what comes last is the model's output.
  int stage = 0;
};

// Whether `node` is a Gemm or MatMul.
bool IsDense(const NodeProto& node);
// Weights of a Gemm or MatMul whose first input is data. MODEL_FILE when the others are no constants that fit.
absl::StatusOr<Dense> ReadDense(const NodeProto& node, const std::vector<const Value*>& inputs, int64_t most_elements);
// An Add of a constant after it.
absl::Status AddBias(const NodeProto& node, const Value& bias, int64_t most_elements, Dense* dense);
// Whether `node` is an element-wise function that a head may have.
bool IsActivation(const NodeProto& node);
absl::StatusOr<Activation> ReadActivation(const NodeProto& node);

}  // namespace lstmd::onnx

#endif  // LSTMD_ENGINE_CHECKPOINT_ONNX_HEAD_H_
