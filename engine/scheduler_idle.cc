// SPDX-License-Identifier: Apache-2.0
//
// The scheduler as a whole: its end, waiting until nothing is in flight, its numbers.
#include <utility>

#include "engine/scheduler.h"

namespace lstmd {

void Scheduler::Drain() {
  MutexLock lock(&mutex_);
  draining_ = true;
}

bool Scheduler::WaitIdle(absl::Time deadline) {
  MutexLock lock(&mutex_);
  ++idle_waiters_;
  while (!Idle() && clock_->Now() < deadline) idle_.WaitFor(&mutex_, kClockPoll);
  --idle_waiters_;
  return Idle();
}

void Scheduler::WaitIdle(ModelVersion& version) {
  MutexLock lock(&mutex_);
  ++idle_waiters_;
  while (QueueOf(version).queued != 0 && !stopping_) idle_.Wait(&mutex_);
  --idle_waiters_;
}

bool Scheduler::IsIdle(ModelVersion& version) const {
  MutexLock lock(&mutex_);
  return QueueOf(version).queued == 0;
}

std::shared_ptr<ModelVersion> Scheduler::Swap(Model& model, std::shared_ptr<ModelVersion> next) {
  MutexLock lock(&mutex_);
  model.serving_ = next.get();
  return model.SetCurrent(std::move(next));
}

void Scheduler::AddStats(EngineStats* stats) const {
  MutexLock lock(&mutex_);
  stats->batches += batches_;
  stats->batched_rows += batched_rows_;
  stats->inline_batches += inline_batches_;
  stats->queued += queued_;
}

uint32_t Scheduler::Queued(Model& model) const {
  MutexLock lock(&mutex_);
  return QueueOf(ServingOf(model)).queued;
}

}  // namespace lstmd
