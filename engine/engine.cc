// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <algorithm>
#include <utility>

#include "engine/engine_impl.h"
#include "engine/errors.h"

namespace lstmd {

namespace {

// Sessions that were due in the store, and nobody asked for. One that lives has been saved since, within the time.
constexpr absl::Duration kSweepEvery = absl::Hours(1);
// Sessions that are due end within this.
constexpr absl::Duration kHousekeeping = absl::Seconds(1);

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(EngineOptions options,
                                                       std::vector<std::unique_ptr<Backend>> backends) {
  if (backends.empty()) return InvalidArgument("DEVICE", "an engine needs at least one backend");
  if (options.durability.durability != Durability::kNone && options.store == nullptr) {
    return InvalidArgument("OPTIONS", "a durability of sessions other than none needs a store");
  }
  if (options.durability.checkpoint_steps == 0 || options.durability.owner.empty()) {
    return InvalidArgument("OPTIONS", "checkpoint_steps: want at least 1; owner: want a name");
  }
  if (options.scheduler.max_batch_size == 0 || options.scheduler.slice_units == 0) {
    return InvalidArgument("OPTIONS", "max_batch_size and slice_units: want at least 1");
  }
  std::unique_ptr<SpillDisk> spill_disk;
  if (!options.spill.folder.empty() && options.spill.max_resident_sessions != 0) {
    absl::StatusOr<std::unique_ptr<SpillDisk>> opened = OpenSpillDisk(options.spill.folder);
    if (!opened.ok()) return opened.status();
    spill_disk = *std::move(opened);
  }
  return std::make_unique<EngineImpl>(std::move(options), std::move(backends), std::move(spill_disk));
}

EngineImpl::EngineImpl(EngineOptions options, std::vector<std::unique_ptr<Backend>> backends,
                       std::unique_ptr<SpillDisk> spill_disk)
    : options_(std::move(options)),
      memory_(options_.memory_limit),
      events_(options_.clock),
      store_(options_.sessions, &events_) {
  for (std::unique_ptr<Backend>& backend : backends) {
    schedulers_.push_back(std::make_unique<Scheduler>(
        std::move(backend), options_.scheduler, options_.sessions.replay_ring, options_.clock,
        [this](const Session& session) {
          store_.Erase(session, SessionEnd::kDeleted, options_.clock->Now(), "a step with end_session");
        }));
  }
  spill_space_->folder = std::move(spill_disk);
  for (const auto& scheduler : schedulers_) {
    scheduler->UseSpill(spill_space_, options_.spill, [this](const Session& session, Residency now) {
      events_.Emit(session, now == Residency::kDevice ? SessionEventKind::kRestored : SessionEventKind::kSpilled);
    });
  }
  if (has_store()) {
    checkpointer_ = std::make_unique<Checkpointer>(options_.store, options_.clock, [this](absl::Time now) {
      absl::Time next = absl::InfiniteFuture();
      for (const auto& scheduler : schedulers_) next = std::min(next, scheduler->AskDueSaves(now));
      return next;
    });
    for (const auto& scheduler : schedulers_) {
      scheduler->UseStore(checkpointer_.get(), options_.durability,
                          [this](const Session& session, std::string_view owner) {
                            store_.Erase(session, SessionEnd::kMoved, options_.clock->Now(), owner);
                          });
    }
  }
  housekeeper_.emplace(kHousekeeping, [this] {
    KeepHouse();
    return kHousekeeping;
  });
}

EngineImpl::~EngineImpl() {
  housekeeper_.reset();
  // What they have held back for the checkpointer ends with it, and still needs them.
  for (const auto& scheduler : schedulers_) scheduler->Stop();
  checkpointer_.reset();
  schedulers_.clear();
}

void EngineImpl::KeepHouse() {
  ExpireSessions();
  SweepStore();
  memory_.Trim();
}

void EngineImpl::SweepStore() {
  const absl::Time now = options_.clock->Now();
  if (!has_store() || now - swept_ < kSweepEvery) return;
  swept_ = now;
  // Whether it worked is the next sweep's matter, too.
  (void)options_.store->Sweep(now - kSweepEvery);
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
  arrivals_.Close();
  for (const auto& scheduler : schedulers_) scheduler->Drain();
  bool idle = true;
  for (const auto& scheduler : schedulers_) idle &= scheduler->WaitIdle(deadline);
  return idle;
}

std::vector<const Backend*> EngineImpl::Backends() const {
  std::vector<const Backend*> backends;
  for (const auto& scheduler : schedulers_) backends.push_back(scheduler->backend().get());
  return backends;
}

}  // namespace lstmd
