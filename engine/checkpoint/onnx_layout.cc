// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/onnx_layout.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

namespace lstmd::onnx {
namespace {

Atom Backwards(const Atom& atom) { return {atom.extent, -atom.stride}; }
int64_t Last(const Atom& atom) { return (atom.extent - 1) * atom.stride; }

// Whether `view` has the atoms in any order that keeps those from `ordered` on in theirs.
bool SameElements(const View& view, int64_t offset, const std::vector<Atom>& atoms, size_t ordered) {
  if (view.offset != offset) return false;
  const Axis flat = Flatten(view);
  std::vector<size_t> order(atoms.size());
  std::iota(order.begin(), order.end(), size_t{0});
  do {
    std::vector<size_t> rest;
    Axis candidate;
    for (const size_t k : order) {
      candidate.push_back(atoms[k]);
      if (k >= ordered) rest.push_back(k);
    }
    if (std::is_sorted(rest.begin(), rest.end()) && Normal(candidate) == flat) return true;
  } while (std::next_permutation(order.begin(), order.end()));
  return false;
}

}  // namespace

std::optional<Take> Match(const View& view, const Layout& layout) {
  const auto matches = [&](int64_t offset, std::vector<Atom> leading) {
    const size_t ordered = leading.size();
    leading.insert(leading.end(), layout.features.begin(), layout.features.end());
    return SameElements(view, layout.offset + offset, leading, ordered);
  };
  if (matches(0, {layout.time, layout.batch})) return Take::kAll;
  if (matches(Last(layout.time), {Backwards(layout.time), layout.batch})) return Take::kReversed;
  if (matches(Last(layout.time), {layout.batch})) return Take::kLast;
  if (matches(0, {layout.batch})) return Take::kFirst;
  return std::nullopt;
}

std::optional<Take> MatchSequence(const View& view, const Layout& layout) {
  if (view.axes.size() != 3) return std::nullopt;
  const Axis time = Normal(view.axes[0]);
  if (Normal(view.axes[1]) != Normal(Axis{layout.batch}) || Normal(view.axes[2]) != Normal(layout.features)) {
    return std::nullopt;
  }
  if (view.offset == layout.offset && time == Normal(Axis{layout.time})) return Take::kAll;
  if (view.offset == layout.offset + Last(layout.time) && time == Normal(Axis{Backwards(layout.time)})) {
    return Take::kReversed;
  }
  return std::nullopt;
}

}  // namespace lstmd::onnx
