// SPDX-License-Identifier: Apache-2.0
//
// What the handlers of glue operators (onnx_glue.h) share. Private to them.
#ifndef LSTMD_ENGINE_CHECKPOINT_ONNX_CALL_H_
#define LSTMD_ENGINE_CHECKPOINT_ONNX_CALL_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/checkpoint/onnx_glue.h"
#include "engine/checkpoint/onnx_graph.h"

namespace lstmd::onnx {

using Result = absl::StatusOr<std::vector<Value>>;

// One call of an operator, with what all of them need.
struct Call {
  const NodeProto& node;
  const std::vector<const Value*>& inputs;
  const GlueContext& context;
  Attributes attributes{node};

  bool Has(size_t i) const { return i < inputs.size() && inputs[i] != nullptr; }
  const Value& Data() const { return *inputs[0]; }
  size_t Rank() const { return Data().view.axes.size(); }
  absl::Status Refuse(absl::string_view why) const { return NodeError(node, why); }
  absl::Status NotAView() const {
    return Refuse(absl::StrCat("does more than move whole axes of ", ShapeText(Dims(Data().view))));
  }

  // A list that old opsets have as attribute and new ones as input `i`.
  absl::StatusOr<std::optional<std::vector<int64_t>>> List(std::string_view attribute, size_t i) const {
    if (!Has(i)) return attributes.Ints(attribute);
    absl::StatusOr<std::vector<int64_t>> list = ReadInts(*inputs[i]);
    if (!list.ok()) {
      return Refuse(absl::StrCat("its input ", Quoted(node.input(static_cast<int>(i))), " is no short constant list"));
    }
    return std::optional<std::vector<int64_t>>(*std::move(list));
  }

  // `axis` counted from the front of `rank`.
  absl::StatusOr<size_t> Front(int64_t axis, size_t rank) const {
    const auto signed_rank = static_cast<int64_t>(rank);
    if (axis < -signed_rank || axis >= signed_rank) {
      return Refuse(absl::StrCat("axis ", axis, " of ", rank, " dimensions"));
    }
    return static_cast<size_t>(axis < 0 ? axis + signed_rank : axis);
  }

  absl::StatusOr<size_t> AxisAttribute(int64_t absent) const {
    const absl::StatusOr<int64_t> axis = attributes.IntOr("axis", absent);
    if (!axis.ok()) return axis.status();
    return Front(*axis, Rank());
  }

  Result With(std::optional<View> view) const {
    if (!view) return NotAView();
    return With(Data(), *std::move(view));
  }
  // `value` seen in another way.
  static std::vector<Value> With(const Value& value, View view) {
    Value result = value;
    result.view = std::move(view);
    return {std::move(result)};
  }
};

// Passes its input on.
Result Same(const Call& call);

// Operators that cut and join: onnx_join.cc.
Result Gather(const Call& call);
Result Split(const Call& call);
Result Concat(const Call& call);

// Constants and arithmetic on shapes: onnx_shapes.cc.
Result Cast(const Call& call);
Result Shape(const Call& call);
Result Constant(const Call& call);
Result ConstantOfShape(const Call& call);
Result Arithmetic(const Call& call);

}  // namespace lstmd::onnx

#endif  // LSTMD_ENGINE_CHECKPOINT_ONNX_CALL_H_
