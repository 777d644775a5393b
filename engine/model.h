// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_MODEL_H_
#define LSTMD_ENGINE_MODEL_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "engine/backend.h"
#include "engine/batcher.h"
#include "engine/model_counters.h"
#include "engine/mutex.h"
#include "engine/spec.h"
#include "engine/store/spill_space.h"

namespace lstmd {

class Scheduler;

// What a Model is made of.
struct ModelParts {
  std::string name;
  int64_t version = 0;
  ModelSpec spec;
  std::string weights_sha256;
  uint64_t parameters = 0;
  absl::Time load_time;
  // The model's initial state, for those that run nothing. Empty: zeros.
  std::vector<float> initial_h;  // [L*D, P or H]
  std::vector<float> initial_c;  // [L*D, H]
  // In this order, so that each goes before what it needs.
  std::shared_ptr<Backend> backend;
  std::unique_ptr<DeviceModel> device_model;
  std::unique_ptr<StatePool> pool;
  // Outlives all work on the model, not the model.
  Scheduler* scheduler = nullptr;
  // Outlives its sessions.
  std::shared_ptr<SpillSpace> spill_space = std::make_shared<SpillSpace>();
};

// A loaded model: weights and states on a device, and the queue of its work. Held by the registry, by its sessions and
// by its work; goes with the last of them. Thread-safe.
class Model {
 public:
  explicit Model(ModelParts parts) : parts_(std::move(parts)) {}
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const std::string& name() const { return parts_.name; }
  int64_t version() const { return parts_.version; }
  const ModelSpec& spec() const { return parts_.spec; }
  const ModelParts& parts() const { return parts_; }
  const DeviceModel& device_model() const { return *parts_.device_model; }
  StatePool& pool() const { return *parts_.pool; }
  Scheduler& scheduler() const { return *parts_.scheduler; }
  ModelCounters& counters() const { return *counters_; }
  // For those that still count when the model may be gone.
  const std::shared_ptr<ModelCounters>& shared_counters() const { return counters_; }
  const std::shared_ptr<SpillSpace>& spill_space() const { return parts_.spill_space; }

  // Counts a session that lives on this model. False: the model is closed.
  bool AddSession();
  void RemoveSession();
  int64_t sessions() const;

  // Takes no new sessions and no new stateless work from now on. Without `force` only if no session lives on it.
  // Returns how many do; the model is closed unless that is above 0 and `force` is false.
  int64_t Close(bool force);
  bool closed() const { return closed_.load(std::memory_order_acquire); }

 private:
  friend class Scheduler;

  const ModelParts parts_;
  const std::shared_ptr<ModelCounters> counters_ = std::make_shared<ModelCounters>();
  mutable Mutex mutex_;
  int64_t sessions_ ABSL_GUARDED_BY(mutex_) = 0;
  std::atomic<bool> closed_{false};  // written under mutex_
  ModelQueue queue_;                 // guarded by the scheduler's lock: Scheduler::QueueOf
};

}  // namespace lstmd

#endif  // LSTMD_ENGINE_MODEL_H_
