// SPDX-License-Identifier: Apache-2.0
#include "engine/cpu/batch_run.h"

#include <algorithm>
#include <new>
#include <utility>

#include "engine/errors.h"

namespace lstmd::cpu {
namespace {

CpuRowScratch* ScratchOf(const Row& row) { return static_cast<CpuRowScratch*>(row.scratch.get()); }

absl::Status NoMemory() {
  return ResourceExhausted("DEVICE_MEMORY", "no memory for the intermediate results of a batch on device cpu");
}

void FindValidSteps(const Row& row, CpuRowScratch& scratch) {
  if (row.mask == nullptr) {
    scratch.first_valid = 0;
    scratch.last_valid = row.steps - 1;
    return;
  }
  for (uint32_t t = 0; t < row.steps; ++t) {
    if (row.mask[t] == 0) continue;
    if (scratch.first_valid == kNoStep) scratch.first_valid = t;
    scratch.last_valid = t;
  }
}

// Null where the row needs none.
std::unique_ptr<CpuRowScratch> MakeScratch(const ModelSpec& spec, const Row& row) {
  if (row.scratch != nullptr || (spec.steppable() && row.mask == nullptr)) return nullptr;
  auto scratch = std::make_unique<CpuRowScratch>();
  FindValidSteps(row, *scratch);
  if (spec.steppable()) return scratch;
  const size_t layer_output = spec.layer_output_size();
  for (uint32_t i = 0; i < std::min<uint32_t>(spec.num_layers, 2); ++i) {
    if (!scratch->layer_outputs[i].Reserve(row.steps * layer_output)) throw std::bad_alloc();
  }
  for (uint32_t d = 0; d < spec.directions(); ++d) {
    if (!scratch->last_output[d].Reserve(spec.hidden_state_size())) throw std::bad_alloc();
  }
  if (!scratch->merged.Reserve(layer_output)) throw std::bad_alloc();
  return scratch;
}

}  // namespace

absl::Status BatchRun::TryPrepare(const PackedModel& model, absl::Span<Row* const> rows) {
  const size_t n = rows.size();
  uint64_t longest = 1;
  for (const Row* row : rows)
    longest = std::max(longest, std::min(row->budget, row->units(model.spec) - row->position));
  steps_at_once_ = std::min<uint64_t>(CellRunner::StepsAtOnce(n), longest);
  if (!runner_.Reserve(model, n, steps_at_once_)) return NoMemory();
  for (AlignedBuffer& y : y_) {
    if (!y.Reserve(n * steps_at_once_ * model.padded_state())) return NoMemory();
  }
  spans_.reserve(n);
  which_.reserve(n);
  left_.resize(n);
  emit_.resize(n * steps_at_once_);
  new_scratch_.clear();
  new_scratch_.resize(n);
  for (size_t i = 0; i < n; ++i) new_scratch_[i] = MakeScratch(model.spec, *rows[i]);
  return absl::OkStatus();
}

absl::Status BatchRun::Prepare(const PackedModel& model, absl::Span<Row* const> rows) {
  try {
    return TryPrepare(model, rows);
  } catch (const std::bad_alloc&) {
    new_scratch_.clear();
    return NoMemory();
  }
}

absl::Status BatchRun::Run(const PackedModel& model, CpuStatePool& pool, absl::Span<Row* const> rows) {
  absl::Status status = Prepare(model, rows);
  if (!status.ok()) return status;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (new_scratch_[i] != nullptr) rows[i]->scratch = std::move(new_scratch_[i]);
    left_[i] = std::min(rows[i]->budget, rows[i]->units(model.spec) - rows[i]->position);
  }
  if (model.spec.steppable()) {
    RunSteps(model, pool, rows);
  } else {
    RunSequences(model, pool, rows);
  }
  return absl::OkStatus();
}

void BatchRun::FinishRow(const PackedModel& model, CpuStatePool& pool, Row& row) {
  const CpuRowScratch* scratch = ScratchOf(row);
  if (scratch != nullptr && scratch->first_valid == kNoStep) {
    if (model.spec.zero_length_state == ZeroLengthState::kZeros) pool.SetToZeros(row.slot);
    if (row.output != nullptr && row.output_mode != OutputMode::kAll) {
      std::fill_n(row.output, model.spec.output_size(), 0.0f);
    }
  }
  row.scratch.reset();
}

void BatchRun::RunSteps(const PackedModel& model, CpuStatePool& pool, absl::Span<Row* const> rows) {
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
void BatchRun::EmitSteps(const PackedModel& model, absl::Span<Row* const> rows, const float* y) {
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
