// SPDX-License-Identifier: Apache-2.0
//
// The kernels, for the instruction set that foreach_target.h is compiling: sums of a panel (accumulate-inl.h), then the
// cell update of each row, which finds all gates of a unit in the same lane.
#if defined(LSTMD_ENGINE_CPU_STEP_KERNEL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LSTMD_ENGINE_CPU_STEP_KERNEL_INL_H_
#undef LSTMD_ENGINE_CPU_STEP_KERNEL_INL_H_
#else
#define LSTMD_ENGINE_CPU_STEP_KERNEL_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "engine/cpu/accumulate-inl.h"
#include "engine/cpu/cell-inl.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/wide-inl.h"
#include "engine/half.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lstmd::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Rows of one call.
struct CallRows {
  const float* x[kMaxItemRows];
  const float* h[kMaxItemRows];
  const float* start[kMaxItemRows];
};

// Calls body(panel, panels, sums [panels][num_rows][4][U]) for panels with what their sums are. `halves` as in
// PanelRows, with x in the first and h in the second; start(row, panel) is where a row's sums start.
template <class Format, class Start, class Body>
HWY_INLINE void ForEachPanel(const Panels& panels, bool first_half, bool second_half, size_t num_rows, size_t first,
                             size_t last, CallRows& rows, const Start& start, const Body& body) {
  HWY_ALIGN float sums[kMaxItemRows * kMaxWidth];
  const bool scaled = panels.format == WeightFormat::kInt8;
  const size_t depth[2] = {first_half ? RowWords(panels.format, panels.depth[0]) : 0,
                           second_half ? RowWords(panels.format, panels.depth[1]) : 0};
  const auto begin = [&](size_t p) {
    for (size_t r = 0; r < num_rows; ++r) rows.start[r] = start(r, p);
    return PanelRows{{panels.half(p, 0), depth[0], rows.x, scaled ? panels.scale(p, 0) : nullptr},
                     {panels.half(p, 1), depth[1], rows.h, scaled ? panels.scale(p, 1) : nullptr},
                     rows.start};
  };
  size_t p = first;
  if constexpr (!Format::kScaled) {
    const size_t stride = panels.panel_bytes();
    for (constexpr size_t kWide = WidePanels(1); num_rows == 1 && p + kWide <= last; p += kWide) {
      AccumulateWide<Format, 1, kWide>(begin(p), stride, sums);
      body(p, kWide, sums);
    }
    for (constexpr size_t kWide = WidePanels(2); kWide > 1 && num_rows == 2 && p + kWide <= last; p += kWide) {
      AccumulateWide<Format, 2, kWide>(begin(p), stride, sums);
      body(p, kWide, sums);
    }
  }
  for (; p < last; ++p) {
    if (panels.far) {
      AccumulateFar<Format>(begin(p), num_rows, sums);
    } else {
      AccumulateNear<Format>(begin(p), num_rows, sums);
    }
    body(p, 1, sums);
  }
}

struct StepBody {
  HWY_INLINE void operator()(size_t p, size_t count, float* sums) const {
    if (count == 1) return UpdateCells(cell, rows, num_rows, p, sums);
    // All panels' rows at once, so that their chains stand next to each other.
    StepRow shifted[kMaxWideRows];
    for (size_t i = 0; i < count * num_rows; ++i) {
      const size_t units = i / num_rows * Units();
      shifted[i] = rows[i % num_rows];
      shifted[i].c_in += units;
      shifted[i].c_out += units;
      shifted[i].h_out += units;
    }
    if (cell.default_activations) return UpdateCells(cell, shifted, count * num_rows, p, sums);
    for (size_t i = 0; i < count; ++i) {
      UpdateCells(cell, rows, num_rows, p + i, sums + i * num_rows * 4 * Units());
    }
  }
  const PackedCell& cell;
  const StepRow* rows;
  size_t num_rows;
};

template <class Format>
HWY_NOINLINE void StepAs(const PackedCell& cell, const StepRow* rows, size_t num_rows, size_t first, size_t last) {
  const Panels& panels = cell.panels;
  CallRows in;
  for (size_t r = 0; r < num_rows; ++r) {
    in.x[r] = rows[r].x;
    in.h[r] = rows[r].h;
  }
  // Another core wrote part of h a moment ago. A lone row would wait for its lines one after the other.
  if (num_rows <= 2) {
    const size_t words = RowWords(panels.format, panels.depth[1]);
    for (size_t r = 0; r < num_rows; ++r) {
      for (size_t k = 0; k < words; k += kPad) __builtin_prefetch(rows[r].h + k, 0, 3);
    }
  }
  // All rows have their input half done, or none has.
  const bool done = rows[0].z != nullptr;
  const size_t width = panels.width();
  ForEachPanel<Format>(
      panels, !done, true, num_rows, first, last, in,
      [&](size_t r, size_t p) { return (done ? rows[r].z : panels.bias.data()) + p * width; },
      StepBody{cell, rows, num_rows});
}

template <class Format>
HWY_NOINLINE void InputHalfAs(const PackedCell& cell, const InputRow* rows, size_t num_rows, size_t first,
                              size_t last) {
  const Panels& panels = cell.panels;
  CallRows in;
  for (size_t r = 0; r < num_rows; ++r) in.x[r] = in.h[r] = rows[r].x;
  const size_t width = panels.width();
  ForEachPanel<Format>(
      panels, true, false, num_rows, first, last, in, [&](size_t, size_t p) { return panels.bias.data() + p * width; },
      [&](size_t p, size_t count, const float* sums) {
        for (size_t i = 0; i < count * num_rows; ++i) {
          std::memcpy(rows[i % num_rows].z + (p + i / num_rows) * width, sums + i * width, width * sizeof(float));
        }
      });
}

HWY_NOINLINE void ActivateAll(const Activation& activation, float* values, size_t size) {
  const D d;
  for (size_t i = 0; i < size; i += Units()) {
    hn::StoreU(Activate(d, activation, hn::LoadU(d, values + i)), d, values + i);
  }
}

template <class Format>
HWY_NOINLINE void LinearAs(const PackedLinear& linear, const LinearRow* rows, size_t num_rows, size_t first,
                           size_t last) {
  const Panels& panels = linear.panels;
  CallRows in;
  for (size_t r = 0; r < num_rows; ++r) in.x[r] = in.h[r] = rows[r].x;
  const size_t width = panels.width();
  ForEachPanel<Format>(
      panels, true, false, num_rows, first, last, in, [&](size_t, size_t p) { return panels.bias.data() + p * width; },
      [&](size_t p, size_t count, float* sums) {
        const size_t all = count * num_rows;
        if (linear.activation.function != Function::kLinear) ActivateAll(linear.activation, sums, all * width);
        for (size_t i = 0; i < all; ++i) {
          const size_t at = (p + i / num_rows) * width;
          std::memcpy(rows[i % num_rows].y + at, sums + i * width,
                      std::min(width, linear.output_size - at) * sizeof(float));
        }
      });
}

template <class Dot>
struct KernelsWith {
  static void Step(const PackedCell& cell, const StepRow* rows, size_t num_rows, size_t first, size_t last) {
    switch (cell.panels.format) {
      case WeightFormat::kF32:
        return StepAs<F32Weights>(cell, rows, num_rows, first, last);
      case WeightFormat::kBf16:
        return StepAs<Bf16Weights>(cell, rows, num_rows, first, last);
      case WeightFormat::kInt8:
        return StepAs<Int8Weights>(cell, rows, num_rows, first, last);
      case WeightFormat::kBf16Dot:
        return StepAs<Dot>(cell, rows, num_rows, first, last);
    }
  }

  static void InputHalf(const PackedCell& cell, const InputRow* rows, size_t num_rows, size_t first, size_t last) {
    switch (cell.panels.format) {
      case WeightFormat::kF32:
        return InputHalfAs<F32Weights>(cell, rows, num_rows, first, last);
      case WeightFormat::kBf16:
        return InputHalfAs<Bf16Weights>(cell, rows, num_rows, first, last);
      case WeightFormat::kInt8:
        return InputHalfAs<Int8Weights>(cell, rows, num_rows, first, last);
      case WeightFormat::kBf16Dot:
        return InputHalfAs<Dot>(cell, rows, num_rows, first, last);
    }
  }

  static void Linear(const PackedLinear& linear, const LinearRow* rows, size_t num_rows, size_t first, size_t last) {
    switch (linear.panels.format) {
      case WeightFormat::kF32:
        return LinearAs<F32Weights>(linear, rows, num_rows, first, last);
      case WeightFormat::kBf16:
        return LinearAs<Bf16Weights>(linear, rows, num_rows, first, last);
      case WeightFormat::kInt8:
        return LinearAs<Int8Weights>(linear, rows, num_rows, first, last);
      case WeightFormat::kBf16Dot:
        return LinearAs<Dot>(linear, rows, num_rows, first, last);
    }
  }
};

// As FloatToBf16 of engine/half.h, in the upper half of each word.
HWY_INLINE hn::Vec<DU> RoundToUpperHalves(V x) {
  const DU du;
  const auto bits = hn::BitCast(du, x);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7FFF)));
  const auto quiet = hn::Or(bits, hn::Set(du, 0x400000));
  const auto finite = hn::Eq(x, x);
  return hn::And(hn::BitCast(du, hn::IfThenElse(finite, hn::BitCast(D(), rounded), hn::BitCast(D(), quiet))),
                 hn::Set(du, 0xFFFF0000u));
}

void Narrow(const float* from, size_t size, float* to) {
  const D d;
  const size_t n = hn::Lanes(d);
  auto* words = reinterpret_cast<uint32_t*>(to);
  size_t k = 0;
  for (; k + 2 * n <= size; k += 2 * n, words += n) {
    V even, odd;
    hn::LoadInterleaved2(d, from + k, even, odd);
    hn::StoreU(hn::Or(hn::ShiftRight<16>(RoundToUpperHalves(even)), RoundToUpperHalves(odd)), DU(), words);
  }
  for (; k < size; k += 2) {
    const uint32_t odd = k + 1 < size ? FloatToBf16(from[k + 1]) : 0;
    *words++ = FloatToBf16(from[k]) | odd << 16;
  }
}

template <class Dot>
Kernels MakeKernels(const char* name) {
  using K = KernelsWith<Dot>;
  return {name, Units(), K::Step, K::InputHalf, K::Linear, ActivateAll, Narrow};
}

const Kernels* GetKernels() {
  static const Kernels kernels = MakeKernels<Bf16Dot>(hwy::TargetName(HWY_TARGET));
  return &kernels;
}

// The same with an instruction for products of bfloat16, or nullptr if this instruction set has no such.
const Kernels* GetBf16Kernels() {
#if HWY_TARGET == HWY_AVX3
  static const Kernels kernels = MakeKernels<Bf16DotNative>("AVX3_BF16");
  return &kernels;
#else
  return nullptr;
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace lstmd::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
