// SPDX-License-Identifier: Apache-2.0
#include "engine/cpu/rows_run.h"

#include <algorithm>

namespace lstmd::cpu {
namespace {

CpuRowScratch* ScratchOf(const Row& row) { return static_cast<CpuRowScratch*>(row.scratch.get()); }

}  // namespace

bool RowsRun::Reserve(const PackedModel& model, size_t rows, uint64_t longest) {
  steps_at_once_ = std::min<uint64_t>(CellRunner::StepsAtOnce(rows), longest);
  if (!runner_.Reserve(model, rows, steps_at_once_)) return false;
  for (AlignedBuffer& y : y_) {
    if (!y.Reserve(rows * steps_at_once_ * model.padded_state())) return false;
  }
  spans_.reserve(rows);
  which_.reserve(rows);
  left_.resize(rows);
  emit_.resize(rows * steps_at_once_);
  return true;
}

void RowsRun::Run(const PackedModel& model, CpuStatePool& pool, absl::Span<Row* const> rows,
                  absl::Span<const uint64_t> units, uint64_t limit) {
  for (size_t i = 0; i < rows.size(); ++i) left_[i] = std::min(units[i], limit);
  if (model.spec.steppable()) {
    RunSteps(model, pool, rows);
  } else {
    RunSequences(model, pool, rows);
  }
}

void RowsRun::FinishRow(const PackedModel& model, CpuStatePool& pool, Row& row) {
  const CpuRowScratch* scratch = ScratchOf(row);
  if (scratch != nullptr && scratch->first_valid == kNoStep) {
    if (model.spec.zero_length_state == ZeroLengthState::kZeros) pool.SetToZeros(row.slot);
    if (row.output != nullptr && row.output_mode != OutputMode::kAll) {
      std::fill_n(row.output, model.spec.output_size(), 0.0f);
    }
  }
  row.scratch.reset();
}

void RowsRun::RunSteps(const PackedModel& model, CpuStatePool& pool, absl::Span<Row* const> rows) {
  const ModelSpec& spec = model.spec;
  const size_t y_size = steps_at_once_ * model.padded_state();
  for (;;) {
    which_.clear();
    for (size_t i = 0; i < rows.size(); ++i) {
      if (left_[i] != 0) which_.push_back(i);
    }
    if (which_.empty()) return;
    for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
      spans_.clear();
      for (size_t j = 0; j < which_.size(); ++j) {
        const Row& row = *rows[which_[j]];
        CellSpan span;
        span.x = layer == 0 ? row.input + row.position * spec.input_size : y_[(layer - 1) % 2].data() + j * y_size;
        span.x_stride = layer == 0 ? spec.input_size : model.padded_state();
        span.mask = row.mask == nullptr ? nullptr : row.mask + row.position;
        span.mask_stride = 1;
        span.steps = std::min<uint64_t>(left_[which_[j]], steps_at_once_);
        span.h = pool.h(row.slot, layer);
        span.c = pool.c(row.slot, layer);
        span.y = y_[layer % 2].data() + j * y_size;
        spans_.push_back(span);
      }
      runner_.Run(model, layer, spans_);
    }
    EmitSteps(model, rows, y_[(spec.num_layers - 1) % 2].data());
    for (size_t j = 0; j < which_.size(); ++j) {
      Row& row = *rows[which_[j]];
      row.position += spans_[j].steps;
      left_[which_[j]] -= spans_[j].steps;
      if (row.position == row.steps) FinishRow(model, pool, row);
    }
  }
}

// Writes the outputs of the steps in spans_, whose y is the top layer's.
void RowsRun::EmitSteps(const PackedModel& model, absl::Span<Row* const> rows, const float* y) {
  const ModelSpec& spec = model.spec;
  const size_t output_size = spec.output_size();
  const bool cell_on_padding = spec.padding_output == PaddingOutput::kCell;
  num_emit_ = 0;
  for (size_t j = 0; j < which_.size(); ++j) {
    const Row& row = *rows[which_[j]];
    if (row.output == nullptr) continue;
    const CellSpan& span = spans_[j];
    const uint32_t last_valid = row.scratch != nullptr ? ScratchOf(row)->last_valid : row.steps - 1;
    for (size_t s = 0; s < span.steps; ++s) {
      const uint64_t t = row.position + s;
      const float* const from = y + (j * steps_at_once_ + s) * model.padded_state();
      if (row.output_mode == OutputMode::kAll) {
        if (span.valid(s) || cell_on_padding) emit_[num_emit_++] = {from, row.output + t * output_size};
      } else if (t == last_valid) {
        emit_[num_emit_++] = {from, row.output};
      }
    }
  }
  runner_.Head(model, absl::MakeSpan(emit_.data(), num_emit_));
  if (cell_on_padding) return;
  for (size_t j = 0; j < which_.size(); ++j) {
    const Row& row = *rows[which_[j]];
    if (row.output == nullptr || row.mask == nullptr || row.output_mode != OutputMode::kAll) continue;
    for (size_t s = 0; s < spans_[j].steps; ++s) {
      if (spans_[j].valid(s)) continue;
      float* const to = row.output + (row.position + s) * output_size;
      if (spec.padding_output == PaddingOutput::kRepeatLast && row.position + s > 0) {
        std::copy_n(to - output_size, output_size, to);
      } else {
        std::fill_n(to, output_size, 0.0f);
      }
    }
  }
}

}  // namespace lstmd::cpu
