// SPDX-License-Identifier: Apache-2.0
//
// The operators that stand between the LSTM nodes of a graph: those that only move elements, and the arithmetic on
// shapes that tells them where to.
#ifndef LSTMD_ENGINE_CHECKPOINT_ONNX_GLUE_H_
#define LSTMD_ENGINE_CHECKPOINT_ONNX_GLUE_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/checkpoint/onnx.pb.h"
#include "engine/checkpoint/onnx_tensor.h"
#include "engine/checkpoint/onnx_view.h"

namespace lstmd::onnx {

// What an array stands for. Contiguous shapes of the sources of one stack:
enum class Source : uint8_t {
  kFloats,  // a constant
  kInts,    // a constant, or computed from shapes
  kInput,   // graph input `index`
  kLayer,   // Y of layer `index`: [T, D, N, H]
  kState,   // Y_h of all layers, [L*D, N, H], and far behind them all Y_c
  kHead,    // rows of the dense layer in stage `index`: […, O]
};

// A tensor of the graph: a view of its source.
struct Value {
  Source source = Source::kInts;
  int index = 0;
  View view;
  Floats floats;  // only kFloats
  Ints ints;      // only kInts

  bool is_constant() const { return source == Source::kFloats || source == Source::kInts; }
  bool SameSource(const Value& other) const {
    return source == other.source && index == other.index && floats == other.floats && ints == other.ints;
  }
};

Value FromTensor(const Tensor& tensor);
Value FromInts(std::vector<int64_t> values);

// The numbers in order. MODEL_FILE when there are more than `most` (an Expand claims what it likes).
absl::StatusOr<std::vector<int64_t>> ReadInts(const Value& value, int64_t most = 4096);
absl::StatusOr<std::vector<float>> ReadFloats(const Value& value, int64_t most);

// Bounds and places that the operators need.
struct GlueContext {
  DataFolder folder;
  int64_t opset = 0;
  // Elements that a computed constant may have: as many as the files could hold.
  int64_t most_elements = 0;
};

// The outputs of `node`, from its inputs (null: left out). MODEL_FILE when the operator is none of these, is used in a
// way that does not only move elements, or its inputs do not fit it.
absl::StatusOr<std::vector<Value>> RunGlue(const NodeProto& node, const std::vector<const Value*>& inputs,
                                           const GlueContext& context);

}  // namespace lstmd::onnx

#endif  // LSTMD_ENGINE_CHECKPOINT_ONNX_GLUE_H_
