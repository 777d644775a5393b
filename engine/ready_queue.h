// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_READY_QUEUE_H_
#define LSTMD_ENGINE_READY_QUEUE_H_

#include <cstdint>
#include <deque>

#include "absl/container/flat_hash_map.h"
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

// Ready work, fair between the sinks (streams and calls) that it came from: a sink that floods the queue does not keep
// the others waiting behind all that it sent. The queue is a row of rounds. The first takes work as it comes, so that
// nothing is looked up as long as there is less than about one batch. In each later round a sink has at most `share`
// pieces: what it has above that goes to the round after. Within a round the order is that of arrival. Not thread-safe.
class ReadyQueue {
 public:
  bool empty() const { return size_ == 0; }
  uint32_t size() const { return size_; }
  // Of all work in the queue, what is left of it.
  uint64_t units() const { return units_; }
  // What Pop would return; nullptr when empty.
  Work* front() const { return first_.empty() && !later_.empty() ? later_.front().front() : first_.front(); }

  // The first round takes up to `free` pieces whoever sent them. REQUIRES: share >= 1; units and row.position are set,
  // and stay while it is here.
  void Push(Work* work, uint32_t free, uint32_t share);
  // nullptr when empty.
  Work* Pop();

 private:
  // Where the last work of a sink stands. Outdated when its round is not a later one.
  struct Place {
    uint64_t round = 0;
    uint32_t count = 0;  // in that round
  };

  void ForgetOutdated();

  uint32_t size_ = 0;
  uint64_t units_ = 0;
  uint64_t round_ = 1;  // number of first_
  WorkList first_;
  std::deque<WorkList> later_;  // none is empty
  absl::flat_hash_map<const WorkSink*, Place> places_;
};

}  // namespace lstmd

#endif  // LSTMD_ENGINE_READY_QUEUE_H_
