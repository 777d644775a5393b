// SPDX-License-Identifier: Apache-2.0
#include "engine/batcher.h"

#include <algorithm>

namespace lstmd {
namespace {

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

void Take(WorkList& list, absl::Time now, const SchedulerOptions& limits, Batch* batch) {
  while (batch->rows.size() < limits.max_batch_size && !list.empty()) {
    Work* const work = list.Pop();
    if (work->cancelled.load(std::memory_order_relaxed) || work->deadline <= now) {
      batch->late.push_back(work);
      continue;
    }
    work->row.budget = std::min<uint64_t>(limits.slice_units, work->units - work->row.position);
    batch->rows.push_back(work);
  }
}

}  // namespace

void Batch::Clear() {
  queue = nullptr;
  rows.clear();
  late.clear();
  wake = absl::InfiniteFuture();
}

void AddReady(ModelQueue& queue, Work* work, const SchedulerOptions& limits) {
  const bool last_call = work->units - work->row.position <= limits.slice_units;
  (last_call ? queue.steps : queue.sequences).Push(work);
}

void ChooseBatch(absl::Span<ModelQueue* const> queues, absl::Time now, const SchedulerOptions& limits, Batch* batch) {
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

  const bool sequences = !chosen->sequences.empty() && (chosen->steps.empty() || chosen->sequences_next);
  chosen->sequences_next = !sequences;
  if (sequences) Take(chosen->sequences, now, limits, batch);
  Take(chosen->steps, now, limits, batch);
}

}  // namespace lstmd
