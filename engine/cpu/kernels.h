// SPDX-License-Identifier: Apache-2.0
//
// The compute kernels of one instruction set. Each output is one chain of fused multiply-adds in a fixed order (bias,
// then k = 0, 1, … over the input, then over the hidden state), so a row's result depends on nothing but the row: not
// on the rows beside it, not on the number of panels in a call, and not on whether the input half was computed before
// (`input_half`) or in the same go. That holds for each format of weights (engine/cpu/panels.h):
//   f32        the chain as it is
//   bf16       the same chain with weights rounded to bfloat16: bit for bit an f32 model that has such weights
//   int8       bias + scale_W * (chain over the input) + scale_R * (chain over the state), scales by gate row
//   bf16_dot   the chain over pairs of k, rows rounded to bfloat16 by `narrow`: + x1 * w1, then + x0 * w0, rounded to
//              f32 each; AVX3_BF16 takes subnormal numbers for zeros
//
// Rows are taken by pointer; nothing is gathered. Rows that a kernel only reads need no padding. With bf16_dot, every x
// and h that a kernel reads is what `narrow` made: two values in a word, RowWords(…) of them.
#ifndef LSTMD_ENGINE_CPU_KERNELS_H_
#define LSTMD_ENGINE_CPU_KERNELS_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "engine/cpu/packed_weights.h"
#include "engine/spec.h"

namespace lstmd::cpu {

// One row of one time step of one cell.
struct StepRow {
  const float* x;     // [I'], not read where z is set
  const float* h;     // [P or H]
  const float* z;     // what input_half left for this row, or nullptr
  const float* c_in;  // [Padded(H)]
  float* c_out;       // [Padded(H)], may be c_in
  float* h_out;       // [Padded(H)], o * output(c'), before a projection; no row's x or h
};

struct InputRow {
  const float* x;  // [I']
  float* z;        // [panels][4][U], at a cache line's boundary
};

struct LinearRow {
  const float* x;  // [input_size]
  float* y;        // [output_size], written to the last element and no further
};

// Rows that a kernel takes in one call.
inline constexpr size_t kMaxItemRows = 64;

struct Kernels {
  const char* name;
  size_t units;  // U, see packed_weights.h
  // Panels first … last-1 of all rows, at least 1 and at most kMaxItemRows. Either all rows of a step have a z, or
  // none.
  void (*step)(const PackedCell& cell, const StepRow* rows, size_t num_rows, size_t first, size_t last);
  void (*input_half)(const PackedCell& cell, const InputRow* rows, size_t num_rows, size_t first, size_t last);
  void (*linear)(const PackedLinear& linear, const LinearRow* rows, size_t num_rows, size_t first, size_t last);
  // In place. REQUIRES: size is a multiple of kPad.
  void (*activate)(const Activation& activation, float* values, size_t size);
  // [size] floats to [(size + 1) / 2] words of two bfloat16, rounded to nearest even; the last upper half may be zero.
  void (*narrow)(const float* from, size_t size, float* to);
};

// Of the named instruction set; empty: the best of this machine. nullptr: there is none of this name here.
const Kernels* FindKernels(std::string_view instruction_set);
// Best first. "AVX3_BF16" is AVX3 with the instruction for bfloat16 products of AVX512-BF16.
std::vector<std::string> KernelNames();

}  // namespace lstmd::cpu

#endif  // LSTMD_ENGINE_CPU_KERNELS_H_
