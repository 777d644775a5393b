// SPDX-License-Identifier: Apache-2.0
//
// A graph as an LSTM stack.
#ifndef LSTMD_ENGINE_CHECKPOINT_ONNX_STACK_H_
#define LSTMD_ENGINE_CHECKPOINT_ONNX_STACK_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/checkpoint/onnx.pb.h"
#include "engine/checkpoint/onnx_graph.h"
#include "engine/checkpoint/onnx_head.h"
#include "engine/checkpoint/onnx_lstm.h"
#include "engine/checkpoint/onnx_values.h"

namespace lstmd::onnx {

struct Stack {
  std::vector<Layer> layers;  // the lowest first; directions as the model has them
  std::optional<Dense> head;
  // What was found, in words: equal for two ways to fill in open dimensions when both found the same.
  std::string summary;
};

// Follows `graph` from its outputs. MODEL_FILE naming the node that does not belong to an LSTM stack.
absl::StatusOr<Stack> ReadStack(const GraphProto& graph, const Graph& index, Constants* constants);

}  // namespace lstmd::onnx

#endif  // LSTMD_ENGINE_CHECKPOINT_ONNX_STACK_H_
