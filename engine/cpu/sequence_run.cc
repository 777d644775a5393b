// SPDX-License-Identifier: Apache-2.0
//
// The part of RowsRun for models that read backward in time: one cell over all of time after the other.
#include <algorithm>

#include "engine/cpu/rows_run.h"

namespace lstmd::cpu {
namespace {

CpuRowScratch& ScratchOf(const Row& row) { return static_cast<CpuRowScratch&>(*row.scratch); }

// Where a (layer, direction) reads and writes at its j-th step.
struct CellOrder {
  CellOrder(const ModelSpec& spec, size_t cell, uint32_t steps)
      : layer(cell / spec.directions()),
        direction(cell % spec.directions()),
        backward(spec.directions() == 1 || direction == 1),
        in_order_computed(spec.direction == Direction::kGoBackwards),
        steps(steps) {}

  size_t time(size_t j) const { return backward ? steps - 1 - j : j; }
  size_t output_position(size_t j) const { return in_order_computed ? j : time(j); }

  size_t layer;
  size_t direction;
  bool backward;
  bool in_order_computed;
  uint32_t steps;
};

// Puts one direction's output y (nullptr: zeros) into a layer's output. The first direction comes first.
void Merge(const ModelSpec& spec, size_t direction, const float* y, float* to) {
  const size_t size = spec.hidden_state_size();
  if (spec.directions() == 2 && spec.merge_mode == MergeMode::kConcat) to += direction * size;
  if (direction == 0 || spec.merge_mode == MergeMode::kConcat) {
    if (y != nullptr) {
      std::copy_n(y, size, to);
    } else {
      std::fill_n(to, size, 0.0f);
    }
    return;
  }
  for (size_t i = 0; i < size; ++i) {
    const float value = y != nullptr ? y[i] : 0.0f;
    switch (spec.merge_mode) {
      case MergeMode::kSum:
        to[i] += value;
        break;
      case MergeMode::kMul:
        to[i] *= value;
        break;
      default:
        to[i] = (to[i] + value) * 0.5f;
    }
  }
}

}  // namespace

void RowsRun::RunSequences(const PackedModel& model, CpuStatePool& pool, absl::Span<Row* const> rows) {
  // Rows only move on to higher cells, so one pass meets all of them, and those that get to a cell join those in it.
  for (size_t cell = 0; cell < model.cells.size(); ++cell) {
    for (;;) {
      which_.clear();
      for (size_t i = 0; i < rows.size(); ++i) {
        if (left_[i] != 0 && rows[i]->position / rows[i]->steps == cell) which_.push_back(i);
      }
      if (which_.empty()) break;
      RunCell(model, pool, rows, cell);
    }
  }
  num_emit_ = 0;
  for (Row* row : rows) {
    if (row->position == row->units(model.spec)) EmitEnd(model, *row);
  }
  runner_.Head(model, absl::MakeSpan(emit_.data(), num_emit_));
  for (Row* row : rows) {
    if (row->position == row->units(model.spec)) FinishRow(model, pool, *row);
  }
}

void RowsRun::RunCell(const PackedModel& model, CpuStatePool& pool, absl::Span<Row* const> rows, size_t cell) {
  const ModelSpec& spec = model.spec;
  const size_t y_size = steps_at_once_ * model.padded_state();
  const size_t layer_input = spec.layer_input_size(cell / spec.directions());
  spans_.clear();
  for (size_t j = 0; j < which_.size(); ++j) {
    const Row& row = *rows[which_[j]];
    CpuRowScratch& scratch = ScratchOf(row);
    const CellOrder order(spec, cell, row.steps);
    const size_t done = row.position % row.steps;
    if (done == 0) scratch.has_last[order.direction] = false;
    const size_t time = order.time(done);
    const ptrdiff_t forward = order.backward ? -1 : 1;
    CellSpan span;
    span.x = (order.layer == 0 ? row.input : scratch.layer_outputs[(order.layer - 1) % 2].data()) + time * layer_input;
    span.x_stride = forward * static_cast<ptrdiff_t>(layer_input);
    span.mask = row.mask == nullptr ? nullptr : row.mask + time;
    span.mask_stride = forward;
    span.steps = std::min<uint64_t>({left_[which_[j]], row.steps - done, steps_at_once_});
    span.h = pool.h(row.slot, cell);
    span.c = pool.c(row.slot, cell);
    span.y = y_[0].data() + j * y_size;
    spans_.push_back(span);
  }
  runner_.Run(model, cell, spans_);
  num_emit_ = 0;
  for (size_t j = 0; j < which_.size(); ++j) {
    CollectOutputs(model, *rows[which_[j]], cell, spans_[j].steps, spans_[j].y);
  }
  runner_.Head(model, absl::MakeSpan(emit_.data(), num_emit_));
  for (size_t j = 0; j < which_.size(); ++j) {
    rows[which_[j]]->position += spans_[j].steps;
    left_[which_[j]] -= spans_[j].steps;
  }
}

// Puts the next `steps` outputs y of a cell into the layer's, filling in for steps that are not valid, and, where the
// layer's output is complete and the last, into emit_ or the row's output.
void RowsRun::CollectOutputs(const PackedModel& model, Row& row, size_t cell, size_t steps, const float* y) {
  const ModelSpec& spec = model.spec;
  CpuRowScratch& scratch = ScratchOf(row);
  const CellOrder order(spec, cell, row.steps);
  const size_t done = row.position % row.steps;
  const size_t layer_output = spec.layer_output_size();
  const bool emit = cell + 1 == model.cells.size() && row.output != nullptr && row.output_mode == OutputMode::kAll;
  float* const layer_outputs = scratch.layer_outputs[order.layer % 2].data();
  AlignedBuffer& last_buffer = scratch.last_output[order.direction];
  const float* last = scratch.has_last[order.direction] ? last_buffer.data() : nullptr;
  for (size_t s = 0; s < steps; ++s, y += model.padded_state()) {
    const size_t position = order.output_position(done + s);
    const bool valid = row.mask == nullptr || row.mask[order.time(done + s)] != 0;
    const float* from = nullptr;
    if (valid || spec.padding_output == PaddingOutput::kCell) {
      from = y;
    } else if (spec.padding_output == PaddingOutput::kRepeatLast) {
      from = last;
    }
    if (valid) last = y;
    float* const to = layer_outputs + position * layer_output;
    Merge(spec, order.direction, from, to);
    if (!emit) continue;
    float* const output = row.output + position * spec.output_size();
    // With two directions, either has something to repeat if any step is valid.
    const bool nothing = !valid && (spec.padding_output == PaddingOutput::kZeros ||
                                    (from == nullptr && (spec.directions() == 1 || scratch.first_valid == kNoStep)));
    if (nothing) {
      std::fill_n(output, spec.output_size(), 0.0f);
    } else {
      emit_[num_emit_++] = {to, output};
    }
  }
  if (last != nullptr && last != last_buffer.data()) {
    std::copy_n(last, spec.hidden_state_size(), last_buffer.data());
    scratch.has_last[order.direction] = true;
  }
}

// The one output of kLast and kFinal, if any step was valid.
void RowsRun::EmitEnd(const PackedModel& model, Row& row) {
  const ModelSpec& spec = model.spec;
  CpuRowScratch& scratch = ScratchOf(row);
  if (row.output == nullptr || row.output_mode == OutputMode::kAll || scratch.first_valid == kNoStep) return;
  if (row.output_mode == OutputMode::kLast) {
    const size_t position =
        spec.direction == Direction::kGoBackwards ? row.steps - 1 - scratch.first_valid : scratch.last_valid;
    const float* outputs = scratch.layer_outputs[(spec.num_layers - 1) % 2].data();
    emit_[num_emit_++] = {outputs + position * spec.layer_output_size(), row.output};
    return;
  }
  for (size_t d = 0; d < spec.directions(); ++d) {
    Merge(spec, d, scratch.has_last[d] ? scratch.last_output[d].data() : nullptr, scratch.merged.data());
  }
  emit_[num_emit_++] = {scratch.merged.data(), row.output};
}

}  // namespace lstmd::cpu
