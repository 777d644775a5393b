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

// One of the two halves of K.
struct Half {
  const float* weights;  // [depth][4][U]
  size_t depth;
  const float* const* rows;  // each [depth]
};

// sums[r] = start[r] + first + second, each [4][U].
template <int R>
HWY_INLINE void Accumulate(const Half& first, const Half& second, const float* const* start, float* sums) {
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
    for (size_t k = 0; k < depth; ++k, w += 4 * units) {
      const V w0 = hn::Load(d, w);
      const V w1 = hn::Load(d, w + units);
      const V w2 = hn::Load(d, w + 2 * units);
      const V w3 = hn::Load(d, w + 3 * units);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const V x = hn::Set(d, row[r][k]);
        s[r][0] = hn::MulAdd(x, w0, s[r][0]);
        s[r][1] = hn::MulAdd(x, w1, s[r][1]);
        s[r][2] = hn::MulAdd(x, w2, s[r][2]);
        s[r][3] = hn::MulAdd(x, w3, s[r][3]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) hn::Store(s[r][g], d, sums + r * 4 * units + g * units);
  }
}

HWY_NOINLINE void AccumulateRows(int rows, const Half& first, const Half& second, const float* const* start,
                                 float* sums) {
  switch (rows) {
    case 1:
      return Accumulate<1>(first, second, start, sums);
    case 2:
      return Accumulate<2>(first, second, start, sums);
    case 3:
      return Accumulate<3>(first, second, start, sums);
    case 4:
      return Accumulate<4>(first, second, start, sums);
    case 5:
      return Accumulate<5>(first, second, start, sums);
    default:
      return Accumulate<6>(first, second, start, sums);
  }
}

// The cell from its sums z [4][U]; `unit` is the first of the panel.
HWY_INLINE void DefaultCell(const float* z, const StepRow& row, size_t unit) {
  const D d;
  const size_t units = Units();
  const V i = Sigmoid(d, hn::Load(d, z));
  const V f = Sigmoid(d, hn::Load(d, z + units));
  const V g = Tanh(d, hn::Load(d, z + 2 * units));
  const V o = Sigmoid(d, hn::Load(d, z + 3 * units));
  const V c = hn::MulAdd(f, hn::Load(d, row.c_in + unit), hn::Mul(i, g));
  hn::Store(c, d, row.c_out + unit);
  hn::Store(hn::Mul(o, Tanh(d, c)), d, row.h_out + unit);
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
  const float* peephole = cell.peephole_weights.data() + unit;
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

void Step(const PackedCell& cell, const StepRow* rows, size_t num_rows, size_t first, size_t last) {
  const size_t units = Units();
  const size_t width = 4 * units;
  HWY_ALIGN float sums[kRows * kMaxWidth];
  const float* x[kRows];
  const float* h[kRows];
  const float* start[kRows];
  for (size_t p = first; p < last; ++p) {
    const float* weights = cell.panel(p);
    const float* bias = cell.bias.data() + p * width;
    for (size_t r = 0; r < num_rows;) {
      // All rows of a block have their input half done, or none has.
      const bool done = rows[r].z != nullptr;
      int block = 0;
      for (; block < kRows && r + block < num_rows && (rows[r + block].z != nullptr) == done; ++block) {
        const StepRow& row = rows[r + block];
        x[block] = row.x;
        h[block] = row.h;
        start[block] = done ? row.z + p * width : bias;
      }
      AccumulateRows(block, Half{weights, done ? 0 : cell.input_size, x},
                     Half{weights + cell.input_size * width, cell.state_size, h}, start, sums);
      for (int i = 0; i < block; ++i) {
        if (cell.default_activations) {
          DefaultCell(sums + i * width, rows[r + i], p * units);
        } else {
          AnyCell(cell, sums + i * width, rows[r + i], p * units);
        }
      }
      r += block;
    }
  }
}

void InputHalf(const PackedCell& cell, const InputRow* rows, size_t num_rows, size_t first, size_t last) {
  const size_t width = 4 * Units();
  HWY_ALIGN float sums[kRows * kMaxWidth];
  const float* x[kRows];
  const float* start[kRows];
  for (size_t p = first; p < last; ++p) {
    const float* bias = cell.bias.data() + p * width;
    for (size_t r = 0; r < num_rows;) {
      const int block = static_cast<int>(std::min<size_t>(kRows, num_rows - r));
      for (int i = 0; i < block; ++i) {
        x[i] = rows[r + i].x;
        start[i] = bias;
      }
      AccumulateRows(block, Half{cell.panel(p), cell.input_size, x}, Half{nullptr, 0, x}, start, sums);
      for (int i = 0; i < block; ++i) std::copy_n(sums + i * width, width, rows[r + i].z + p * width);
      r += block;
    }
  }
}

void Linear(const PackedLinear& linear, const LinearRow* rows, size_t num_rows, size_t first, size_t last) {
  const D d;
  const size_t units = Units();
  const size_t width = 4 * units;
  HWY_ALIGN float sums[kRows * kMaxWidth];
  const float* x[kRows];
  const float* start[kRows];
  for (size_t p = first; p < last; ++p) {
    const size_t count = std::min(width, linear.output_size - p * width);
    for (size_t r = 0; r < num_rows;) {
      const int block = static_cast<int>(std::min<size_t>(kRows, num_rows - r));
      for (int i = 0; i < block; ++i) {
        x[i] = rows[r + i].x;
        start[i] = linear.bias.data() + p * width;
      }
      AccumulateRows(block, Half{linear.panel(p), linear.input_size, x}, Half{nullptr, 0, x}, start, sums);
      for (int i = 0; i < block; ++i) {
        float* y = sums + i * width;
        if (linear.activation.function != Function::kLinear) {
          for (size_t j = 0; j < width; j += units) {
            hn::Store(Activate(d, linear.activation, hn::Load(d, y + j)), d, y + j);
          }
        }
        std::copy_n(y, count, rows[r + i].y + p * width);
      }
      r += block;
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
