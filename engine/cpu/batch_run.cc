// SPDX-License-Identifier: Apache-2.0
#include "engine/cpu/batch_run.h"

#include <algorithm>
#include <new>
#include <utility>

#include "engine/errors.h"

namespace lstmd::cpu {
namespace {

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

// A thread's rows, so that it pays to read all weights for them alone: where these stay in its own cache, and where
// they come from one that all cores share.
constexpr size_t kFewRows = 4;
constexpr size_t kManyRows = 16;
// What stays in a core's own cache, with room for rows.
constexpr size_t kOwnBytes = size_t{768} << 10;
// More rows than this are several parts, so that a thread can take some off another that is late.
constexpr size_t kMaxPartRows = 64;
// What the threads do between two meetings, on one thread: a part of it is what they may wait for one that is stopped.
constexpr double kPartsNanoseconds = 400'000;

}  // namespace

BatchRun::BatchRun(const Kernels& kernels, ThreadPool& threads)
    : kernels_(kernels), threads_(threads), together_(kernels, threads) {}

size_t BatchRun::Parts(const PackedModel& model, size_t rows) const {
  const size_t threads = threads_.threads();
  const size_t each = rows / threads;
  if (threads == 1 || each < kFewRows || CellRunner::Nanoseconds(model, rows) < ThreadPool::kWorthHelp) return 1;
  bool far = false;
  for (const PackedCell& cell : model.cells) far = far || cell.panels.far;
  if (far || (each < kManyRows && model.weight_bytes() > kOwnBytes)) return 1;
  return threads * ((each + kMaxPartRows - 1) / kMaxPartRows);
}

bool BatchRun::TryPrepare(const PackedModel& model, absl::Span<Row* const> rows) {
  rows_.assign(rows.begin(), rows.end());
  left_.resize(rows.size());
  new_scratch_.resize(rows.size());
  uint64_t longest = 1;
  bool equal = true;
  for (size_t i = 0; i < rows.size(); ++i) {
    const Row& row = *rows[i];
    left_[i] = std::min(row.budget, row.units(model.spec) - row.position);
    longest = std::max(longest, left_[i]);
    new_scratch_[i] = MakeScratch(model.spec, row);
    equal = equal && left_[i] == left_[0];
  }
  const size_t parts = Parts(model, rows.size());
  while (parts_.size() < parts) parts_.push_back(std::make_unique<RowsRun>(kernels_, alone_));
  if (parts > 1) {
    for (size_t i = 0; i < parts; ++i) {
      // Also when rows have gone and the others are dealt out anew.
      const size_t most = std::min(rows.size() / threads_.threads(), kMaxPartRows) + 1;
      if (!parts_[i]->Reserve(model, most, longest)) return false;
    }
  }
  return (parts > 1 && equal) || together_.Reserve(model, rows.size(), longest);
}

absl::Status BatchRun::Prepare(const PackedModel& model, absl::Span<Row* const> rows) {
  try {
    if (TryPrepare(model, rows)) return absl::OkStatus();
  } catch (const std::bad_alloc&) {
  }
  new_scratch_.clear();
  return ResourceExhausted("DEVICE_MEMORY", "no memory for the intermediate results of a batch on device cpu");
}

absl::Status BatchRun::Run(const PackedModel& model, CpuStatePool& pool, absl::Span<Row* const> rows) {
  absl::Status status = Prepare(model, rows);
  if (!status.ok()) return status;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (new_scratch_[i] != nullptr) rows[i]->scratch = std::move(new_scratch_[i]);
  }
  while (!rows_.empty()) {
    const size_t parts = Parts(model, rows_.size());
    const bool equal = std::equal(left_.begin() + 1, left_.end(), left_.begin());
    if (parts == 1 || (!equal && !model.spec.steppable())) {
      together_.Run(model, pool, rows_, left_, UINT64_MAX);
      return absl::OkStatus();
    }
    RunParts(model, pool, parts);
  }
  return absl::OkStatus();
}

void BatchRun::RunParts(const PackedModel& model, CpuStatePool& pool, size_t parts) {
  const size_t n = rows_.size();
  const double unit = CellRunner::Nanoseconds(model, n);
  const uint64_t units =
      std::min(*std::min_element(left_.begin(), left_.end()), static_cast<uint64_t>(1 + kPartsNanoseconds / unit));
  threads_.For(parts, unit * static_cast<double>(units), [&](size_t part) {
    const size_t first = ThreadPool::FirstOfShare(n, parts, part);
    const size_t count = ThreadPool::FirstOfShare(n, parts, part + 1) - first;
    parts_[part]->Run(model, pool, absl::MakeSpan(rows_).subspan(first, count),
                      absl::MakeSpan(left_).subspan(first, count), units);
  });
  size_t kept = 0;
  for (size_t i = 0; i < n; ++i) {
    if (left_[i] == units) continue;
    rows_[kept] = rows_[i];
    left_[kept++] = left_[i] - units;
  }
  rows_.resize(kept);
  left_.resize(kept);
}

}  // namespace lstmd::cpu
