// SPDX-License-Identifier: Apache-2.0
//
// A backend that computes something simple, exact and stateful, records its calls, and fails or stops where a test
// says.
#ifndef LSTMD_TESTS_SUPPORT_FAKE_BACKEND_H_
#define LSTMD_TESTS_SUPPORT_FAKE_BACKEND_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/backend.h"
#include "engine/mutex.h"

namespace lstmd {

// What the fake does at one time step, for input x [I]:
//   c[k] = c[k] / 2 + x[k % I] + 1
//   h[k] = c[k % size(c)] * 2
//   y[o] = h[o % size(h)] - x[o % I]
// A step whose mask is 0 changes nothing and puts out zeros. Every operation is one float operation: bit-exact.
void FakeStep(const ModelSpec& spec, const float* x, std::vector<float>& h, std::vector<float>& c, float* y);

struct FakeCall {
  struct FakeRow {
    Slot slot;
    uint32_t steps;
    uint64_t position;  // before
    uint64_t budget;
    float first;  // first value of the input at `position`, to tell rows apart
  };
  const DeviceModel* model;
  std::vector<FakeRow> rows;
};

// What a test does to the fake and sees of it; outlives the backend, which the engine owns. Thread-safe.
class FakeControl {
 public:
  // The call after the next `calls` ones fails with `status`, once, after having scribbled on outputs.
  void FailRun(absl::Status status, int after_calls = 0);
  // Same for StatePool calls that return a status.
  void FailPool(absl::Status status, int after_calls = 0);
  void FailLoad(absl::Status status);
  // Calls of Run stop at their start from now on until Release or Unblock.
  void Block();
  void Unblock();
  // Lets one call through and waits until it is over.
  void Release();
  // Waits until a call stands at the block.
  void WaitUntilBlocked();
  // Loads stop as well.
  void BlockLoads(bool block);
  void WaitUntilLoading();

  // Slots of all pools may be this many. RESOURCE_EXHAUSTED / DEVICE_MEMORY above.
  void set_max_slots(int64_t slots) { max_slots_ = slots; }
  int64_t live_slots() const { return live_slots_; }
  // Loaded and not freed.
  int64_t live_models() const { return live_models_; }
  // Backend::any_thread; false at first.
  void set_any_thread(bool any_thread) { any_thread_ = any_thread; }

  std::vector<FakeCall> calls() const;
  // Broken contracts: a slot twice in a call, a slot that is free, two calls at once …
  std::vector<std::string> violations() const;

 private:
  friend class FakeBackend;
  friend class FakeModel;
  friend class FakePool;

  struct Failure {
    absl::Status status;
    int after_calls = 0;
  };
  static absl::Status Take(std::vector<Failure>& failures);
  absl::Status StartLoad();
  absl::Status StartRun(FakeCall call);
  absl::Status StartPoolCall();
  void EndRun();
  void Violation(std::string what);

  std::atomic<int64_t> max_slots_{INT64_MAX};
  std::atomic<int64_t> live_slots_{0};
  std::atomic<int64_t> live_models_{0};
  std::atomic<bool> any_thread_{false};
  mutable Mutex mutex_;
  CondVar changed_;
  std::vector<Failure> run_failures_ ABSL_GUARDED_BY(mutex_);
  std::vector<Failure> pool_failures_ ABSL_GUARDED_BY(mutex_);
  absl::Status load_failure_ ABSL_GUARDED_BY(mutex_);
  bool blocked_ ABSL_GUARDED_BY(mutex_) = false;
  int permits_ ABSL_GUARDED_BY(mutex_) = 0;
  bool waiting_ ABSL_GUARDED_BY(mutex_) = false;
  bool running_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t finished_ ABSL_GUARDED_BY(mutex_) = 0;
  bool loads_blocked_ ABSL_GUARDED_BY(mutex_) = false;
  int loading_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<FakeCall> calls_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> violations_ ABSL_GUARDED_BY(mutex_);
};

class FakeBackend final : public Backend {
 public:
  explicit FakeBackend(std::shared_ptr<FakeControl> control, std::string device = "fake")
      : control_(std::move(control)), device_(std::move(device)) {}

  std::string name() const override { return "fake"; }
  std::string device() const override { return device_; }
  std::string description() const override { return "a fake for tests"; }
  // All but f16.
  absl::Status Supports(const ModelSpec& spec) const override;
  absl::StatusOr<std::unique_ptr<DeviceModel>> Load(const ModelSpec& spec, const Weights& weights) override;
  absl::StatusOr<std::unique_ptr<StatePool>> CreateStatePool(const DeviceModel& model) override;
  absl::Status Run(const DeviceModel& model, StatePool& pool, absl::Span<Row* const> rows) override;
  bool batch_invariant() const override { return true; }
  bool any_thread() const override { return control_->any_thread_; }

 private:
  const std::shared_ptr<FakeControl> control_;
  const std::string device_;
};

}  // namespace lstmd

#endif  // LSTMD_TESTS_SUPPORT_FAKE_BACKEND_H_
