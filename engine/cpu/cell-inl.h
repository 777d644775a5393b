// SPDX-License-Identifier: Apache-2.0
//
// The cell update, for the instruction set that foreach_target.h is compiling: from the sums of a panel to c and h.
//
// One row's update is a chain of some 40 dependent operations, twice as long as what a processor looks ahead. So it is
// done in two passes over the rows, and within a pass the operations of several chains stand next to each other.
#if defined(LSTMD_ENGINE_CPU_CELL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LSTMD_ENGINE_CPU_CELL_INL_H_
#undef LSTMD_ENGINE_CPU_CELL_INL_H_
#else
#define LSTMD_ENGINE_CPU_CELL_INL_H_
#endif

#include <cstddef>

#include "engine/cpu/accumulate-inl.h"
#include "engine/cpu/activations-inl.h"
#include "engine/cpu/kernels.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lstmd::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Rows whose chains stand next to each other: as many as the registers hold.
constexpr int kCellRows = kRows > 3 ? 2 : 1;

// c of R rows from their sums z, each [4][U]; what is left of z is o, a quotient.
template <int R>
HWY_INLINE void UpdateC(float* z, const StepRow* rows, size_t unit) {
  const D d;
  const size_t units = Units();
  // i f g o of the first row, of the second …
  V x[4 * R];
  V a[4 * R];
  V most[4 * R];
#pragma GCC unroll 8
  for (int j = 0; j < 4 * R; ++j) {
    x[j] = hn::Load(d, z + j * units);
    a[j] = hn::Abs(x[j]);
    // tanh(x) begins with e^-2|x|.
    if (j % 4 == 2) a[j] = hn::Add(a[j], a[j]);
    most[j] = hn::Set(d, j % 4 == 2 ? kMostOfTanh : kMostOfSigmoid);
  }
  Exponential<V> e[4 * R];
  ExpsOfMinus<4 * R>(d, a, most, e);
  Quotient<V> q[4 * R];
#pragma GCC unroll 8
  for (int j = 0; j < 4 * R; ++j) q[j] = j % 4 == 2 ? TanhOf(d, x[j], e[j]) : SigmoidOf(d, x[j], e[j]);
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r) {
    const Quotient<V>& i = q[4 * r];
    const Quotient<V>& f = q[4 * r + 1];
    const Quotient<V>& g = q[4 * r + 2];
    // Divisions are slow: one for i * g.
    const V ig = hn::Div(hn::Mul(i.over, g.over), hn::Mul(i.under, g.under));
    const V c = hn::MulAdd(hn::Div(f.over, f.under), hn::Load(d, rows[r].c_in + unit), ig);
    hn::Store(c, d, rows[r].c_out + unit);
    hn::Store(q[4 * r + 3].over, d, z + 4 * r * units);
    hn::Store(q[4 * r + 3].under, d, z + (4 * r + 1) * units);
  }
}

// h of R rows from what UpdateC left: o * tanh(c), with one division.
template <int R>
HWY_INLINE void UpdateH(const float* z, const StepRow* rows, size_t unit) {
  const D d;
  const size_t units = Units();
  V x[R];
  V a[R];
  V most[R];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    x[r] = hn::Load(d, rows[r].c_out + unit);
    a[r] = hn::Abs(x[r]);
    a[r] = hn::Add(a[r], a[r]);
    most[r] = hn::Set(d, kMostOfTanh);
  }
  Exponential<V> e[R];
  ExpsOfMinus<R>(d, a, most, e);
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const Quotient<V> t = TanhOf(d, x[r], e[r]);
    const V over = hn::Load(d, z + 4 * r * units);
    const V under = hn::Load(d, z + (4 * r + 1) * units);
    hn::Store(hn::Div(hn::Mul(over, t.over), hn::Mul(under, t.under)), d, rows[r].h_out + unit);
  }
}

HWY_NOINLINE void DefaultCells(float* z, const StepRow* rows, size_t num_rows, size_t unit) {
  const size_t width = 4 * Units();
  size_t r = 0;
  for (; r + kCellRows <= num_rows; r += kCellRows) UpdateC<kCellRows>(z + r * width, rows + r, unit);
  for (; r < num_rows; ++r) UpdateC<1>(z + r * width, rows + r, unit);
  r = 0;
  for (; r + 2 * kCellRows <= num_rows; r += 2 * kCellRows) UpdateH<2 * kCellRows>(z + r * width, rows + r, unit);
  for (; r < num_rows; ++r) UpdateH<1>(z + r * width, rows + r, unit);
}

// With any options.
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

// All rows' cells from their sums [num_rows][4][U] of panel p, which are used up.
HWY_INLINE void UpdateCells(const PackedCell& cell, const StepRow* rows, size_t num_rows, size_t p, float* sums) {
  const size_t units = Units();
  if (cell.default_activations) return DefaultCells(sums, rows, num_rows, p * units);
  for (size_t r = 0; r < num_rows; ++r) AnyCell(cell, sums + r * 4 * units, rows[r], p * units);
}

}  // namespace HWY_NAMESPACE
}  // namespace lstmd::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
