// SPDX-License-Identifier: Apache-2.0
//
// One LSTM node: its attributes and its constants.
#ifndef LSTMD_ENGINE_CHECKPOINT_ONNX_LSTM_H_
#define LSTMD_ENGINE_CHECKPOINT_ONNX_LSTM_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/checkpoint/onnx.pb.h"
#include "engine/checkpoint/onnx_glue.h"
#include "engine/repository.h"

namespace lstmd::onnx {

// Inputs of an LSTM node by position.
enum LstmInput : size_t { kX, kW, kR, kB, kSequenceLens, kInitialH, kInitialC, kP, kLstmInputs };

struct Layer {
  const NodeProto* node = nullptr;
  int64_t input_size = 0;
  int64_t hidden_size = 0;
  Direction direction = Direction::kForward;
  std::array<Activations, 2> activations;
  float clip = 0;
  bool input_forget = false;
  bool batch_first = false;  // layout 1
  Value w, r;                // [D, 4H, I'] and [D, 4H, H]
  std::optional<Value> b;    // [D, 8H]
  std::optional<Value> p;    // [D, 3H]
  // The rows of a constant initial state, [D, H] each; empty: zeros, or given by the caller.
  std::vector<float> initial_h, initial_c;

  int64_t directions() const { return direction == Direction::kBidirectional ? 2 : 1; }
};

// The attributes of `node`, and W, R, B and P from its inputs (null: left out). MODEL_FILE when an attribute is unknown
// or wrong, a weight is no constant, or shapes do not fit each other.
absl::StatusOr<Layer> ReadLayer(const NodeProto& node, const std::vector<const Value*>& inputs);

// A constant initial state, [D, N, H] or with layout 1 [N, D, H], as the row [D, H] that all of the batch have; empty
// when it is all zeros. MODEL_FILE when rows differ or the shape does not fit.
absl::StatusOr<std::vector<float>> ReadInitialState(const Layer& layer, const Value& state, int64_t most_elements);

// Spec and weights of layers of the same kind, in canonical form, without head. MODEL_FILE naming the node when a layer
// differs from the first in what a ModelSpec has once.
absl::StatusOr<ModelFiles> Assemble(const std::vector<Layer>& layers, int64_t most_elements);

}  // namespace lstmd::onnx

#endif  // LSTMD_ENGINE_CHECKPOINT_ONNX_LSTM_H_
