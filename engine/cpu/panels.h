// SPDX-License-Identifier: Apache-2.0
//
// Weight matrices as the kernels read them.
//
// A panel holds 4U columns (U = lanes of the kernel's vectors, at most 16): what U hidden units need, all four gates,
// so that the kernel ends with i, f, g and o of the same units in registers; or 4U outputs of a projection or head.
// Over the depth K it consists of halves, W (K = I') and then R (K = P or H); a projection or head has the first alone:
//   f32              for k = 0 … K-1: float [4][U]
//   bf16, bf16_dot   for k = 0, 2, …: 32-bit words [4][U], weight k in the lower half of each, k+1 in the upper
//   int8             for k = 0 … K-1: int8 [4][U]; a weight is that times its column's scale in this half
// What is past the last column or the last k is zero.
#ifndef LSTMD_ENGINE_CPU_PANELS_H_
#define LSTMD_ENGINE_CPU_PANELS_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "engine/cpu/aligned_buffer.h"
#include "engine/spec.h"

namespace lstmd::cpu {

enum class WeightFormat : uint8_t {
  kF32,
  kBf16,     // widened to f32 on the way into the registers
  kInt8,     // the same; sums are scaled at the end of each half
  kBf16Dot,  // multiplied with rows that are bfloat16 too
};

WeightFormat FormatOf(Precision precision);

// Rows of `depth` floats, or of 32-bit words with two bfloat16 each where the kernels multiply bfloat16s: how many.
inline size_t RowWords(WeightFormat format, size_t depth) {
  return format == WeightFormat::kBf16Dot ? (depth + 1) / 2 : depth;
}

struct Panels {
  WeightFormat format = WeightFormat::kF32;
  size_t units = 0;                  // U
  size_t count = 0;                  // of panels
  std::array<size_t, 2> depth = {};  // K of each half
  bool far = false;                  // too large for a near cache: the kernels then read each panel once for all rows
  AlignedBuffer weights;             // [count] panels
  AlignedBuffer bias;                // [count][4U], zeros where the model has none
  AlignedBuffer scales;              // kInt8: [count][2][4U]

  size_t width() const { return 4 * units; }
  size_t half_bytes(size_t half) const;
  size_t panel_bytes() const { return half_bytes(0) + half_bytes(1); }
  // Of all weights: what a step reads.
  size_t weight_bytes() const { return count * panel_bytes(); }
  // Of all buffers.
  uint64_t bytes() const { return (weights.size() + bias.size() + scales.size()) * sizeof(float); }

  uint8_t* half(size_t panel, size_t half) {
    return reinterpret_cast<uint8_t*>(weights.data()) + panel * panel_bytes() + (half == 0 ? 0 : half_bytes(0));
  }
  const uint8_t* half(size_t panel, size_t half) const { return const_cast<Panels*>(this)->half(panel, half); }
  const float* scale(size_t panel, size_t half) const { return scales.data() + (2 * panel + half) * width(); }

  // Makes room, for `count`, `depth` and so on as they are, and sets `far`; bias and scales are zero, weights
  // undefined. False: no memory.
  bool Reserve();
  // Zeroes a panel's weights, where Pack will not fill all of it.
  void Clear(size_t panel);
  // Rows of a [count, depth[half]] matrix become the columns of a panel from `lane` on. Different panels may be packed
  // at the same time. False: kInt8, and a weight is not finite.
  bool Pack(size_t panel, size_t half, size_t lane, const float* matrix, size_t count);
};

}  // namespace lstmd::cpu

#endif  // LSTMD_ENGINE_CPU_PANELS_H_
