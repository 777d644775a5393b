// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpointer.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <utility>

#include "absl/time/clock.h"
#include "engine/errors.h"
#include "engine/scheduler.h"

namespace lstmd {
namespace {

// A wait that a Clock governs looks at it at least this often, so that a test may turn its hands.
constexpr absl::Duration kClockPoll = absl::Milliseconds(5);

}  // namespace

void SaveCall::Begin() {
  MutexLock lock(&mutex_);
  ++pending_;
}

void SaveCall::End(const absl::Status& status) {
  MutexLock lock(&mutex_);
  --pending_;
  if (status.ok()) {
    ++saved_;
  } else {
    error_ = status;
  }
  ended_.SignalAll();
}

bool SaveCall::Wait(uint64_t pending, absl::Time deadline) {
  MutexLock lock(&mutex_);
  while (pending_ > pending) {
    if (deadline == absl::InfiniteFuture()) {
      ended_.Wait(&mutex_);
      continue;
    }
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) return false;
    ended_.WaitFor(&mutex_, left);
  }
  return true;
}

uint64_t SaveCall::saved() const {
  MutexLock lock(&mutex_);
  return saved_;
}

absl::Status SaveCall::error() const {
  MutexLock lock(&mutex_);
  return error_;
}

Checkpointer::Checkpointer(std::shared_ptr<StateStore> store, Clock* clock, Ask ask)
    : store_(std::move(store)), clock_(clock), ask_(std::move(ask)), thread_([this] { Loop(); }) {}

Checkpointer::~Checkpointer() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  wake_.SignalAll();
  thread_.join();
}

void Checkpointer::Push(Save save) {
  {
    MutexLock lock(&mutex_);
    if (queue_.empty()) queued_since_ = clock_->Now();
    queue_.push_back(std::move(save));
  }
  wake_.Signal();
}

void Checkpointer::Wake() {
  {
    MutexLock lock(&mutex_);
    ask_again_ = true;
  }
  wake_.Signal();
}

CheckpointStats Checkpointer::stats() const {
  MutexLock lock(&mutex_);
  CheckpointStats stats = stats_;
  stats.waiting = queue_.size();
  const absl::Time oldest = std::min(queued_since_, group_since_);
  if (oldest != absl::InfiniteFuture()) stats.oldest = std::max(absl::ZeroDuration(), clock_->Now() - oldest);
  return stats;
}

void Checkpointer::Loop() {
  std::vector<Save> group;
  while (true) {
    const absl::Time now = clock_->Now();
    const absl::Time next = ask_(now);
    group.clear();
    bool stopping = false;
    {
      MutexLock lock(&mutex_);
      if (queue_.empty() && !stopping_ && !ask_again_) {
        if (next == absl::InfiniteFuture()) {
          wake_.Wait(&mutex_);
        } else {
          wake_.WaitFor(&mutex_, std::min(next - now, kClockPoll));
        }
      }
      ask_again_ = false;
      stopping = stopping_;
      if (stopping && queue_.empty()) return;
      const auto end = queue_.begin() + static_cast<std::ptrdiff_t>(std::min(queue_.size(), kGroup));
      group.assign(std::make_move_iterator(queue_.begin()), std::make_move_iterator(end));
      queue_.erase(queue_.begin(), end);
      group_since_ = queued_since_;
      if (queue_.empty()) queued_since_ = absl::InfiniteFuture();
    }
    if (group.empty()) continue;
    if (!stopping) {
      WriteGroup(group);
    } else {
      for (Save& save : group) save.status = Unavailable("DRAINING", "the server stopped before it was saved");
    }
    {
      MutexLock lock(&mutex_);
      group_since_ = absl::InfiniteFuture();
    }
    EndGroup(group);
  }
}

void Checkpointer::WriteGroup(std::vector<Save>& group) {
  std::vector<StoreWrite> writes;
  std::vector<Save*> saves;
  for (Save& save : group) {
    save.session->model()->scheduler().BeginSave(&save);
    if (!save.status.ok()) continue;
    writes.push_back(std::move(save.write));
    saves.push_back(&save);
  }
  const absl::Time start = absl::Now();
  const std::vector<absl::Status> statuses = store_->Write(writes);
  uint64_t saved = 0;
  for (size_t i = 0; i < saves.size(); ++i) {
    saves[i]->status = statuses[i];
    saved += statuses[i].ok() ? 1 : 0;
  }
  MutexLock lock(&mutex_);
  ++stats_.groups;
  stats_.saves += saved;
  stats_.failures += group.size() - saved;
  stats_.last_group = absl::Now() - start;
}

void Checkpointer::EndGroup(std::vector<Save>& group) {
  // Of one device mostly; the order within a device stays.
  std::vector<Scheduler*> schedulers;
  for (const Save& save : group) {
    Scheduler* const scheduler = &save.session->model()->scheduler();
    if (std::find(schedulers.begin(), schedulers.end(), scheduler) == schedulers.end()) schedulers.push_back(scheduler);
  }
  std::vector<Save*> saves;
  for (Scheduler* const scheduler : schedulers) {
    saves.clear();
    for (Save& save : group) {
      if (&save.session->model()->scheduler() == scheduler) saves.push_back(&save);
    }
    scheduler->EndSaves(saves);
  }
}

}  // namespace lstmd
