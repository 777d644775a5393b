// SPDX-License-Identifier: Apache-2.0
#include "engine/cpu/cell_runner.h"

#include <algorithm>

namespace lstmd::cpu {
namespace {

// Rows times steps whose input halves are computed at once. More: the weights are read less often; less: the halves
// stay in the cache until their step comes.
constexpr size_t kRowsAtOnce = 128;
constexpr size_t kMaxStepsAtOnce = 32;
// With more rows than this, each step takes both halves in one go: its rows alone fill the registers, and the halves of
// all steps would only travel through the cache. The bits are the same.
constexpr size_t kMostRowsOfHalves = 6;
constexpr size_t kMinItemRows = 4;
constexpr size_t kNearestPanel = size_t{32} << 10;
constexpr size_t kNearestRows = 16;
// Of one item: long beside claiming it, short beside waiting for a thread that is stopped in the middle.
constexpr double kItemNanoseconds = 4000;
// Of one thread: weights come at some 130 GB/s, and 130 multiply-adds are done in a nanosecond. Only the order of
// magnitude matters.
double PassNanoseconds(size_t rows, double weight_bytes, size_t weights) {
  return 0.0075 * (weight_bytes + static_cast<double>(weights * rows));
}

}  // namespace

size_t CellRunner::StepsAtOnce(size_t rows) {
  return std::clamp<size_t>(kRowsAtOnce / std::max<size_t>(rows, 1), 1, kMaxStepsAtOnce);
}

double CellRunner::Nanoseconds(const PackedModel& model, size_t rows) {
  double sum = 0;
  for (const PackedCell& cell : model.cells) {
    const Panels& of = cell.panels;
    sum += PassNanoseconds(rows, of.weight_bytes(), of.count * of.width() * (of.depth[0] + of.depth[1]));
  }
  return model.spec.steppable() ? sum : sum / static_cast<double>(model.cells.size());
}

bool CellRunner::Reserve(const PackedModel& model, size_t rows, size_t steps) {
  steps_ = steps;
  h_.resize(rows);
  step_rows_.resize(rows);
  input_rows_.resize(rows * steps);
  linear_rows_.resize(rows);
  const Panels& panels = model.cells.front().panels;
  const size_t hidden = model.padded_hidden();
  halves_ = steps > 1 && rows <= kMostRowsOfHalves;
  if (halves_ && !z_.Reserve(rows * steps * panels.count * panels.width())) return false;
  if (model.format == WeightFormat::kBf16Dot) {
    size_t longest = std::max(model.spec.hidden_size, model.spec.layer_output_size());
    for (const PackedCell& cell : model.cells) longest = std::max(longest, cell.input_size());
    narrow_stride_ = Padded(RowWords(model.format, longest));
    if (!narrow_x_.Reserve(rows * steps * narrow_stride_) || !narrow_h_.Reserve(rows * narrow_stride_)) return false;
  }
  if (!model.projections.empty() && !full_.Reserve(rows * hidden)) return false;
  return model.spec.padding_output != PaddingOutput::kCell || discarded_.Reserve(rows * hidden);
}

const float* CellRunner::Operand(WeightFormat format, const float* row, size_t size, AlignedBuffer& buffer,
                                 size_t index) {
  if (format != WeightFormat::kBf16Dot) return row;
  float* const narrow = buffer.data() + index * narrow_stride_;
  kernels_.narrow(row, size, narrow);
  return narrow;
}

template <typename Body>
void CellRunner::Split(size_t rows, const Panels& of, size_t depth, const Body& body) {
  if (rows == 0) return;  // all steps are masked
  const size_t panels = of.count;
  const size_t threads = threads_.threads();
  const double part = static_cast<double>(depth) / static_cast<double>(of.depth[0] + of.depth[1]);
  const double nanoseconds = PassNanoseconds(rows, part * of.weight_bytes(), panels * of.width() * depth);
  const bool alone = threads == 1 || nanoseconds < ThreadPool::kWorthHelp;
  // Where a panel stays in the nearest cache it is read again for each block of rows, which shall stay there with it.
  const size_t most_rows = of.panel_bytes() <= kNearestPanel ? kNearestRows : kMaxItemRows;
  size_t row_blocks = (rows + most_rows - 1) / most_rows;
  // Where panels are few, rows are split as well, so that each thread finds something.
  if (!alone && panels < threads) {
    row_blocks = std::max(row_blocks, std::min((threads + panels - 1) / panels, rows / kMinItemRows));
  }
  const size_t block = (rows + row_blocks - 1) / row_blocks;
  row_blocks = (rows + block - 1) / block;
  const double items_each = std::max(1.0, nanoseconds / static_cast<double>(threads) / kItemNanoseconds);
  const size_t groups =
      alone ? 1 : static_cast<size_t>(std::min(static_cast<double>(panels), static_cast<double>(threads) * items_each));
  threads_.For(row_blocks * groups, nanoseconds, [&](size_t item) {
    const size_t first = item % row_blocks * block;
    size_t at = item / row_blocks;
    // Every other pass goes the other way, each thread through its own: what it met last is in the cache yet, while
    // going round in one direction would always ask for what was there and has just been put out.
    if (backward_) {
      const size_t share = ThreadPool::ShareOf(groups, threads, at);
      at = ThreadPool::FirstOfShare(groups, threads, share) + ThreadPool::FirstOfShare(groups, threads, share + 1) - 1 -
           at;
    }
    body(first, std::min(block, rows - first), panels * at / groups, panels * (at + 1) / groups);
  });
}

void CellRunner::InputHalves(const PackedModel& model, const PackedCell& cell, absl::Span<const CellSpan> spans) {
  const bool all = model.spec.padding_output == PaddingOutput::kCell;
  const size_t z_size = cell.panels.count * cell.panels.width();
  size_t rows = 0;
  for (size_t i = 0; i < spans.size(); ++i) {
    for (size_t s = 0; s < spans[i].steps; ++s) {
      if (!all && !spans[i].valid(s)) continue;
      const float* x = spans[i].x + static_cast<ptrdiff_t>(s) * spans[i].x_stride;
      input_rows_[rows] = {Operand(model.format, x, cell.input_size(), narrow_x_, rows),
                           z_.data() + (i * steps_ + s) * z_size};
      ++rows;
    }
  }
  Split(rows, cell.panels, cell.input_size(), [&](size_t first, size_t count, size_t panel, size_t last) {
    kernels_.input_half(cell, input_rows_.data() + first, count, panel, last);
  });
}

void CellRunner::Step(const PackedModel& model, size_t cell_index, absl::Span<const CellSpan> spans, size_t step) {
  const PackedCell& cell = model.cells[cell_index];
  const bool project = !model.projections.empty();
  const bool all = model.spec.padding_output == PaddingOutput::kCell;
  const size_t hidden = model.padded_hidden();
  const size_t z_size = cell.panels.count * cell.panels.width();
  size_t rows = 0;
  for (size_t i = 0; i < spans.size(); ++i) {
    const CellSpan& span = spans[i];
    if (step >= span.steps) continue;
    const bool valid = span.valid(step);
    if (!valid && !all) continue;
    float* const y = span.y + step * model.padded_state();
    StepRow& row = step_rows_[rows];
    row.z = halves_ ? z_.data() + (i * steps_ + step) * z_size : nullptr;
    if (!halves_) {
      const float* x = span.x + static_cast<ptrdiff_t>(step) * span.x_stride;
      row.x = Operand(model.format, x, cell.input_size(), narrow_x_, rows);
    }
    row.h = Operand(model.format, h_[i], cell.state_size(), narrow_h_, rows);
    row.c_in = span.c;
    row.c_out = valid ? span.c : discarded_.data() + i * hidden;
    row.h_out = project ? full_.data() + i * hidden : y;
    if (project) linear_rows_[rows] = {row.h_out, y};
    ++rows;
    if (valid) h_[i] = y;
  }
  const size_t depth = cell.state_size() + (halves_ ? 0 : cell.input_size());
  Split(rows, cell.panels, depth, [&](size_t first, size_t count, size_t panel, size_t last) {
    kernels_.step(cell, step_rows_.data() + first, count, panel, last);
  });
  if (project) Linear(model.projections[cell_index], absl::MakeSpan(linear_rows_.data(), rows));
}

void CellRunner::Run(const PackedModel& model, size_t cell, absl::Span<const CellSpan> spans) {
  size_t steps = 0;
  for (size_t i = 0; i < spans.size(); ++i) {
    h_[i] = spans[i].h;
    steps = std::max(steps, spans[i].steps);
  }
  if (cell == 0) pass_ += last_steps_;
  last_steps_ = steps;
  if (halves_) InputHalves(model, model.cells[cell], spans);
  for (size_t s = 0; s < steps; ++s) {
    backward_ = (pass_ + s) % 2 != 0;
    Step(model, cell, spans, s);
  }
  for (size_t i = 0; i < spans.size(); ++i) {
    if (h_[i] != spans[i].h) std::copy_n(h_[i], model.spec.hidden_state_size(), spans[i].h);
  }
}

void CellRunner::Linear(const PackedLinear& linear, absl::Span<LinearRow> rows) {
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].x = Operand(linear.panels.format, rows[i].x, linear.input_size(), narrow_x_, i);
  }
  Split(rows.size(), linear.panels, linear.input_size(), [&](size_t first, size_t count, size_t panel, size_t last) {
    kernels_.linear(linear, rows.data() + first, count, panel, last);
  });
}

void CellRunner::Head(const PackedModel& model, absl::Span<LinearRow> rows) {
  if (rows.empty()) return;
  if (model.spec.head) return Linear(model.head, rows);
  for (const LinearRow& row : rows) std::copy_n(row.x, model.spec.output_size(), row.y);
}

}  // namespace lstmd::cpu
