// SPDX-License-Identifier: Apache-2.0
//
// The state of following one graph. Private to onnx_stack.cc, onnx_stack_lstm.cc and onnx_stack_head.cc.
#ifndef LSTMD_ENGINE_CHECKPOINT_ONNX_STACK_READER_H_
#define LSTMD_ENGINE_CHECKPOINT_ONNX_STACK_READER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/checkpoint/onnx_layout.h"
#include "engine/checkpoint/onnx_stack.h"

namespace lstmd::onnx {

// So that addresses within all layers together stay far from overflow; specs allow fewer. Cell states start after as
// many hidden states.
inline constexpr size_t kMostLayers = 1024;

// Follows a graph once, with one set of numbers for its open dimensions.
class StackReader {
 public:
  StackReader(const GraphProto& graph, const Graph& index, Constants* constants, InputDims* dims)
      : graph_(graph), index_(index), constants_(*constants), dims_(*dims), values_(index, constants, dims) {}

  absl::StatusOr<Stack> Read();
  // A dimension was found out on the way: the failure means to try again.
  bool again() const { return again_; }

 private:
  using Inputs = std::vector<const Value*>;

  absl::Status Run(const NodeProto& node);
  absl::Status RunLstm(const NodeProto& node, const Inputs& inputs);
  absl::Status RunDense(const NodeProto& node, const Inputs& inputs);
  // An Add or an activation after it.
  absl::Status ContinueDense(const NodeProto& node, const Inputs& inputs, const Value& head);
  absl::Status CheckOutput(const std::string& name);

  absl::Status ConnectFirst(const Layer& layer, const Value& x);
  absl::Status ConnectNext(const Layer& layer, const Value& x);
  absl::Status ConnectLengths(const Layer& layer, const Value& lengths);
  absl::Status ConnectState(const char* what, const Value& state, Layer* layer, std::vector<float>* learned);
  absl::Status SettleDirections();

  // Gives the open dimension behind `axis` of a graph input the extent that it must have.
  bool Fix(const Value& value, size_t axis, int64_t extent);
  // Y of layer `index`, and the final states of it.
  Layout LayerLayout() const;
  Layout StateLayout(int64_t layer) const;
  // Notes that the output of the top layer is taken so; `what` for messages.
  absl::Status NoteTake(Take take, const std::string& what);
  int64_t most() const { return constants_.context().most_elements; }

  const GraphProto& graph_;
  const Graph& index_;
  Constants& constants_;
  InputDims& dims_;
  Values values_;
  Stack stack_;
  bool again_ = false;
  int64_t steps_ = 0;
  int64_t rows_ = 0;
  std::vector<bool> reads_reversed_;     // by layer: its input is turned around in time
  std::optional<bool> output_reversed_;  // the top layer's outputs are
  Layout head_layout_;
  int x_input_ = -1;
  // Where the initial states of the layer before are: to see that they come in order, none twice.
  std::optional<std::pair<int, int64_t>> last_h_, last_c_;
};

}  // namespace lstmd::onnx

#endif  // LSTMD_ENGINE_CHECKPOINT_ONNX_STACK_READER_H_
