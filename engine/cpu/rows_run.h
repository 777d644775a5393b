// SPDX-License-Identifier: Apache-2.0
//
// The two ways through a model: time step by time step through all layers (models that can be stepped), and cell by
// cell over all of time (the others). Both only arrange spans for CellRunner and write outputs.
//
// Where a row has no valid step, its output is what PaddingOutput says, after the head: zeros are zeros, not the head
// of zeros.
#ifndef LSTMD_ENGINE_CPU_ROWS_RUN_H_
#define LSTMD_ENGINE_CPU_ROWS_RUN_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/backend.h"
#include "engine/cpu/aligned_buffer.h"
#include "engine/cpu/cell_runner.h"
#include "engine/cpu/packed_weights.h"
#include "engine/cpu/state_pool.h"

namespace lstmd::cpu {

inline constexpr uint32_t kNoStep = UINT32_MAX;

// What is known of a row with a mask or of a sequence between two slices.
class CpuRowScratch : public RowScratch {
 public:
  uint32_t first_valid = kNoStep;  // in time; kNoStep: no step is valid
  uint32_t last_valid = kNoStep;
  // For models that cannot be stepped. Outputs of a layer [T, layer_output_size], of even and of odd layers; the last
  // output of each direction of the layer at hand [P or H]; what OutputMode::kFinal answers, before the head.
  std::array<AlignedBuffer, 2> layer_outputs;
  std::array<AlignedBuffer, 2> last_output;
  std::array<bool, 2> has_last = {false, false};
  AlignedBuffer merged;  // [layer_output_size]
};

// Runs rows of one model, one batch after the other. Buffers live on from batch to batch.
class RowsRun {
 public:
  // `threads` split what the rows do together.
  RowsRun(const Kernels& kernels, ThreadPool& threads) : runner_(kernels, threads) {}

  // Makes room for Run with this many rows, of which none does more than `longest` units. False: no memory. Throws
  // std::bad_alloc.
  bool Reserve(const PackedModel& model, size_t rows, uint64_t longest);

  // Advances each row by `units` of it, at most `limit`. Cannot fail. REQUIRES: Reserve for as many; a row has that
  // many left, and its scratch where it needs one.
  void Run(const PackedModel& model, CpuStatePool& pool, absl::Span<Row* const> rows, absl::Span<const uint64_t> units,
           uint64_t limit);

 private:
  void RunSteps(const PackedModel& model, CpuStatePool& pool, absl::Span<Row* const> rows);
  void EmitSteps(const PackedModel& model, absl::Span<Row* const> rows, const float* y);

  void RunSequences(const PackedModel& model, CpuStatePool& pool, absl::Span<Row* const> rows);
  void RunCell(const PackedModel& model, CpuStatePool& pool, absl::Span<Row* const> rows, size_t cell);
  void CollectOutputs(const PackedModel& model, Row& row, size_t cell, size_t steps, const float* y);
  void EmitEnd(const PackedModel& model, Row& row);

  void FinishRow(const PackedModel& model, CpuStatePool& pool, Row& row);

  CellRunner runner_;
  size_t steps_at_once_ = 1;
  std::array<AlignedBuffer, 2> y_;  // [rows][steps_at_once_][padded_state()], of even and of odd layers
  std::vector<CellSpan> spans_;     // [rows]
  std::vector<size_t> which_;       // [rows], index into rows of a span
  std::vector<uint64_t> left_;      // [rows], units that this Run still does
  std::vector<LinearRow> emit_;     // [rows * steps_at_once_]
  size_t num_emit_ = 0;
};

}  // namespace lstmd::cpu

#endif  // LSTMD_ENGINE_CPU_ROWS_RUN_H_
