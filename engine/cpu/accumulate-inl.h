// SPDX-License-Identifier: Apache-2.0
//
// Sums of one panel, for the instruction set that foreach_target.h is compiling.
//
// Up to kRows rows by one panel at a time: the 4 * U sums of each row stay in registers while k runs over the weights
// of the panel, which are read once for all these rows. Blocks of fewer rows run the same chain of operations for each
// sum, so do pieces of the depth: a row's sums depend on that row alone.
//
// A format says how weights become vectors of floats. All go through memory in units of 4U words (4 cache lines where
// vectors have 16 lanes), of kPack values of k each.
#if defined(LSTMD_ENGINE_CPU_ACCUMULATE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LSTMD_ENGINE_CPU_ACCUMULATE_INL_H_
#undef LSTMD_ENGINE_CPU_ACCUMULATE_INL_H_
#else
#define LSTMD_ENGINE_CPU_ACCUMULATE_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "engine/cpu/aligned_buffer.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/panels.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lstmd::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
using DU = hn::RebindToUnsigned<D>;

// U
HWY_INLINE size_t Units() { return hn::Lanes(D()); }
// 4 accumulators a row, 4 weights and a broadcast must fit into the registers: 32, or 16 on x86 before AVX-512.
constexpr int kRows = HWY_ARCH_X86 && HWY_TARGET != HWY_AVX3 && HWY_TARGET != HWY_AVX3_DL ? 3 : 6;
constexpr size_t kMaxWidth = 4 * hn::MaxLanes(D());
// Units of a panel that meet all rows before the next: 16 KiB of weights where vectors have 16 lanes.
constexpr size_t kPieceUnits = 64;
// How far ahead of itself, in units, a lone block asks for weights.
constexpr size_t kDistance = 32;

// Row k of the weights of a unit: that of gate g, in which 0 <= k < kPack.
struct F32Weights {
  static constexpr size_t kPack = 1;
  static constexpr bool kScaled = false;
  template <int k>
  static HWY_INLINE V Gate(const uint8_t* unit, size_t g) {
    return hn::Load(D(), reinterpret_cast<const float*>(unit) + g * Units());
  }
};

HWY_INLINE V LowerHalves(hn::Vec<DU> words) { return hn::BitCast(D(), hn::ShiftLeft<16>(words)); }
HWY_INLINE V UpperHalves(hn::Vec<DU> words) { return hn::BitCast(D(), hn::And(words, hn::Set(DU(), 0xFFFF0000u))); }

struct Bf16Weights {
  static constexpr size_t kPack = 2;
  static constexpr bool kScaled = false;
  template <int k>
  static HWY_INLINE V Gate(const uint8_t* unit, size_t g) {
    const auto* const words = reinterpret_cast<const uint32_t*>(unit) + g * Units();
    if constexpr (k == 0) return LowerHalves(hn::Load(DU(), words));
#if HWY_TARGET == HWY_AVX3
    // The load masks by itself: a register less than a mask to and with, and there is none left.
    return V{_mm512_castsi512_ps(_mm512_maskz_loadu_epi16(0xAAAAAAAAu, words))};
#else
    return UpperHalves(hn::Load(DU(), words));
#endif
  }
};

struct Int8Weights {
  static constexpr size_t kPack = 4;
  static constexpr bool kScaled = true;
  template <int k>
  static HWY_INLINE V Gate(const uint8_t* unit, size_t g) {
    const hn::Rebind<int8_t, D> d8;
    const hn::RebindToSigned<D> d32;
    const auto bytes = hn::LoadU(d8, reinterpret_cast<const int8_t*>(unit) + (4 * k + g) * Units());
    return hn::ConvertTo(D(), hn::PromoteTo(d32, bytes));
  }
};

// s[r] += row r's value k times the weights k of a unit.
template <class Format, int R, int k>
HWY_INLINE void MultiplyOne(const uint8_t* unit, const float* const* row, size_t at, V (&s)[R][4]) {
  V x[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) x[r] = hn::Set(D(), row[r][at + k]);
    // One gate at a time: all sums, all x and one vector of weights are what the registers hold.
#pragma GCC unroll 4
  for (size_t g = 0; g < 4; ++g) {
    const V weights = Format::template Gate<k>(unit, g);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) s[r][g] = hn::MulAdd(x[r], weights, s[r][g]);
  }
}

// The first `count` values of k of a unit, in this order.
template <class Format, int R>
HWY_INLINE void MultiplyUnit(const uint8_t* unit, const float* const* row, size_t at, size_t count, V (&s)[R][4]) {
  MultiplyOne<Format, R, 0>(unit, row, at, s);
  if constexpr (Format::kPack > 1) {
    if (count > 1) MultiplyOne<Format, R, 1>(unit, row, at, s);
  }
  if constexpr (Format::kPack > 2) {
    if (count > 2) MultiplyOne<Format, R, 2>(unit, row, at, s);
    if (count > 3) MultiplyOne<Format, R, 3>(unit, row, at, s);
  }
}

// Products of pairs of bfloat16s: s + x1 * w1 + x0 * w0, rounded after each sum. Rows are words; a unit is one of them.
struct Bf16Dot {
  static constexpr size_t kPack = 1;
  static constexpr bool kScaled = false;
  // The products are exact in f32, so it does not matter whether they are fused.
  static HWY_INLINE V MulAddPairs(hn::Vec<DU> x, hn::Vec<DU> w, V s) {
    return hn::MulAdd(LowerHalves(x), LowerHalves(w), hn::MulAdd(UpperHalves(x), UpperHalves(w), s));
  }
};

#if HWY_TARGET == HWY_AVX3
// By the instruction of AVX512-BF16, which takes subnormal numbers for zeros. Highway's AVX3 is compiled without it,
// hence no intrinsic.
struct Bf16DotNative : Bf16Dot {
  static HWY_INLINE V MulAddPairs(hn::Vec<DU> x, hn::Vec<DU> w, V s) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(s.raw) : "v"(x.raw), "v"(w.raw));
    return s;
  }
};
#endif

template <class Dot, int R>
HWY_INLINE void MultiplyPairs(const uint8_t* unit, const float* const* row, size_t at, V (&s)[R][4]) {
  hn::Vec<DU> x[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    uint32_t pair;
    std::memcpy(&pair, row[r] + at, sizeof(pair));
    x[r] = hn::Set(DU(), pair);
  }
#pragma GCC unroll 4
  for (size_t g = 0; g < 4; ++g) {
    const auto weights = hn::Load(DU(), reinterpret_cast<const uint32_t*>(unit) + g * Units());
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) s[r][g] = Dot::MulAddPairs(x[r], weights, s[r][g]);
  }
}

template <class Format>
constexpr bool kIsDot = std::is_base_of<Bf16Dot, Format>::value;

// One of the two halves of K, or a piece of it. `depth` is in values of a row: floats, or words for Bf16Dot.
struct Half {
  const uint8_t* weights;
  size_t depth;
  const float* const* rows;  // each [depth]
  const float* scales;       // [4][U], for formats that have them
};

// s[r] += row r times the weights. On the way asks the cache for kAhead lines for each unit, from `ahead` on.
template <class Format, int R, int kAhead>
HWY_INLINE void AddHalf(const Half& half, const uint8_t*& ahead, V (&s)[R][4]) {
  const size_t unit_bytes = 4 * Units() * sizeof(float);
  const float* row[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) row[r] = half.rows[r];
  const uint8_t* unit = half.weights;
  const size_t whole = half.depth / Format::kPack * Format::kPack;
#pragma GCC unroll 2
  for (size_t k = 0; k < whole; k += Format::kPack, unit += unit_bytes) {
#pragma GCC unroll 4
    for (int i = 0; i < kAhead; ++i, ahead += kPad * sizeof(float)) __builtin_prefetch(ahead, 0, 3);
    if constexpr (kIsDot<Format>) {
      MultiplyPairs<Format, R>(unit, row, k, s);
    } else {
      MultiplyUnit<Format, R>(unit, row, k, Format::kPack, s);
    }
  }
  if constexpr (Format::kPack > 1) {
    if (whole != half.depth) MultiplyUnit<Format, R>(unit, row, whole, half.depth - whole, s);
  }
}

template <int R>
HWY_INLINE void StoreSums(const V (&s)[R][4], float* sums) {
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) hn::Store(s[r][g], D(), sums + (4 * r + g) * Units());
  }
}

// sums[r] = start[r] + first + second, each [4][U]. With kRaw, products of scaled weights are summed up without their
// scales, which are Scale's business.
template <class Format, int R, int kAhead, bool kRaw>
HWY_INLINE void Accumulate(const Half& first, const Half& second, const float* const* start, const uint8_t* ahead,
                           float* sums) {
  const D d;
  const size_t units = Units();
  V s[R][4];
  if constexpr (!Format::kScaled || kRaw) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int g = 0; g < 4; ++g) s[r][g] = hn::Load(d, start[r] + g * units);
    }
    AddHalf<Format, R, kAhead>(first, ahead, s);
    AddHalf<Format, R, kAhead>(second, ahead, s);
    StoreSums<R>(s, sums);
  } else {
    const float* total[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) total[r] = start[r];
    for (const Half* half : {&first, &second}) {
      if (half->depth == 0) continue;
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int g = 0; g < 4; ++g) s[r][g] = hn::Zero(d);
      }
      AddHalf<Format, R, kAhead>(*half, ahead, s);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int g = 0; g < 4; ++g) {
          s[r][g] = hn::MulAdd(s[r][g], hn::Load(d, half->scales + g * units), hn::Load(d, total[r] + g * units));
        }
        total[r] = sums + r * 4 * units;
      }
      StoreSums<R>(s, sums);
    }
  }
}

template <class Format, int kAhead, bool kRaw>
HWY_NOINLINE void AccumulateRows(size_t rows, const Half& first, const Half& second, const float* const* start,
                                 const uint8_t* ahead, float* sums) {
  switch (rows) {
    case 1:
      return Accumulate<Format, 1, kAhead, kRaw>(first, second, start, ahead, sums);
    case 2:
      return Accumulate<Format, 2, kAhead, kRaw>(first, second, start, ahead, sums);
    case 3:
      return Accumulate<Format, 3, kAhead, kRaw>(first, second, start, ahead, sums);
    case 4:
      return Accumulate<Format, std::min(4, kRows), kAhead, kRaw>(first, second, start, ahead, sums);
    case 5:
      return Accumulate<Format, std::min(5, kRows), kAhead, kRaw>(first, second, start, ahead, sums);
    default:
      return Accumulate<Format, kRows, kAhead, kRaw>(first, second, start, ahead, sums);
  }
}

// What a panel's sums are made of: for each row `start`, then both halves of K.
struct PanelRows {
  Half first;
  Half second;
  const float* const* start;  // each [4][U]
};

// Blocks of like size: a small one at the end would wait for its few chains.
HWY_INLINE size_t BlockRows(size_t num_rows, size_t blocks, size_t block, size_t done) {
  return (num_rows - done + blocks - block - 1) / (blocks - block);
}

HWY_INLINE Half From(const Half& half, size_t row) { return {half.weights, half.depth, half.rows + row, half.scales}; }

// For any number of rows, with the weights in a near cache.
template <class Format>
HWY_INLINE void AccumulateNear(const PanelRows& in, size_t num_rows, float* sums) {
  const size_t blocks = (num_rows + kRows - 1) / kRows;
  // Of two blocks the first waits for the weights of a long panel, the second finds them. So the first is as large as
  // can be: it needs them more slowly.
  const bool first_waits = blocks == 2 && std::is_same<Format, F32Weights>::value && in.second.depth >= 256;
  const size_t largest = std::min<size_t>(kRows, num_rows - std::min<size_t>(num_rows, 2));
  for (size_t block = 0, r = 0; block < blocks; ++block) {
    const size_t count = first_waits && block == 0 ? largest : BlockRows(num_rows, blocks, block, r);
    AccumulateRows<Format, 0, false>(count, From(in.first, r), From(in.second, r), in.start + r, nullptr,
                                     sums + r * 4 * Units());
    r += count;
  }
}

// sums[r] = sums[r] * scales + total[r]
HWY_INLINE void Scale(const float* scales, const float* const* total, size_t num_rows, float* sums) {
  const D d;
  for (size_t r = 0; r < num_rows; ++r) {
    for (size_t j = 0; j < 4 * Units(); j += Units()) {
      float* const sum = sums + r * 4 * Units() + j;
      hn::Store(hn::MulAdd(hn::Load(d, sum), hn::Load(d, scales + j), hn::Load(d, total[r] + j)), d, sum);
    }
  }
}

// The same with weights that come from far away. They are read once: a piece of them that fits into a near cache meets
// all rows before the next does, and meanwhile the next is on its way.
template <class Format>
HWY_INLINE void AccumulateFar(const PanelRows& in, size_t num_rows, float* sums) {
  const size_t width = 4 * Units();
  const size_t unit_bytes = width * sizeof(float);
  const size_t blocks = (num_rows + kRows - 1) / kRows;
  if (blocks == 1) {
    if (num_rows == 1) return AccumulateRows<Format, 0, false>(1, in.first, in.second, in.start, nullptr, sums);
    return AccumulateRows<Format, 4, false>(num_rows, in.first, in.second, in.start,
                                            in.first.weights + kDistance * unit_bytes, sums);
  }
  HWY_ALIGN float zeros[kMaxWidth] = {};
  HWY_ALIGN float totals[Format::kScaled ? kMaxItemRows * kMaxWidth : 1];
  const float* continued[kMaxItemRows];
  const float* rows[kMaxItemRows];
  const float* total[kMaxItemRows];
  const float* zero[kMaxItemRows];
  for (size_t r = 0; r < num_rows; ++r) {
    continued[r] = sums + r * width;
    zero[r] = zeros;
    total[r] = in.start[r];
  }
  const float* const* start = Format::kScaled ? zero : in.start;
  for (const Half* half : {&in.first, &in.second}) {
    if (half->depth == 0) continue;
    for (size_t k = 0; k < half->depth; k += kPieceUnits * Format::kPack) {
      const uint8_t* const weights = half->weights + k / Format::kPack * unit_bytes;
      const size_t depth = std::min(kPieceUnits * Format::kPack, half->depth - k);
      for (size_t r = 0; r < num_rows; ++r) rows[r] = half->rows[r] + k;
      const uint8_t* ahead = weights + kPieceUnits * unit_bytes;
      for (size_t block = 0, r = 0; block < blocks; ++block) {
        const size_t count = BlockRows(num_rows, blocks, block, r);
        const Half piece = {weights, depth, rows + r, nullptr};
        const Half none = {nullptr, 0, rows + r, nullptr};
        const size_t lines = depth / Format::kPack * kPad * sizeof(float);
        if (blocks < 4) {
          AccumulateRows<Format, 2, true>(count, piece, none, start + r, ahead, sums + r * width);
          ahead += 2 * lines;
        } else {
          AccumulateRows<Format, 1, true>(count, piece, none, start + r, ahead, sums + r * width);
          ahead += lines;
        }
        r += count;
      }
      start = continued;
    }
    if constexpr (Format::kScaled) {
      Scale(half->scales, total, num_rows, sums);
      if (half == &in.second || in.second.depth == 0) return;
      std::copy_n(sums, num_rows * width, totals);
      for (size_t r = 0; r < num_rows; ++r) total[r] = totals + r * width;
      start = zero;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lstmd::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
