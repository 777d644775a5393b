// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_MODEL_H_
#define LSTMD_ENGINE_MODEL_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
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

// Weights on a device under a version's number, and the queue of the work that runs on them. Immutable but for the
// queue. Held by the Model that serves it, and after another has taken its place by who put that there, until its queue
// is empty.
class ModelVersion {
 public:
  struct Parts {
    int64_t version = 0;
    std::string weights_sha256;
    uint64_t parameters = 0;
    absl::Time load_time;
    // Empty: zeros.
    std::vector<float> initial_h;  // [L*D, P or H]
    std::vector<float> initial_c;  // [L*D, H]
    // In this order, so that the weights go before what they need.
    std::shared_ptr<Backend> backend;
    std::unique_ptr<DeviceModel> device_model;
  };
  explicit ModelVersion(Parts parts) : parts_(std::move(parts)) {}
  ModelVersion(const ModelVersion&) = delete;
  ModelVersion& operator=(const ModelVersion&) = delete;

  const Parts& parts() const { return parts_; }
  int64_t version() const { return parts_.version; }
  const DeviceModel& device_model() const { return *parts_.device_model; }

 private:
  friend class Scheduler;

  const Parts parts_;
  ModelQueue queue_;  // guarded by the scheduler's lock: Scheduler::QueueOf
};

// What a Model is made of.
struct ModelParts {
  std::string name;
  ModelSpec spec;
  // In this order, so that each goes before what it needs.
  std::shared_ptr<Backend> backend;
  std::unique_ptr<StatePool> pool;
  // Outlives all work on the model, not the model.
  Scheduler* scheduler = nullptr;
  // Outlives its sessions.
  std::shared_ptr<SpillSpace> spill_space = std::make_shared<SpillSpace>();
};

// A loaded model as its sessions know it: a spec, their states on a device, and the version whose weights run them now.
// Another version of the same spec may take its place (Scheduler::Swap), between two device calls; sessions and their
// slots stay as they are. Held by the registry, by sessions and by work; goes with the last of them. Thread-safe.
class Model {
 public:
  // The pool was made for `version`.
  Model(ModelParts parts, std::shared_ptr<ModelVersion> version);
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const std::string& name() const { return parts_.name; }
  const ModelSpec& spec() const { return parts_.spec; }
  const std::shared_ptr<Backend>& backend() const { return parts_.backend; }
  StatePool& pool() const { return *parts_.pool; }
  Scheduler& scheduler() const { return *parts_.scheduler; }
  ModelCounters& counters() const { return *counters_; }
  // For those that still count when the model may be gone.
  const std::shared_ptr<ModelCounters>& shared_counters() const { return counters_; }
  const std::shared_ptr<SpillSpace>& spill_space() const { return parts_.spill_space; }
  // The version that runs new work.
  std::shared_ptr<ModelVersion> current() const;
  int64_t version() const { return current()->version(); }

  // A slot in the initial state of `version`. RESOURCE_EXHAUSTED / DEVICE_MEMORY.
  absl::StatusOr<Slot> AllocateSlot(const ModelVersion& version) const;
  // To the initial state of `version`.
  absl::Status ResetSlot(const ModelVersion& version, Slot slot) const;

  // Counts a session that lives on this model. False: the model is closed, or retired and `retired_too` is false.
  bool AddSession(bool retired_too = false);
  void RemoveSession();
  int64_t sessions() const;

  // Takes no new sessions and no new stateless work from now on. Without `force` only if no session lives on it.
  // Returns how many do; the model is closed unless that is above 0 and `force` is false.
  int64_t Close(bool force);
  bool closed() const { return closed_.load(std::memory_order_acquire); }
  // Takes no new sessions from now on, and again. Those there are, and stateless work that has found it, go on.
  void Retire();
  void Reinstate();
  bool retired() const;
  // A retired one that has no sessions: takes none any more. False: it is not so.
  bool Release();

 private:
  friend class Scheduler;

  // A slot as the pool gives it out is in the initial state of the version that it was made for: makes it `version`'s.
  absl::Status FixInitialState(const ModelVersion& version, Slot slot) const;
  // The version that it replaces, for the caller to keep until its queue is empty. Scheduler::Swap.
  std::shared_ptr<ModelVersion> SetCurrent(std::shared_ptr<ModelVersion> version);

  const ModelParts parts_;
  const std::shared_ptr<ModelCounters> counters_ = std::make_shared<ModelCounters>();
  const std::vector<float> pool_h_;  // initial state of the pool's slots; empty: zeros
  const std::vector<float> pool_c_;
  mutable Mutex mutex_;
  int64_t sessions_ ABSL_GUARDED_BY(mutex_) = 0;
  bool retired_ ABSL_GUARDED_BY(mutex_) = false;
  bool released_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<ModelVersion> current_ ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> closed_{false};  // written under mutex_
  ModelVersion* serving_;            // current_ as the scheduler has it, guarded by its lock: Scheduler::ServingOf
};

}  // namespace lstmd

#endif  // LSTMD_ENGINE_MODEL_H_
