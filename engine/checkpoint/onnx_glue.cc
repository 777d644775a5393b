// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/onnx_glue.h"

#include <algorithm>
#include <unordered_map>

#include "engine/checkpoint/onnx_call.h"

namespace lstmd::onnx {

Result Same(const Call& call) { return std::vector<Value>{call.Data()}; }

namespace {

Result Dropout(const Call& call) {
  if (call.Has(2)) {
    const absl::StatusOr<std::vector<int64_t>> training = ReadInts(*call.inputs[2]);
    if (!training.ok() || training->size() != 1 || (*training)[0] != 0) return call.Refuse("is in training mode");
  }
  return Same(call);
}

Result Transpose(const Call& call) {
  absl::StatusOr<std::optional<std::vector<int64_t>>> given = call.attributes.Ints("perm");
  if (!given.ok()) return given.status();
  std::vector<int64_t> perm;
  if (*given) {
    perm = **std::move(given);
  } else {
    for (size_t a = call.Rank(); a-- > 0;) perm.push_back(static_cast<int64_t>(a));
  }
  std::vector<int64_t> sorted = perm;
  std::sort(sorted.begin(), sorted.end());
  for (size_t a = 0; a < sorted.size(); ++a) {
    if (sorted[a] != static_cast<int64_t>(a)) return call.Refuse("perm is no permutation");
  }
  if (perm.size() != call.Rank()) {
    return call.Refuse(absl::StrCat("perm: got ", perm.size(), " axes, want ", call.Rank()));
  }
  return call.With(Transposed(call.Data().view, perm));
}

Result Squeeze(const Call& call) {
  const auto axes = call.List("axes", 1);
  if (!axes.ok()) return axes.status();
  std::vector<bool> drop(call.Rank(), false);
  if (*axes) {
    for (const int64_t axis : **axes) {
      const absl::StatusOr<size_t> front = call.Front(axis, call.Rank());
      if (!front.ok()) return front.status();
      if (Extent(call.Data().view.axes[*front]) != 1) {
        return call.Refuse(absl::StrCat("axis ", axis, " of ", ShapeText(Dims(call.Data().view)), " is not 1"));
      }
      drop[*front] = true;
    }
  } else {
    for (size_t a = 0; a < drop.size(); ++a) drop[a] = Extent(call.Data().view.axes[a]) == 1;
  }
  View view;
  view.offset = call.Data().view.offset;
  for (size_t a = 0; a < drop.size(); ++a) {
    if (!drop[a]) view.axes.push_back(call.Data().view.axes[a]);
  }
  return call.With(std::move(view));
}

Result Unsqueeze(const Call& call) {
  const auto axes = call.List("axes", 1);
  if (!axes.ok()) return axes.status();
  if (!*axes) return call.Refuse("has no axes");
  const size_t rank = call.Rank() + (*axes)->size();
  if (rank > kMaxRank) return call.Refuse(absl::StrCat("makes ", rank, " dimensions"));
  std::vector<bool> added(rank, false);
  for (const int64_t axis : **axes) {
    const absl::StatusOr<size_t> front = call.Front(axis, rank);
    if (!front.ok()) return front.status();
    if (added[*front]) return call.Refuse(absl::StrCat("axis ", axis, " stands twice"));
    added[*front] = true;
  }
  View view;
  view.offset = call.Data().view.offset;
  size_t next = 0;
  for (const bool is_new : added) view.axes.push_back(is_new ? Axis{} : call.Data().view.axes[next++]);
  return call.With(std::move(view));
}

Result Reshape(const Call& call) {
  auto shape = call.List("shape", 1);
  if (!shape.ok()) return shape.status();
  if (!*shape) return call.Refuse("has no shape");
  const absl::StatusOr<int64_t> allow_zero = call.attributes.IntOr("allowzero", 0);
  if (!allow_zero.ok()) return allow_zero.status();
  std::vector<int64_t> dims = **std::move(shape);
  const std::vector<int64_t> from = Dims(call.Data().view);
  size_t open = dims.size();
  for (size_t d = 0; d < dims.size(); ++d) {
    if (dims[d] == 0 && *allow_zero == 0) {
      if (d >= from.size()) return call.Refuse("copies a dimension that there is not");
      dims[d] = from[d];
    } else if (dims[d] == -1) {
      if (open != dims.size()) return call.Refuse("leaves two dimensions open");
      open = d;
    }
  }
  if (open != dims.size()) {
    dims[open] = 1;
    const std::optional<int64_t> rest = ElementsOf(dims);
    if (!rest || *rest == 0 || Elements(call.Data().view) % *rest != 0) {
      return call.Refuse(absl::StrCat("shape ", ShapeText(dims), " does not fit ", ShapeText(from)));
    }
    dims[open] = Elements(call.Data().view) / *rest;
  }
  if (ElementsOf(dims) != Elements(call.Data().view)) {
    return call.Refuse(absl::StrCat("shape ", ShapeText(dims), " does not fit ", ShapeText(from)));
  }
  return call.With(Reshaped(call.Data().view, dims));
}

Result Flatten(const Call& call) {
  const absl::StatusOr<int64_t> axis = call.attributes.IntOr("axis", 1);
  if (!axis.ok()) return axis.status();
  const absl::StatusOr<size_t> front = call.Front(*axis, call.Rank() + (*axis < 0 ? 0 : 1));
  if (!front.ok()) return front.status();
  View view;
  view.offset = call.Data().view.offset;
  view.axes.resize(2);
  for (size_t a = 0; a < call.Rank(); ++a) {
    Axis& to = view.axes[a < *front ? 0 : 1];
    to.insert(to.end(), call.Data().view.axes[a].begin(), call.Data().view.axes[a].end());
  }
  return call.With(std::move(view));
}

Result Slice(const Call& call) {
  const auto starts = call.List("starts", 1);
  const auto ends = call.List("ends", 2);
  const auto axes = call.List("axes", 3);
  const auto steps = call.List("steps", 4);
  for (const auto* list : {&starts, &ends, &axes, &steps}) {
    if (!list->ok()) return list->status();
  }
  if (!*starts || !*ends) return call.Refuse("has no starts or ends");
  const size_t count = (*starts)->size();
  if ((*ends)->size() != count || (*axes && (*axes)->size() != count) || (*steps && (*steps)->size() != count)) {
    return call.Refuse("starts, ends, axes and steps differ in length");
  }
  View view = call.Data().view;
  for (size_t k = 0; k < count; ++k) {
    const absl::StatusOr<size_t> axis = call.Front(*axes ? (**axes)[k] : static_cast<int64_t>(k), call.Rank());
    if (!axis.ok()) return axis.status();
    const int64_t extent = Extent(view.axes[*axis]);
    int64_t step = *steps ? (**steps)[k] : 1;
    if (step == 0) return call.Refuse("step 0");
    step = std::clamp<int64_t>(step, -kMaxElements, kMaxElements);
    // The standard's clamping: negative indices count from the end, those beyond it are cut.
    const auto from_end = [extent](int64_t index) { return index < 0 ? std::max(index, -extent - 1) + extent : index; };
    int64_t first;
    int64_t taken;
    if (step > 0) {
      first = std::clamp<int64_t>(from_end((**starts)[k]), 0, extent);
      const int64_t end = std::clamp<int64_t>(from_end((**ends)[k]), 0, extent);
      taken = end > first ? (end - first + step - 1) / step : 0;
    } else {
      first = std::clamp<int64_t>(from_end((**starts)[k]), -1, extent - 1);
      const int64_t end = std::clamp<int64_t>(from_end((**ends)[k]), -1, extent - 1);
      taken = first > end ? (first - end - step - 1) / -step : 0;
    }
    std::optional<View> sliced = Sliced(view, *axis, taken == 0 ? 0 : first, taken, step);
    if (!sliced) return call.NotAView();
    view = *std::move(sliced);
  }
  return call.With(std::move(view));
}

Result Expand(const Call& call) {
  const auto dims = call.List("", 1);
  if (!dims.ok()) return dims.status();
  if (!*dims || (*dims)->size() > kMaxRank) return call.Refuse("has no shape");
  return call.With(Expanded(call.Data().view, **dims));
}

Result Tile(const Call& call) {
  const auto repeats = call.List("", 1);
  if (!repeats.ok()) return repeats.status();
  if (!*repeats || (*repeats)->size() != call.Rank()) return call.Refuse("its repeats do not fit its input");
  View view = call.Data().view;
  std::vector<int64_t> dims = Dims(view);
  for (size_t a = 0; a < dims.size(); ++a) {
    const int64_t times = (**repeats)[a];
    if (times < 1 || times > kMaxElements / std::max<int64_t>(dims[a], 1)) return call.Refuse("repeats are impossible");
    dims[a] *= times;
    view.axes[a].insert(view.axes[a].begin(), {times, 0});
  }
  if (!ElementsOf(dims)) return call.Refuse("repeats are impossible");
  return call.With(std::move(view));
}

}  // namespace

absl::StatusOr<std::vector<Value>> RunGlue(const NodeProto& node, const std::vector<const Value*>& inputs,
                                           const GlueContext& context) {
  using Handler = Result (*)(const Call&);
  static const auto* const kHandlers = new std::unordered_map<std::string_view, Handler>{
      {"Add", Arithmetic},     {"Cast", Cast},         {"CastLike", Same},
      {"Concat", Concat},      {"Constant", Constant}, {"ConstantOfShape", ConstantOfShape},
      {"Div", Arithmetic},     {"Dropout", Dropout},   {"Expand", Expand},
      {"Flatten", Flatten},    {"Gather", Gather},     {"Identity", Same},
      {"Mul", Arithmetic},     {"Reshape", Reshape},   {"Shape", Shape},
      {"Slice", Slice},        {"Split", Split},       {"Squeeze", Squeeze},
      {"Sub", Arithmetic},     {"Tile", Tile},         {"Transpose", Transpose},
      {"Unsqueeze", Unsqueeze}};
  const auto found = kHandlers->find(node.op_type());
  if (found == kHandlers->end() || !(node.domain().empty() || node.domain() == "ai.onnx")) {
    return NodeError(node,
                     "is no part of an LSTM stack: want LSTM nodes, operators that move data between them, and one "
                     "dense layer at the end");
  }
  if (node.op_type() != "Constant" && (inputs.empty() || inputs[0] == nullptr)) return NodeError(node, "has no input");
  return found->second({node, inputs, context});
}

}  // namespace lstmd::onnx
