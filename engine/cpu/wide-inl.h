// SPDX-License-Identifier: Apache-2.0
//
// Sums of one or two rows, for the instruction set that foreach_target.h is compiling.
//
// So few rows have no more chains of multiply-adds in a panel than the processor needs to be busy, so that a line of
// weights which comes late is never made up for. Several panels at a time have more: from a core's own cache weights
// then come 1.2 to 1.35 times as fast. Each sum is the same chain as in accumulate-inl.h.
#if defined(LSTMD_ENGINE_CPU_WIDE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LSTMD_ENGINE_CPU_WIDE_INL_H_
#undef LSTMD_ENGINE_CPU_WIDE_INL_H_
#else
#define LSTMD_ENGINE_CPU_WIDE_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "engine/cpu/accumulate-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lstmd::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Panels at a time for R rows; 1: no more than one.
constexpr int WidePanels(int rows) { return rows == 1 ? (kRows > 3 ? 4 : 2) : rows == 2 && kRows > 3 ? 2 : 1; }
constexpr size_t kMaxWideRows = 4;  // rows times panels

// s[p][r] += row r times the weights of panel p, which stand `stride` bytes apart.
template <class Format, int R, int P>
HWY_INLINE void AddHalfWide(const Half& half, size_t stride, V (&s)[P][R][4]) {
  const size_t unit_bytes = 4 * Units() * sizeof(float);
  const float* row[R];
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r) row[r] = half.rows[r];
  const uint8_t* unit = half.weights;
  const size_t whole = half.depth / Format::kPack * Format::kPack;
#pragma GCC unroll 2
  for (size_t k = 0; k < whole; k += Format::kPack, unit += unit_bytes) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      if constexpr (kIsDot<Format>) {
        MultiplyPairs<Format, R>(unit + p * stride, row, k, s[p]);
      } else {
        MultiplyUnit<Format, R>(unit + p * stride, row, k, Format::kPack, s[p]);
      }
    }
  }
  if constexpr (Format::kPack > 1) {
    if (whole == half.depth) return;
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) MultiplyUnit<Format, R>(unit + p * stride, row, whole, half.depth - whole, s[p]);
  }
}

// sums[p][r] = start[r] + first + second of panel p, each [4][U]. Halves and start are the first panel's; those of the
// next stand `stride` bytes and 4U floats on.
template <class Format, int R, int P>
HWY_NOINLINE void AccumulateWide(const PanelRows& in, size_t stride, float* sums) {
  V s[P][R][4];
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (size_t g = 0; g < 4; ++g) s[p][r][g] = hn::Load(D(), in.start[r] + (4 * p + g) * Units());
    }
  }
  AddHalfWide<Format, R, P>(in.first, stride, s);
  AddHalfWide<Format, R, P>(in.second, stride, s);
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) StoreSums<R>(s[p], sums + p * R * 4 * Units());
}

}  // namespace HWY_NAMESPACE
}  // namespace lstmd::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
