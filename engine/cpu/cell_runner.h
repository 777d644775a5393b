// SPDX-License-Identifier: Apache-2.0
//
// Runs one cell (layer, direction) over some steps of many rows: the input half of all steps at once where that pays,
// then step by step, split over the threads; projections; and the head.
#ifndef LSTMD_ENGINE_CPU_CELL_RUNNER_H_
#define LSTMD_ENGINE_CPU_CELL_RUNNER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "engine/cpu/aligned_buffer.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/packed_weights.h"
#include "engine/cpu/thread_pool.h"

namespace lstmd::cpu {

// Consecutive steps, in the order computed, of one row in one cell.
struct CellSpan {
  const float* x = nullptr;  // input of step s at x + s * x_stride
  ptrdiff_t x_stride = 0;
  const uint8_t* mask = nullptr;  // of step s at mask[s * mask_stride]; nullptr: all are valid
  ptrdiff_t mask_stride = 0;
  size_t steps = 0;
  float* h = nullptr;  // the state before the first step; Run leaves the state after the last valid one
  float* c = nullptr;
  float* y = nullptr;  // [steps][padded_state()], h of each step; not written at steps that are not valid, unless
                       // PaddingOutput::kCell asks for what the cell makes of them

  bool valid(size_t step) const { return mask == nullptr || mask[static_cast<ptrdiff_t>(step) * mask_stride] != 0; }
};

class CellRunner {
 public:
  CellRunner(const Kernels& kernels, ThreadPool& threads) : kernels_(kernels), threads_(threads) {}

  // How many steps of each row to give to Run at once.
  static size_t StepsAtOnce(size_t rows);

  // About what a unit of so many rows takes on one thread.
  static double Nanoseconds(const PackedModel& model, size_t rows);

  // Makes room for Run and Head with this many rows, and steps of each. False: no memory. Throws std::bad_alloc.
  bool Reserve(const PackedModel& model, size_t rows, size_t steps);

  // The rest cannot fail. REQUIRES: Reserve for as many.
  void Run(const PackedModel& model, size_t cell, absl::Span<const CellSpan> spans);
  // y of each row: the head of its x, or without a head x itself. Changes `rows`.
  void Head(const PackedModel& model, absl::Span<LinearRow> rows);

 private:
  void InputHalves(const PackedModel& model, const PackedCell& cell, absl::Span<const CellSpan> spans);
  void Step(const PackedModel& model, size_t cell, absl::Span<const CellSpan> spans, size_t step);
  void Linear(const PackedLinear& linear, absl::Span<LinearRow> rows);
  // What the kernels read of a row of `size` floats: itself, or what it narrows to, put into `buffer` at `index`.
  const float* Operand(WeightFormat format, const float* row, size_t size, AlignedBuffer& buffer, size_t index);
  // Calls body(first_row, rows, first_panel, last_panel) so that each panel meets each row, on as many threads as pay.
  // `depth` is how much of each panel's depth it takes.
  template <typename Body>
  void Split(size_t rows, const Panels& of, size_t depth, const Body& body);

  const Kernels& kernels_;
  ThreadPool& threads_;

  size_t steps_ = 0;     // as reserved
  bool halves_ = false;  // whether the input halves of all steps come first
  size_t pass_ = 0;      // steps of the first cell so far; with last_steps_, which way a pass goes
  size_t last_steps_ = 0;
  bool backward_ = false;
  AlignedBuffer z_;          // [rows][steps][panels * 4U], input halves
  AlignedBuffer full_;       // [rows][Padded(H)], h before projection
  AlignedBuffer discarded_;  // [rows][Padded(H)], c of steps that are not valid
  // Rows in bfloat16, each Padded(RowWords(the longest)): of x [rows * steps] and h [rows], or of what goes into a
  // projection or the head [rows * steps]. Empty for other formats.
  AlignedBuffer narrow_x_, narrow_h_;
  size_t narrow_stride_ = 0;
  std::vector<const float*> h_;  // [rows], where the state h stands
  std::vector<StepRow> step_rows_;
  std::vector<InputRow> input_rows_;
  std::vector<LinearRow> linear_rows_;
};

}  // namespace lstmd::cpu

#endif  // LSTMD_ENGINE_CPU_CELL_RUNNER_H_
