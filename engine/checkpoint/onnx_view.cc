// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/onnx_view.h"

#include <algorithm>

namespace lstmd::onnx {
namespace {

// `axis` is normal. Adds the start to *offset. Nothing when the indices are no list of atoms.
std::optional<Axis> SliceAxis(absl::Span<const Atom> axis, int64_t start, int64_t count, int64_t step,
                              int64_t* offset) {
  if (count == 0) return Axis{{0, 0}};
  if (axis.empty()) return Axis{};
  const Atom& outer = axis[0];
  const auto rest = axis.subspan(1);
  int64_t inner = 1;
  for (const Atom& atom : rest) inner *= atom.extent;
  const int64_t last = start + (count - 1) * step;
  if (start / inner == last / inner && !rest.empty()) {
    *offset += start / inner * outer.stride;
    return SliceAxis(rest, start % inner, count, step, offset);
  }
  if (rest.empty()) {
    *offset += start * outer.stride;
    if (count == 1) return Axis{};
    return Axis{{count, outer.stride * step}};
  }
  if (step != 1 || start % inner != 0 || count % inner != 0) return std::nullopt;
  *offset += start / inner * outer.stride;
  Axis result{{count / inner, outer.stride}};
  result.insert(result.end(), rest.begin(), rest.end());
  return result;
}

}  // namespace

std::optional<int64_t> ElementsOf(absl::Span<const int64_t> dims) {
  if (dims.size() > kMaxRank) return std::nullopt;
  int64_t product = 1;
  bool zero = false;
  for (const int64_t dim : dims) {
    if (dim < 0) return std::nullopt;
    if (dim == 0) {
      zero = true;
      continue;
    }
    if (dim > kMaxElements / product) return std::nullopt;
    product *= dim;
  }
  return zero ? 0 : product;
}

int64_t Extent(const Axis& axis) {
  int64_t extent = 1;
  for (const Atom& atom : axis) extent *= atom.extent;
  return extent;
}

std::vector<int64_t> Dims(const View& view) {
  std::vector<int64_t> dims;
  for (const Axis& axis : view.axes) dims.push_back(Extent(axis));
  return dims;
}

int64_t Elements(const View& view) {
  int64_t elements = 1;
  for (const Axis& axis : view.axes) elements *= Extent(axis);
  return elements;
}

Axis Normal(absl::Span<const Atom> atoms) {
  Axis normal;
  for (const Atom& atom : atoms) {
    if (atom.extent == 0) return {{0, 0}};
    if (atom.extent == 1) continue;
    if (!normal.empty() && normal.back().stride == atom.extent * atom.stride) {
      normal.back() = {normal.back().extent * atom.extent, atom.stride};
    } else {
      normal.push_back(atom);
    }
  }
  return normal;
}

Axis Flatten(const View& view, size_t count) {
  Axis atoms;
  for (size_t a = 0; a < count; ++a) atoms.insert(atoms.end(), view.axes[a].begin(), view.axes[a].end());
  return Normal(atoms);
}

Axis Flatten(const View& view) { return Flatten(view, view.axes.size()); }

View Contiguous(absl::Span<const int64_t> dims) {
  View view;
  view.axes.resize(dims.size());
  int64_t stride = 1;
  for (size_t a = dims.size(); a-- > 0;) {
    view.axes[a] = {{dims[a], stride}};
    stride *= std::max<int64_t>(dims[a], 1);
  }
  return view;
}

View Transposed(const View& view, absl::Span<const int64_t> perm) {
  View result;
  result.offset = view.offset;
  for (const int64_t axis : perm) result.axes.push_back(view.axes[static_cast<size_t>(axis)]);
  return result;
}

std::optional<View> Reshaped(const View& view, absl::Span<const int64_t> dims) {
  const std::optional<int64_t> elements = ElementsOf(dims);
  if (!elements || *elements != Elements(view)) return std::nullopt;
  if (*elements == 0) return Contiguous(dims);
  const Axis atoms = Flatten(view);
  View result;
  result.offset = view.offset;
  size_t next = 0;
  Atom left;  // of the atom that was cut last, with extent 1 if none
  for (const int64_t dim : dims) {
    Axis axis;
    for (int64_t need = dim; need > 1;) {
      if (left.extent == 1) left = atoms[next++];
      if (need % left.extent == 0) {
        axis.push_back(left);
        need /= left.extent;
        left = {};
      } else if (left.extent % need == 0) {
        left.extent /= need;
        axis.push_back({need, left.stride * left.extent});
        need = 1;
      } else {
        return std::nullopt;
      }
    }
    result.axes.push_back(std::move(axis));
  }
  return result;
}

std::optional<View> Sliced(const View& view, size_t axis, int64_t start, int64_t count, int64_t step) {
  View result = view;
  std::optional<Axis> sliced = SliceAxis(Normal(view.axes[axis]), start, count, step, &result.offset);
  if (!sliced) return std::nullopt;
  result.axes[axis] = *std::move(sliced);
  return result;
}

std::optional<View> Expanded(const View& view, absl::Span<const int64_t> dims) {
  View result = view;
  while (result.axes.size() < dims.size()) result.axes.insert(result.axes.begin(), Axis{});
  const size_t extra = result.axes.size() - dims.size();
  for (size_t d = 0; d < dims.size(); ++d) {
    Axis& axis = result.axes[extra + d];
    const int64_t extent = Extent(axis);
    if (extent == dims[d] || dims[d] == 1) continue;
    if (extent != 1) return std::nullopt;
    axis = {{dims[d], 0}};
  }
  if (!ElementsOf(Dims(result))) return std::nullopt;
  return result;
}

std::optional<View> Concatenated(absl::Span<const View> views, size_t axis) {
  const View& first = views[0];
  for (const View& view : views) {
    if (view.axes.size() != first.axes.size()) return std::nullopt;
    for (size_t a = 0; a < first.axes.size(); ++a) {
      if (a != axis && Normal(view.axes[a]) != Normal(first.axes[a])) return std::nullopt;
    }
  }
  View result = first;
  if (views.size() == 1) return result;
  const Axis part = Normal(first.axes[axis]);
  // Equal parts at equal distances: one more atom outside.
  const int64_t distance = views[1].offset - first.offset;
  bool equal = true;
  for (size_t k = 0; k < views.size(); ++k) {
    equal = equal && Normal(views[k].axes[axis]) == part &&
            views[k].offset == first.offset + static_cast<int64_t>(k) * distance;
  }
  if (equal) {
    result.axes[axis].insert(result.axes[axis].begin(), {static_cast<int64_t>(views.size()), distance});
  } else {
    // Parts of any lengths and one stride, each starting where the one before ends.
    std::optional<int64_t> stride;
    for (const View& view : views) {
      const Axis other = Normal(view.axes[axis]);
      if (other.size() > 1 || (!other.empty() && stride && *stride != other[0].stride)) return std::nullopt;
      if (!other.empty()) stride = other[0].stride;
    }
    int64_t extent = 0;
    for (const View& view : views) {
      if (view.offset != first.offset + extent * stride.value_or(0)) return std::nullopt;
      extent += Extent(view.axes[axis]);
    }
    result.axes[axis] = {{extent, stride.value_or(0)}};
  }
  if (!ElementsOf(Dims(result))) return std::nullopt;
  return result;
}

}  // namespace lstmd::onnx
