// SPDX-License-Identifier: Apache-2.0
//
// The fused step, for the instruction set that foreach_target.h is compiling.
//
// Up to kRows rows by one panel at a time: the 4 * U sums of each row stay in registers while k runs over the weights
// of the panel, which are read once for all these rows. Then the cell update of each row, which finds all gates of a
// unit in the same lane. Blocks of fewer rows and panels run the same chain of operations for each sum.
#if defined(LSTMD_ENGINE_CPU_STEP_KERNEL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LSTMD_ENGINE_CPU_STEP_KERNEL_INL_H_
#undef LSTMD_ENGINE_CPU_STEP_KERNEL_INL_H_
#else
#define LSTMD_ENGINE_CPU_STEP_KERNEL_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "engine/cpu/activations-inl.h"
#include "engine/cpu/aligned_buffer.h"
#include "engine/cpu/kernels.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lstmd::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;

// U
HWY_INLINE size_t Units() { return hn::Lanes(D()); }
// 4 accumulators a row, 4 weights and a broadcast must fit into the registers: 32, or 16 on x86 before AVX-512.
constexpr int kRows = HWY_ARCH_X86 && HWY_TARGET != HWY_AVX3 && HWY_TARGET != HWY_AVX3_DL ? 3 : 6;
constexpr size_t kMaxWidth = 4 * hn::MaxLanes(D());
// k of a panel that meet all rows before the next: 16 KiB of weights where vectors have 16 lanes.
constexpr size_t kPieceDepth = 64;
// Weights of a matrix that come from a near enough cache in each step: 8 MiB.
constexpr size_t kNear = size_t{1} << 21;
// How far ahead of itself, in k, a lone block asks for weights.
constexpr size_t kDistance = 32;

// One of the two halves of K.
struct Half {
  const float* weights;  // [depth][4][U]
  size_t depth;
  const float* const* rows;  // each [depth]
};

// sums[r] = start[r] + first + second, each [4][U]. On the way asks the cache for kAhead lines for each k, from `ahead`
// on.
template <int R, int kAhead>
HWY_INLINE void Accumulate(const Half& first, const Half& second, const float* const* start, const float* ahead,
                           float* sums) {
  const D d;
  const size_t units = Units();
  V s[R][4];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) s[r][g] = hn::Load(d, start[r] + g * units);
  }
  for (const Half* half : {&first, &second}) {
    const float* row[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) row[r] = half->rows[r];
    const float* w = half->weights;
    const size_t depth = half->depth;
#pragma GCC unroll 2
    for (size_t k = 0; k < depth; ++k, w += 4 * units) {
#pragma GCC unroll 4
      for (int i = 0; i < kAhead; ++i, ahead += kPad) __builtin_prefetch(ahead, 0, 3);
      V x[R];
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) x[r] = hn::Set(d, row[r][k]);
        // One gate at a time: all sums, all x and one vector of weights are what the registers hold.
#pragma GCC unroll 4
      for (int g = 0; g < 4; ++g) {
        const V weights = hn::Load(d, w + g * units);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) s[r][g] = hn::MulAdd(x[r], weights, s[r][g]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) hn::Store(s[r][g], d, sums + r * 4 * units + g * units);
  }
}

template <int kAhead>
HWY_NOINLINE void AccumulateRows(size_t rows, const Half& first, const Half& second, const float* const* start,
                                 const float* ahead, float* sums) {
  switch (rows) {
    case 1:
      return Accumulate<1, kAhead>(first, second, start, ahead, sums);
    case 2:
      return Accumulate<2, kAhead>(first, second, start, ahead, sums);
    case 3:
      return Accumulate<3, kAhead>(first, second, start, ahead, sums);
    case 4:
      return Accumulate<std::min(4, kRows), kAhead>(first, second, start, ahead, sums);
    case 5:
      return Accumulate<std::min(5, kRows), kAhead>(first, second, start, ahead, sums);
    default:
      return Accumulate<kRows, kAhead>(first, second, start, ahead, sums);
  }
}

// The cell from its sums z [4][U]; `unit` is the first of the panel.
HWY_INLINE void DefaultCell(const float* z, const StepRow& row, size_t unit) {
  const D d;
  const size_t units = Units();
  const Quotient<V> i = SigmoidQuotient(d, hn::Load(d, z));
  const V f = Sigmoid(d, hn::Load(d, z + units));
  const Quotient<V> g = TanhQuotient(d, hn::Load(d, z + 2 * units));
  const Quotient<V> o = SigmoidQuotient(d, hn::Load(d, z + 3 * units));
  // Divisions are slow: one for i * g and one for o * tanh(c).
  const V ig = hn::Div(hn::Mul(i.over, g.over), hn::Mul(i.under, g.under));
  const V c = hn::MulAdd(f, hn::Load(d, row.c_in + unit), ig);
  const Quotient<V> t = TanhQuotient(d, c);
  hn::Store(c, d, row.c_out + unit);
  hn::Store(hn::Div(hn::Mul(o.over, t.over), hn::Mul(o.under, t.under)), d, row.h_out + unit);
}

HWY_NOINLINE void AnyCell(const PackedCell& cell, const float* z, const StepRow& row, size_t unit) {
  const D d;
  const size_t units = Units();
  const Activations& act = cell.activations;
  V zi = hn::Load(d, z);
  V zf = hn::Load(d, z + units);
  V zg = hn::Load(d, z + 2 * units);
  V zo = hn::Load(d, z + 3 * units);
  const V c_in = hn::Load(d, row.c_in + unit);
  const float* peephole = cell.peepholes ? cell.peephole_weights.data() + unit : nullptr;
  const size_t stride = Padded(cell.hidden_size);
  if (cell.peepholes) {
    zi = hn::MulAdd(hn::Load(d, peephole), c_in, zi);
    zf = hn::MulAdd(hn::Load(d, peephole + stride), c_in, zf);
  }
  if (cell.clip > 0) {
    zi = Clip(d, zi, cell.clip);
    zf = Clip(d, zf, cell.clip);
    zg = Clip(d, zg, cell.clip);
  }
  const V i = Activate(d, act.gate, zi);
  const V f = cell.input_forget ? hn::Sub(hn::Set(d, 1.0f), i) : Activate(d, act.gate, zf);
  const V g = Activate(d, act.cell, zg);
  const V c = hn::MulAdd(f, c_in, hn::Mul(i, g));
  if (cell.peepholes) zo = hn::MulAdd(hn::Load(d, peephole + 2 * stride), c, zo);
  if (cell.clip > 0) zo = Clip(d, zo, cell.clip);
  const V o = Activate(d, act.gate, zo);
  hn::Store(c, d, row.c_out + unit);
  hn::Store(hn::Mul(o, Activate(d, act.output, c)), d, row.h_out + unit);
}

// What a panel's sums are made of: for each row `start`, then both halves of K.
struct PanelRows {
  Half first;
  Half second;
  const float* const* start;  // each [4][U]
};

// For any number of rows, with the weights in a near cache.
HWY_INLINE void AccumulateNear(const PanelRows& in, size_t num_rows, float* sums) {
  const size_t blocks = (num_rows + kRows - 1) / kRows;
  for (size_t block = 0, r = 0; block < blocks; ++block) {
    // Blocks of like size: a small one at the end would wait for its few chains.
    const size_t count = (num_rows - r + blocks - block - 1) / (blocks - block);
    AccumulateRows<0>(count, {in.first.weights, in.first.depth, in.first.rows + r},
                      {in.second.weights, in.second.depth, in.second.rows + r}, in.start + r, nullptr,
                      sums + r * 4 * Units());
    r += count;
  }
}

// The same with weights that come from far away. They are read once: a piece of them that fits into a near cache meets
// all rows before the next does, and meanwhile the next is on its way.
HWY_INLINE void AccumulateFar(const PanelRows& in, size_t num_rows, float* sums) {
  const size_t width = 4 * Units();
  const size_t blocks = (num_rows + kRows - 1) / kRows;
  if (blocks == 1) {
    if (num_rows == 1) return AccumulateRows<0>(num_rows, in.first, in.second, in.start, nullptr, sums);
    return AccumulateRows<4>(num_rows, in.first, in.second, in.start, in.first.weights + kDistance * width, sums);
  }
  const float* continued[kMaxItemRows];
  const float* rows[kMaxItemRows];
  const float* const* start = in.start;
  for (const Half* half : {&in.first, &in.second}) {
    for (size_t k = 0; k < half->depth; k += kPieceDepth) {
      const float* const weights = half->weights + k * width;
      const size_t depth = std::min(kPieceDepth, half->depth - k);
      for (size_t r = 0; r < num_rows; ++r) rows[r] = half->rows[r] + k;
      const float* ahead = weights + kPieceDepth * width;
      for (size_t block = 0, r = 0; block < blocks; ++block) {
        const size_t count = (num_rows - r + blocks - block - 1) / (blocks - block);
        const Half piece = {weights, depth, rows + r};
        const Half none = {nullptr, 0, rows + r};
        if (blocks < 4) {
          AccumulateRows<2>(count, piece, none, start + r, ahead, sums + r * width);
          ahead += 2 * depth * kPad;
        } else {
          AccumulateRows<1>(count, piece, none, start + r, ahead, sums + r * width);
          ahead += depth * kPad;
        }
        r += count;
      }
      if (start != continued) {
        for (size_t r = 0; r < num_rows; ++r) continued[r] = sums + r * width;
        start = continued;
      }
    }
  }
}

HWY_INLINE void AccumulatePanel(bool far, const PanelRows& in, size_t num_rows, float* sums) {
  if (far) {
    AccumulateFar(in, num_rows, sums);
  } else {
    AccumulateNear(in, num_rows, sums);
  }
}

void Step(const PackedCell& cell, const StepRow* rows, size_t num_rows, size_t first, size_t last) {
  const size_t units = Units();
  const size_t width = 4 * units;
  HWY_ALIGN float sums[kMaxItemRows * kMaxWidth];
  const float* x[kMaxItemRows];
  const float* h[kMaxItemRows];
  const float* start[kMaxItemRows];
  const bool far = cell.panels * cell.depth() * width > kNear;
  // All rows have their input half done, or none has.
  const bool done = rows[0].z != nullptr;
  for (size_t r = 0; r < num_rows; ++r) {
    x[r] = rows[r].x;
    h[r] = rows[r].h;
  }
  for (size_t p = first; p < last; ++p) {
    const float* weights = cell.panel(p);
    const float* bias = cell.bias.data() + p * width;
    for (size_t r = 0; r < num_rows; ++r) start[r] = done ? rows[r].z + p * width : bias;
    AccumulatePanel(
        far, {{weights, done ? 0 : cell.input_size, x}, {weights + cell.input_size * width, cell.state_size, h}, start},
        num_rows, sums);
    if (cell.default_activations) {
      for (size_t r = 0; r < num_rows; ++r) DefaultCell(sums + r * width, rows[r], p * units);
    } else {
      for (size_t r = 0; r < num_rows; ++r) AnyCell(cell, sums + r * width, rows[r], p * units);
    }
  }
}

void InputHalf(const PackedCell& cell, const InputRow* rows, size_t num_rows, size_t first, size_t last) {
  const size_t width = 4 * Units();
  HWY_ALIGN float sums[kMaxItemRows * kMaxWidth];
  const float* x[kMaxItemRows];
  const float* start[kMaxItemRows];
  const bool far = cell.panels * cell.depth() * width > kNear;
  for (size_t r = 0; r < num_rows; ++r) x[r] = rows[r].x;
  for (size_t p = first; p < last; ++p) {
    for (size_t r = 0; r < num_rows; ++r) start[r] = cell.bias.data() + p * width;
    AccumulatePanel(far, {{cell.panel(p), cell.input_size, x}, {nullptr, 0, x}, start}, num_rows, sums);
    for (size_t r = 0; r < num_rows; ++r) std::copy_n(sums + r * width, width, rows[r].z + p * width);
  }
}

void Linear(const PackedLinear& linear, const LinearRow* rows, size_t num_rows, size_t first, size_t last) {
  const D d;
  const size_t units = Units();
  const size_t width = 4 * units;
  HWY_ALIGN float sums[kMaxItemRows * kMaxWidth];
  const float* x[kMaxItemRows];
  const float* start[kMaxItemRows];
  const bool far = linear.panels * linear.input_size * width > kNear;
  for (size_t r = 0; r < num_rows; ++r) x[r] = rows[r].x;
  for (size_t p = first; p < last; ++p) {
    const size_t count = std::min(width, linear.output_size - p * width);
    for (size_t r = 0; r < num_rows; ++r) start[r] = linear.bias.data() + p * width;
    AccumulatePanel(far, {{linear.panel(p), linear.input_size, x}, {nullptr, 0, x}, start}, num_rows, sums);
    for (size_t r = 0; r < num_rows; ++r) {
      float* y = sums + r * width;
      if (linear.activation.function != Function::kLinear) {
        for (size_t j = 0; j < width; j += units) {
          hn::Store(Activate(d, linear.activation, hn::Load(d, y + j)), d, y + j);
        }
      }
      std::copy_n(y, count, rows[r].y + p * width);
    }
  }
}

void ActivateAll(const Activation& activation, float* values, size_t size) {
  const D d;
  for (size_t i = 0; i < size; i += Units()) {
    hn::StoreU(Activate(d, activation, hn::LoadU(d, values + i)), d, values + i);
  }
}

const Kernels* GetKernels() {
  static const Kernels kernels = {hwy::TargetName(HWY_TARGET), Units(), Step, InputHalf, Linear, ActivateAll};
  return &kernels;
}

}  // namespace HWY_NAMESPACE
}  // namespace lstmd::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
