// SPDX-License-Identifier: Apache-2.0
//
// Which rows run next. Cellular batching: each device call takes whatever is ready, and new rows join at any call. The
// policy is a pure function of what waits, the time and the limits; threads, locks and clocks are the scheduler's.
//
// What is ready: of each session its oldest work (Lane), and every stateless sequence. So one call never has two rows
// of a session, and a session's work runs in the order of arrival.
#ifndef LSTMD_ENGINE_BATCHER_H_
#define LSTMD_ENGINE_BATCHER_H_

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "engine/call_cost.h"
#include "engine/engine.h"
#include "engine/ready_queue.h"
#include "engine/work.h"

namespace lstmd {

// The order within one session: one piece of work has the session, the others wait.
class Lane {
 public:
  bool idle() const { return current_ == nullptr; }
  uint32_t size() const { return waiting_.size() + (idle() ? 0 : 1); }
  // Returns whether `work` has the session at once.
  bool Enter(Work* work) {
    if (!idle()) {
      waiting_.Push(work);
      return false;
    }
    current_ = work;
    return true;
  }
  // The work that has the session gives it to the next, which is returned; nullptr: none waits.
  Work* Leave() { return current_ = waiting_.Pop(); }

 private:
  Work* current_ = nullptr;
  WorkList waiting_;
};

// What waits for one model, and what it has cost so far.
struct ModelQueue {
  ReadyQueue steps;      // ready, one call from its end
  ReadyQueue sequences;  // ready, needs several calls
  uint32_t queued = 0;   // accepted and not ended: ready, waiting in lanes and running
  uint64_t served = 0;   // device time taken so far, ns; the model with the least is next
  // Of that, calls of steps alone and the others. Where both are ready the one that had less is next.
  uint64_t step_time = 0;
  uint64_t sequence_time = 0;
  CallCost step_cost;
  CallCost sequence_cost;

  uint32_t ready() const { return steps.size() + sequences.size(); }
};

// Puts `work` where it is ready. REQUIRES: units and row.position are set.
void AddReady(ModelQueue& queue, Work* work, const SchedulerOptions& limits);

struct Batch {
  ModelQueue* queue = nullptr;  // whose work it is; nullptr: empty
  std::vector<Work*> rows;      // to run; row.budget is set; all of one model
  std::vector<Work*> late;      // cancelled, or past their deadline: to be ended
  uint64_t units = 0;           // sum of the budgets
  bool sequences = false;       // some rows need further calls
  // Where it is empty: when to ask again, if nothing is added before. InfiniteFuture: only then.
  absl::Time wake = absl::InfiniteFuture();

  // Keeps the memory.
  void Clear();
};

// Takes the next batch out of `queues`; `batch` is empty before. The model: of those with ready work that need not wait
// for more rows, the one with the least `served`, the first of equals. The rows: at most max_batch_size, in the order
// of ReadyQueue. Where steps and sequences are ready, calls of steps alone and calls of sequences, filled up with
// steps, get the same device time: a step waits for at most one slice, and neither kind starves. A call of sequences
// takes about slice_time, or twice as long as a step if that is more; eight times that where no step has run since
// `last_step` for a second. A model waits for more rows only with max_queue_delay > 0, until it has max_batch_size of
// them or its oldest has waited that long.
void ChooseBatch(absl::Span<ModelQueue* const> queues, absl::Time now, absl::Time last_step,
                 const SchedulerOptions& limits, Batch* batch);

// The rows of `batch` ran and took `time`.
void Charge(const Batch& batch, absl::Duration time);

}  // namespace lstmd

#endif  // LSTMD_ENGINE_BATCHER_H_
