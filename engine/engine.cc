// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <utility>

#include "engine/engine_impl.h"
#include "engine/errors.h"

namespace lstmd {

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(EngineOptions options,
                                                       std::vector<std::unique_ptr<Backend>> backends) {
  if (backends.empty()) return InvalidArgument("DEVICE", "an engine needs at least one backend");
  if (options.scheduler.max_batch_size == 0 || options.scheduler.slice_units == 0) {
    return InvalidArgument("OPTIONS", "max_batch_size and slice_units: want at least 1");
  }
  return std::make_unique<EngineImpl>(std::move(options), std::move(backends));
}

EngineImpl::EngineImpl(EngineOptions options, std::vector<std::unique_ptr<Backend>> backends)
    : options_(std::move(options)), store_(options_.sessions) {
  for (std::unique_ptr<Backend>& backend : backends) {
    schedulers_.push_back(std::make_unique<Scheduler>(
        std::move(backend), options_.scheduler, options_.sessions.replay_ring, options_.clock,
        [this](const Session& session) { store_.Erase(session, SessionEnd::kDeleted, options_.clock->Now()); }));
  }
  housekeeper_ = std::thread([this] { KeepHouse(); });
}

EngineImpl::~EngineImpl() {
  {
    MutexLock lock(&housekeeping_mutex_);
    stopping_ = true;
  }
  stop_housekeeping_.Signal();
  housekeeper_.join();
  schedulers_.clear();
}

void EngineImpl::KeepHouse() {
  for (;;) {
    {
      MutexLock lock(&housekeeping_mutex_);
      if (!stopping_) stop_housekeeping_.WaitFor(&housekeeping_mutex_, absl::Seconds(1));
      if (stopping_) return;
    }
    ExpireSessions();
  }
}

void EngineImpl::Submit(Work* work) { SubmitAll(absl::MakeConstSpan(&work, 1)); }

void EngineImpl::SubmitAll(absl::Span<Work* const> work) {
  const auto scheduler_of = [](const Work& one) {
    return &(one.session != nullptr ? one.session->model() : one.model)->scheduler();
  };
  if (schedulers_.size() == 1) return schedulers_[0]->Submit(work);
  // Work of several devices is rare, and sorted by device without changing the order within one.
  std::vector<std::vector<Work*>> parts(schedulers_.size());
  for (Work* const one : work) {
    for (size_t i = 0; i < schedulers_.size(); ++i) {
      if (schedulers_[i].get() == scheduler_of(*one)) parts[i].push_back(one);
    }
  }
  for (size_t i = 0; i < schedulers_.size(); ++i) {
    if (!parts[i].empty()) schedulers_[i]->Submit(parts[i]);
  }
}

bool EngineImpl::Drain(absl::Time deadline) {
  draining_ = true;
  for (const auto& scheduler : schedulers_) scheduler->Drain();
  bool idle = true;
  for (const auto& scheduler : schedulers_) idle &= scheduler->WaitIdle(deadline);
  return idle;
}

EngineStats EngineImpl::Stats() const {
  EngineStats stats;
  stats.sessions = store_.size();
  stats.models = registry_.ready();
  for (const auto& scheduler : schedulers_) scheduler->AddStats(&stats);
  return stats;
}

std::vector<const Backend*> EngineImpl::Backends() const {
  std::vector<const Backend*> backends;
  for (const auto& scheduler : schedulers_) backends.push_back(scheduler->backend().get());
  return backends;
}

}  // namespace lstmd
