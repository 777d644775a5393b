// SPDX-License-Identifier: Apache-2.0
//
// Moments of the engine, for whoever shows them.
#include <algorithm>
#include <utility>

#include "engine/engine_impl.h"
#include "engine/model_counters.h"

namespace lstmd {

EngineStats EngineImpl::Stats() const {
  EngineStats stats;
  stats.sessions = store_.size();
  stats.models = registry_.ready();
  for (const auto& scheduler : schedulers_) scheduler->AddStats(&stats);
  const auto count = [](const std::atomic<int64_t>& value) {
    return static_cast<uint64_t>(std::max<int64_t>(0, value.load(std::memory_order_relaxed)));
  };
  stats.sessions_resident = count(spill_space_->resident);
  stats.sessions_on_host = count(spill_space_->host);
  stats.sessions_on_disk = count(spill_space_->disk);
  stats.spill_host_bytes = count(spill_space_->host_bytes);
  stats.spills = spill_space_->spilled.load(std::memory_order_relaxed);
  stats.spill_restores = spill_space_->restored.load(std::memory_order_relaxed);
  stats.sessions_restored = restored_.load(std::memory_order_relaxed);
  if (checkpointer_ != nullptr) {
    const CheckpointStats saves = checkpointer_->stats();
    stats.checkpoint_groups = saves.groups;
    stats.checkpoints = saves.saves;
    stats.checkpoint_failures = saves.failures;
    stats.checkpoints_waiting = saves.waiting;
    stats.checkpoint_time = saves.last_group;
    stats.checkpoint_lag = saves.oldest;
  }
  return stats;
}

std::vector<ModelStats> EngineImpl::StatsByModel() const {
  std::vector<ModelStats> all;
  for (auto& [key, info] : registry_.Describe()) {
    ModelStats stats;
    if (info.state == ModelState::kReady) {
      // May have gone since.
      const absl::StatusOr<std::shared_ptr<Model>> model = registry_.Find(key.first, key.second);
      if (!model.ok()) continue;
      stats = ReadCounters((*model)->counters());
      stats.queued = (*model)->scheduler().Queued(**model);
      stats.pool_bytes = (*model)->pool().pool_bytes();
    }
    stats.info = std::move(info);
    all.push_back(std::move(stats));
  }
  return all;
}

std::vector<DeviceStats> EngineImpl::StatsByDevice() const {
  std::vector<DeviceStats> all;
  for (const auto& scheduler : schedulers_) {
    const Backend& backend = *scheduler->backend();
    all.push_back({backend.device(), backend.name(), backend.description(), backend.healthy(), scheduler->busy()});
  }
  return all;
}

}  // namespace lstmd
