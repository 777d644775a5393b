// SPDX-License-Identifier: Apache-2.0
//
// Where the elements of a tensor come from. Glue operators only move elements; their result is a View of an array that
// stands for the source: a graph input, the outputs of an LSTM node, a constant. An axis may be several axes of the
// source one after the other (a Reshape that merges), so it is a list of atoms, the outer one first; element (k0, k1,
// …) of the atoms is k0 * stride0 + k1 * stride1 + … away from where it starts. All operators on views cost time and
// memory of the number of atoms, whatever the extents are.
//
//   Y of an LSTM, contiguous [T, D, N, H]:   [ (T, DNH) ] [ (D, NH) ] [ (N, H) ] [ (H, 1) ]
//   after Transpose(0, 2, 1, 3):             [ (T, DNH) ] [ (N, H) ] [ (D, NH) ] [ (H, 1) ]
//   after Reshape(0, 0, -1):                 [ (T, DNH) ] [ (N, H) ] [ (D, NH) (H, 1) ]
#ifndef LSTMD_ENGINE_CHECKPOINT_ONNX_VIEW_H_
#define LSTMD_ENGINE_CHECKPOINT_ONNX_VIEW_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"

namespace lstmd::onnx {

// Bounds on every view, so that arithmetic on extents and strides cannot overflow.
inline constexpr int64_t kMaxElements = int64_t{1} << 40;
inline constexpr size_t kMaxRank = 16;

struct Atom {
  int64_t extent = 1;
  int64_t stride = 0;  // negative: backwards
  friend bool operator==(const Atom& a, const Atom& b) { return a.extent == b.extent && a.stride == b.stride; }
};

using Axis = std::vector<Atom>;

struct View {
  int64_t offset = 0;
  std::vector<Axis> axes;
};

// The product of `dims`; nothing when one is negative, there are too many, or the product is above kMaxElements.
std::optional<int64_t> ElementsOf(absl::Span<const int64_t> dims);

int64_t Extent(const Axis& axis);
std::vector<int64_t> Dims(const View& view);
int64_t Elements(const View& view);

// The one form of all lists of atoms that visit the same elements in the same order: without extents of 1, neighbours
// merged where they are one. A list with an extent of 0 becomes {0, 0}.
Axis Normal(absl::Span<const Atom> atoms);
// The normal form of all axes, the first one outermost.
Axis Flatten(const View& view);
// As Flatten, of the first `count` axes.
Axis Flatten(const View& view, size_t count);

// REQUIRES: ElementsOf(dims) has a value.
View Contiguous(absl::Span<const int64_t> dims);
// REQUIRES: `perm` is a permutation of the axes.
View Transposed(const View& view, absl::Span<const int64_t> perm);
// Nothing when the numbers of elements differ, or an axis would have to be cut where the source has no cut.
std::optional<View> Reshaped(const View& view, absl::Span<const int64_t> dims);
// Indices start, start + step, …, `count` of them, of one axis.
// REQUIRES: all are within the axis.
std::optional<View> Sliced(const View& view, size_t axis, int64_t start, int64_t count, int64_t step);
// Extents of 1 repeated; missing axes put in front (numpy broadcasting to the common shape).
std::optional<View> Expanded(const View& view, absl::Span<const int64_t> dims);
// The views one after the other along `axis`; all are of the same source. Nothing when the result is no view of it.
// REQUIRES: views is not empty, axis < rank of each.
std::optional<View> Concatenated(absl::Span<const View> views, size_t axis);

// Calls visit(index) for the source's index of every element, in order.
template <typename Visitor>
void ForEach(const View& view, Visitor&& visit) {
  const Axis atoms = Flatten(view);
  if (Elements(view) == 0) return;
  std::vector<int64_t> counter(atoms.size(), 0);
  int64_t index = view.offset;
  while (true) {
    visit(index);
    size_t a = atoms.size();
    while (a > 0) {
      --a;
      index += atoms[a].stride;
      if (++counter[a] < atoms[a].extent) break;
      index -= atoms[a].extent * atoms[a].stride;
      counter[a] = 0;
      if (a == 0) return;
    }
    if (atoms.empty()) return;
  }
}

}  // namespace lstmd::onnx

#endif  // LSTMD_ENGINE_CHECKPOINT_ONNX_VIEW_H_
