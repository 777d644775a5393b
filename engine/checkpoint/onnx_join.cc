// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "engine/checkpoint/onnx_call.h"

namespace lstmd::onnx {
namespace {

constexpr int64_t kMostParts = 65536;

// The elements of constants one after the other along `axis`, copied.
template <typename T, typename Get>
absl::StatusOr<std::vector<T>> Copy(const Call& call, const std::vector<Value>& parts, size_t axis, const Get& get,
                                    std::vector<int64_t>* dims) {
  *dims = Dims(parts[0].view);
  int64_t total = 0;
  int64_t elements = 0;
  for (const Value& part : parts) {
    std::vector<int64_t> other = Dims(part.view);
    if (other.size() != dims->size()) return call.Refuse("its inputs differ in rank");
    total += other[axis];
    elements += Elements(part.view);
    other[axis] = (*dims)[axis];
    if (other != *dims) return call.Refuse("its inputs differ in shape");
    if (elements > call.context.most_elements) return call.Refuse("makes more elements than the file holds");
  }
  (*dims)[axis] = total;
  int64_t outer = 1;
  for (size_t a = 0; a < axis; ++a) outer *= (*dims)[a];
  std::vector<T> result(static_cast<size_t>(elements));
  int64_t start = 0;  // of the part, within one outer index
  const int64_t row = outer == 0 ? 0 : elements / outer;
  for (const Value& part : parts) {
    const int64_t length = outer == 0 ? 0 : Elements(part.view) / outer;
    int64_t k = 0;
    ForEach(part.view, [&](int64_t index) {
      result[static_cast<size_t>(k / length * row + start + k % length)] = get(part, index);
      ++k;
    });
    start += length;
  }
  return result;
}

absl::StatusOr<Value> Join(const Call& call, const std::vector<Value>& parts, size_t axis) {
  std::vector<View> views;
  bool same = true;
  bool floats = true;
  bool ints = true;
  for (const Value& part : parts) {
    views.push_back(part.view);
    same = same && part.SameSource(parts[0]);
    floats = floats && part.source == Source::kFloats;
    ints = ints && part.source == Source::kInts;
  }
  if (same) {
    if (std::optional<View> view = Concatenated(views, axis)) return Call::With(parts[0], *std::move(view))[0];
  }
  std::vector<int64_t> dims;
  if (floats) {
    const auto get = [](const Value& part, int64_t i) { return (*part.floats)[static_cast<size_t>(i)]; };
    absl::StatusOr<std::vector<float>> copy = Copy<float>(call, parts, axis, get, &dims);
    if (!copy.ok()) return copy.status();
    return FromTensor({dims, std::make_shared<const std::vector<float>>(*std::move(copy))});
  }
  if (ints) {
    const auto get = [](const Value& part, int64_t i) { return (*part.ints)[static_cast<size_t>(i)]; };
    absl::StatusOr<std::vector<int64_t>> copy = Copy<int64_t>(call, parts, axis, get, &dims);
    if (!copy.ok()) return copy.status();
    return FromTensor({dims, std::make_shared<const std::vector<int64_t>>(*std::move(copy))});
  }
  return call.Refuse("joins data that is not one after the other in one tensor");
}

}  // namespace

Result Gather(const Call& call) {
  if (!call.Has(1)) return call.Refuse("has no indices");
  const absl::StatusOr<size_t> axis = call.AxisAttribute(0);
  if (!axis.ok()) return axis.status();
  const size_t index_rank = call.inputs[1]->view.axes.size();
  absl::StatusOr<std::vector<int64_t>> indices = ReadInts(*call.inputs[1]);
  if (!indices.ok() || index_rank > 1) return call.Refuse("its indices are no short constant list");
  const int64_t extent = Extent(call.Data().view.axes[*axis]);
  for (int64_t& index : *indices) {
    if (index < -extent || index >= extent) {
      return call.Refuse(absl::StrCat("index ", index, " of an axis of ", extent));
    }
    if (index < 0) index += extent;
  }
  std::vector<Value> parts;
  for (const int64_t index : *indices) {
    const std::optional<View> part = Sliced(call.Data().view, *axis, index, 1, 1);
    if (!part) return call.NotAView();
    parts.push_back(Call::With(call.Data(), *part)[0]);
  }
  if (parts.empty()) return call.Refuse("takes nothing");
  if (index_rank == 0) {
    parts[0].view.axes.erase(parts[0].view.axes.begin() + static_cast<std::ptrdiff_t>(*axis));
    return parts;
  }
  absl::StatusOr<Value> joined = Join(call, parts, *axis);
  if (!joined.ok()) return joined.status();
  return std::vector<Value>{*std::move(joined)};
}

Result Split(const Call& call) {
  const absl::StatusOr<size_t> axis = call.AxisAttribute(0);
  if (!axis.ok()) return axis.status();
  const auto given = call.List("split", 1);
  if (!given.ok()) return given.status();
  const int64_t extent = Extent(call.Data().view.axes[*axis]);
  const int64_t outputs = call.node.output_size();
  if (outputs == 0) return call.Refuse("has no outputs");
  const int64_t equal = (extent + outputs - 1) / outputs;
  std::vector<Value> result;
  int64_t start = 0;
  for (int64_t k = 0; k < outputs; ++k) {
    int64_t count = std::min(equal, extent - start);
    if (*given) count = k < static_cast<int64_t>((*given)->size()) ? (**given)[static_cast<size_t>(k)] : -1;
    if (count < 0 || count > extent - start) return call.Refuse("its parts do not fit the axis");
    const std::optional<View> part = Sliced(call.Data().view, *axis, start, count, 1);
    if (!part) return call.NotAView();
    result.push_back(Call::With(call.Data(), *part)[0]);
    start += count;
  }
  if (start != extent) return call.Refuse("its parts do not fill the axis");
  return result;
}

Result Concat(const Call& call) {
  const absl::StatusOr<size_t> axis = call.AxisAttribute(0);
  if (!axis.ok()) return axis.status();
  if (static_cast<int64_t>(call.inputs.size()) > kMostParts) return call.Refuse("has too many inputs");
  std::vector<Value> parts;
  for (const Value* input : call.inputs) {
    if (input == nullptr) return call.Refuse("leaves out an input");
    if (input->view.axes.size() != call.Rank()) return call.Refuse("its inputs differ in rank");
    parts.push_back(*input);
  }
  absl::StatusOr<Value> joined = Join(call, parts, *axis);
  if (!joined.ok()) return joined.status();
  return std::vector<Value>{*std::move(joined)};
}

}  // namespace lstmd::onnx
