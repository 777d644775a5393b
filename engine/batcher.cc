// SPDX-License-Identifier: Apache-2.0
#include "engine/batcher.h"

#include <algorithm>

namespace lstmd {
namespace {

// Steps that may come are waited for with short slices for this long; without them slices are longer by a factor.
constexpr absl::Duration kStepsAround = absl::Seconds(1);
constexpr int kNoStepsAround = 8;
// Units of a model's first call of sequences.
constexpr uint64_t kUnknownUnits = 256;
// Sinks that share the queue get at least this part of a batch each before another gets more.
constexpr uint32_t kShares = 8;
// What steps can have saved up while sequences ran, ns: they come in waves, and between them they do not wait.
constexpr uint64_t kStepCredit = 5'000'000;

// When `queue` may run. REQUIRES: something is ready.
absl::Time ReadyTime(const ModelQueue& queue, const SchedulerOptions& limits) {
  if (limits.max_queue_delay <= absl::ZeroDuration() || queue.ready() >= limits.max_batch_size) {
    return absl::InfinitePast();
  }
  absl::Time oldest = absl::InfiniteFuture();
  if (!queue.steps.empty()) oldest = queue.steps.front()->accepted;
  if (!queue.sequences.empty()) oldest = std::min(oldest, queue.sequences.front()->accepted);
  return oldest + limits.max_queue_delay;
}

bool TakeLate(Work* work, absl::Time now, Batch* batch) {
  if (!work->cancelled.load(std::memory_order_relaxed) && work->deadline > now) return false;
  batch->late.push_back(work);
  return true;
}

void TakeRow(Work* work, uint64_t budget, Batch* batch) {
  work->row.budget = budget;
  batch->units += budget;
  batch->rows.push_back(work);
}

// Work that ends in this call, whole. Of many time steps it takes no more than of single ones would fit.
void TakeSteps(ReadyQueue& ready, absl::Time now, const SchedulerOptions& limits, Batch* batch) {
  const uint64_t max_units = batch->units + limits.max_batch_size;
  while (batch->rows.size() < limits.max_batch_size && !ready.empty()) {
    Work* const work = ready.front();
    const uint64_t left = work->units - work->row.position;
    if (!batch->rows.empty() && batch->units + left > max_units) return;
    ready.Pop();
    if (!TakeLate(work, now, batch)) TakeRow(work, left, batch);
  }
}

void TakeSlices(ReadyQueue& ready, uint64_t max_units, absl::Time now, const SchedulerOptions& limits, Batch* batch) {
  while (batch->rows.size() < limits.max_batch_size && batch->units < max_units && !ready.empty()) {
    Work* const work = ready.Pop();
    if (TakeLate(work, now, batch)) continue;
    TakeRow(work, std::min<uint64_t>(limits.slice_units, max_units - batch->units), batch);
    batch->sequences = true;
  }
}

// How many units a call of sequences may have.
uint64_t SliceUnits(const ModelQueue& queue, absl::Time now, absl::Time last_step, const SchedulerOptions& limits) {
  absl::Duration time = limits.slice_time;
  if (now - last_step > kStepsAround) {
    time *= kNoStepsAround;
  } else if (const absl::Duration step = queue.step_cost.Estimate(1); step != absl::InfiniteDuration()) {
    time = std::max(time, 2 * step);
  }
  return queue.sequence_cost.UnitsWithin(time, kUnknownUnits);
}

}  // namespace

void Batch::Clear() {
  queue = nullptr;
  rows.clear();
  late.clear();
  units = 0;
  sequences = false;
  wake = absl::InfiniteFuture();
}

void AddReady(ModelQueue& queue, Work* work, const SchedulerOptions& limits) {
  const uint32_t share = std::max<uint32_t>(1, limits.max_batch_size / kShares);
  if (work->units - work->row.position <= limits.slice_units) {
    if (queue.steps.empty() && queue.sequence_time > kStepCredit) {
      queue.step_time = std::max(queue.step_time, queue.sequence_time - kStepCredit);
    }
    queue.steps.Push(work, limits.max_batch_size, share);
  } else {
    // Time that sequences did not ask for is not made up for.
    if (queue.sequences.empty()) queue.sequence_time = std::max(queue.sequence_time, queue.step_time);
    queue.sequences.Push(work, share, share);
  }
}

void ChooseBatch(absl::Span<ModelQueue* const> queues, absl::Time now, absl::Time last_step,
                 const SchedulerOptions& limits, Batch* batch) {
  ModelQueue* chosen = nullptr;
  for (ModelQueue* queue : queues) {
    if (queue->ready() == 0) continue;
    const absl::Time time = ReadyTime(*queue, limits);
    if (time > now) {
      batch->wake = std::min(batch->wake, time);
    } else if (chosen == nullptr || queue->served < chosen->served) {
      chosen = queue;
    }
  }
  batch->queue = chosen;
  if (chosen == nullptr) return;

  if (!chosen->sequences.empty() && (chosen->steps.empty() || chosen->sequence_time <= chosen->step_time)) {
    TakeSlices(chosen->sequences, SliceUnits(*chosen, now, last_step, limits), now, limits, batch);
  }
  TakeSteps(chosen->steps, now, limits, batch);
}

void Charge(const Batch& batch, absl::Duration time) {
  // A call of no measurable length counts too, so that models and kinds take turns.
  const uint64_t nanos = static_cast<uint64_t>(std::max<int64_t>(1, absl::ToInt64Nanoseconds(time)));
  ModelQueue& queue = *batch.queue;
  queue.served += nanos;
  (batch.sequences ? queue.sequence_time : queue.step_time) += nanos;
  (batch.sequences ? queue.sequence_cost : queue.step_cost).Add(batch.units, time);
}

}  // namespace lstmd
