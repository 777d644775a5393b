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
#include "engine/engine.h"
#include "engine/work.h"

namespace lstmd {

// First in, first out, chained through Work::next: no allocation. Work is in at most one list.
class WorkList {
 public:
  bool empty() const { return head_ == nullptr; }
  uint32_t size() const { return size_; }
  // nullptr when empty.
  Work* front() const { return head_; }

  void Push(Work* work) {
    work->next = nullptr;
    (head_ == nullptr ? head_ : tail_->next) = work;
    tail_ = work;
    ++size_;
  }
  // nullptr when empty.
  Work* Pop() {
    Work* const work = head_;
    if (work == nullptr) return nullptr;
    head_ = work->next;
    work->next = nullptr;
    --size_;
    return work;
  }

 private:
  Work* head_ = nullptr;
  Work* tail_ = nullptr;
  uint32_t size_ = 0;
};

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

// What waits for one model.
struct ModelQueue {
  WorkList steps;               // ready, one call from its end
  WorkList sequences;           // ready, needs several calls
  uint32_t queued = 0;          // accepted and not ended: ready, waiting in lanes and running
  uint64_t served = 0;          // device time taken so far, ns; the model with the least is next
  bool sequences_next = false;  // whose turn it is where both kinds are ready

  uint32_t ready() const { return steps.size() + sequences.size(); }
};

// Puts `work` where it is ready. REQUIRES: units and row.position are set.
void AddReady(ModelQueue& queue, Work* work, const SchedulerOptions& limits);

struct Batch {
  ModelQueue* queue = nullptr;  // whose work it is; nullptr: empty
  std::vector<Work*> rows;      // to run; row.budget is set; all of one model
  std::vector<Work*> late;      // cancelled, or past their deadline: to be ended
  // Where it is empty: when to ask again, if nothing is added before. InfiniteFuture: only then.
  absl::Time wake = absl::InfiniteFuture();

  // Keeps the memory.
  void Clear();
};

// Takes the next batch out of `queues`; `batch` is empty before. The model: of those with ready work that need not wait
// for more rows, the one with the least `served`, the first of equals. The rows: at most max_batch_size, longest ready
// first. Where steps and sequences are ready, calls of steps alone take turns with calls of sequences, filled up with
// steps: a step waits for at most one slice, and neither kind starves. A model waits for more rows only with
// max_queue_delay > 0, until it has max_batch_size of them or its oldest has waited that long.
void ChooseBatch(absl::Span<ModelQueue* const> queues, absl::Time now, const SchedulerOptions& limits, Batch* batch);

}  // namespace lstmd

#endif  // LSTMD_ENGINE_BATCHER_H_
