// SPDX-License-Identifier: Apache-2.0
#include "tests/support/fake_backend.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "engine/errors.h"

namespace lstmd {

class FakeModel final : public DeviceModel {
 public:
  FakeModel(const ModelSpec& spec, const Weights& weights, std::shared_ptr<FakeControl> control)
      : spec(spec),
        h(weights.initial_h.data(), weights.initial_h.data() + weights.initial_h.size()),
        c(weights.initial_c.data(), weights.initial_c.data() + weights.initial_c.size()),
        control_(std::move(control)) {
    h.resize(spec.h_size());
    c.resize(spec.c_size());
    ++control_->live_models_;
  }
  ~FakeModel() override { --control_->live_models_; }
  uint64_t weight_bytes() const override { return 4096; }

  const ModelSpec spec;
  std::vector<float> h, c;  // initial

 private:
  const std::shared_ptr<FakeControl> control_;
};

namespace {

// Must be carried from call to call.
class FakeScratch final : public RowScratch {
 public:
  uint64_t position = 0;
};

}  // namespace

class FakePool final : public StatePool {
 public:
  struct State {
    bool live = false;
    std::vector<float> h, c;
  };

  FakePool(const FakeModel& model, std::shared_ptr<FakeControl> control)
      : h_(model.h), c_(model.c), control_(std::move(control)) {}

  absl::StatusOr<Slot> Allocate() override {
    if (absl::Status status = control_->StartPoolCall(); !status.ok()) return status;
    if (++control_->live_slots_ > control_->max_slots_) {
      --control_->live_slots_;
      return ResourceExhausted("DEVICE_MEMORY", "the fake device is full");
    }
    MutexLock lock(&mutex_);
    size_t slot = 0;
    while (slot < slots_.size() && slots_[slot]->live) ++slot;
    if (slot == slots_.size()) slots_.push_back(std::make_unique<State>());
    *slots_[slot] = {true, h_, c_};
    return static_cast<Slot>(slot);
  }
  void Free(Slot slot) override {
    State* const state = Get(slot);
    if (state == nullptr) return;
    MutexLock lock(&mutex_);
    state->live = false;
    --control_->live_slots_;
  }
  absl::Status Reset(Slot slot) override { return Write(slot, h_, c_); }
  absl::Status Read(Slot slot, absl::Span<float> h, absl::Span<float> c) const override {
    if (absl::Status status = control_->StartPoolCall(); !status.ok()) return status;
    State* const state = Get(slot);
    if (state == nullptr) return Internal("FAKE", "free slot");
    std::copy(state->h.begin(), state->h.end(), h.begin());
    std::copy(state->c.begin(), state->c.end(), c.begin());
    return absl::OkStatus();
  }
  absl::Status Write(Slot slot, absl::Span<const float> h, absl::Span<const float> c) override {
    if (absl::Status status = control_->StartPoolCall(); !status.ok()) return status;
    State* const state = Get(slot);
    if (state == nullptr) return Internal("FAKE", "free slot");
    state->h.assign(h.begin(), h.end());
    state->c.assign(c.begin(), c.end());
    return absl::OkStatus();
  }
  absl::Status Copy(Slot from, Slot to) override {
    if (absl::Status status = control_->StartPoolCall(); !status.ok()) return status;
    State* const source = Get(from);
    State* const target = Get(to);
    if (source == nullptr || target == nullptr) return Internal("FAKE", "free slot");
    target->h = source->h;
    target->c = source->c;
    return absl::OkStatus();
  }
  uint64_t slot_bytes() const override { return sizeof(float) * (h_.size() + c_.size()); }
  uint64_t pool_bytes() const override {
    MutexLock lock(&mutex_);
    return slot_bytes() * slots_.size();
  }

  // The state of a slot, without a lock of its own: a race on it is a broken contract, for ThreadSanitizer to see.
  State* Get(Slot slot) const {
    MutexLock lock(&mutex_);
    if (slot >= slots_.size() || !slots_[slot]->live) {
      control_->Violation(absl::StrCat("slot ", slot, " is used and free"));
      return nullptr;
    }
    return slots_[slot].get();
  }

 private:
  const std::vector<float> h_, c_;  // initial
  const std::shared_ptr<FakeControl> control_;
  mutable Mutex mutex_;
  std::vector<std::unique_ptr<State>> slots_ ABSL_GUARDED_BY(mutex_);
};

void FakeStep(const ModelSpec& spec, const float* x, std::vector<float>& h, std::vector<float>& c, float* y) {
  for (size_t k = 0; k < c.size(); ++k) {
    const float half = c[k] * 0.5f;
    const float sum = half + x[k % spec.input_size];
    c[k] = sum + 1.0f;
  }
  for (size_t k = 0; k < h.size(); ++k) h[k] = c[k % c.size()] * 2.0f;
  if (y == nullptr) return;
  for (size_t o = 0; o < spec.output_size(); ++o) y[o] = h[o % h.size()] - x[o % spec.input_size];
}

void FakeControl::FailRun(absl::Status status, int after_calls) {
  MutexLock lock(&mutex_);
  run_failures_.push_back({std::move(status), after_calls});
}

void FakeControl::FailPool(absl::Status status, int after_calls) {
  MutexLock lock(&mutex_);
  pool_failures_.push_back({std::move(status), after_calls});
}

void FakeControl::FailLoad(absl::Status status) {
  MutexLock lock(&mutex_);
  load_failure_ = std::move(status);
}

void FakeControl::Block() {
  MutexLock lock(&mutex_);
  blocked_ = true;
}

void FakeControl::Unblock() {
  MutexLock lock(&mutex_);
  blocked_ = false;
  changed_.SignalAll();
}

void FakeControl::Release() {
  MutexLock lock(&mutex_);
  const uint64_t before = finished_;
  ++permits_;
  changed_.SignalAll();
  while (finished_ == before) changed_.Wait(&mutex_);
}

void FakeControl::WaitUntilBlocked() {
  MutexLock lock(&mutex_);
  while (!waiting_) changed_.Wait(&mutex_);
}

void FakeControl::BlockLoads(bool block) {
  MutexLock lock(&mutex_);
  loads_blocked_ = block;
  changed_.SignalAll();
}

void FakeControl::WaitUntilLoading() {
  MutexLock lock(&mutex_);
  while (loading_ == 0) changed_.Wait(&mutex_);
}

std::vector<FakeCall> FakeControl::calls() const {
  MutexLock lock(&mutex_);
  return calls_;
}

std::vector<std::string> FakeControl::violations() const {
  MutexLock lock(&mutex_);
  return violations_;
}

absl::Status FakeControl::Take(std::vector<Failure>& failures) {
  for (auto it = failures.begin(); it != failures.end(); ++it) {
    if (it->after_calls-- != 0) continue;
    absl::Status status = std::move(it->status);
    failures.erase(it);
    return status;
  }
  return absl::OkStatus();
}

absl::Status FakeControl::StartLoad() {
  MutexLock lock(&mutex_);
  ++loading_;
  changed_.SignalAll();
  while (loads_blocked_) changed_.Wait(&mutex_);
  --loading_;
  return std::exchange(load_failure_, absl::OkStatus());
}

absl::Status FakeControl::StartRun(FakeCall call) {
  MutexLock lock(&mutex_);
  if (running_) violations_.push_back("two calls of Run at once");
  running_ = true;
  waiting_ = blocked_;
  changed_.SignalAll();
  while (blocked_ && permits_ == 0) changed_.Wait(&mutex_);
  if (permits_ > 0) --permits_;
  waiting_ = false;
  calls_.push_back(std::move(call));
  return Take(run_failures_);
}

void FakeControl::EndRun() {
  MutexLock lock(&mutex_);
  running_ = false;
  ++finished_;
  changed_.SignalAll();
}

absl::Status FakeControl::StartPoolCall() {
  MutexLock lock(&mutex_);
  return Take(pool_failures_);
}

void FakeControl::Violation(std::string what) {
  MutexLock lock(&mutex_);
  violations_.push_back(std::move(what));
}

absl::Status FakeBackend::Supports(const ModelSpec& spec) const {
  if (spec.precision != Precision::kF16) return absl::OkStatus();
  return Unimplemented("UNSUPPORTED_BY_DEVICE", absl::StrCat(device_, " has no f16"));
}

absl::StatusOr<std::unique_ptr<DeviceModel>> FakeBackend::Load(const ModelSpec& spec, const Weights& weights) {
  if (absl::Status status = control_->StartLoad(); !status.ok()) return status;
  return std::make_unique<FakeModel>(spec, weights, control_);
}

absl::StatusOr<std::unique_ptr<StatePool>> FakeBackend::CreateStatePool(const DeviceModel& model) {
  return std::make_unique<FakePool>(static_cast<const FakeModel&>(model), control_);
}

absl::Status FakeBackend::Run(const DeviceModel& model, StatePool& pool, absl::Span<Row* const> rows) {
  const ModelSpec& spec = static_cast<const FakeModel&>(model).spec;
  FakePool& fake_pool = static_cast<FakePool&>(pool);
  FakeCall call{&model, {}};
  std::set<Slot> slots;
  for (const Row* row : rows) {
    if (!slots.insert(row->slot).second) control_->Violation(absl::StrCat("slot ", row->slot, " twice in a call"));
    if (row->steps == 0 || row->budget == 0) control_->Violation("a row without steps or budget");
    const uint64_t step = std::min<uint64_t>(row->position, row->steps - 1);
    call.rows.push_back({row->slot, row->steps, row->position, row->budget, row->input[step * spec.input_size]});
  }
  if (rows.empty()) control_->Violation("a call without rows");

  const absl::Status status = control_->StartRun(std::move(call));
  for (Row* const row : rows) {
    if (!status.ok()) {
      if (row->output != nullptr) row->output[0] = -1e9f;
      continue;
    }
    FakePool::State* const state = fake_pool.Get(row->slot);
    if (state == nullptr) continue;
    const uint64_t carried = row->scratch == nullptr ? 0 : static_cast<FakeScratch&>(*row->scratch).position;
    if (carried != row->position) control_->Violation("scratch was not carried");
    const uint64_t end = std::min(row->units(spec), row->position + row->budget);
    // A model that cannot step does it all with its last unit.
    const uint64_t first = spec.steppable() ? row->position : 0;
    const uint64_t last = spec.steppable() ? end : (end == row->units(spec) ? row->steps : 0);
    for (uint64_t t = first; t < last; ++t) {
      float* y = row->output;
      if (y != nullptr && row->output_mode == OutputMode::kAll) y += t * spec.output_size();
      if (row->mask != nullptr && row->mask[t] == 0) {
        if (y != nullptr && row->output_mode == OutputMode::kAll) std::fill_n(y, spec.output_size(), 0.0f);
      } else {
        FakeStep(spec, row->input + t * spec.input_size, state->h, state->c, y);
      }
    }
    row->position = end;
    if (row->scratch == nullptr) row->scratch = std::make_unique<FakeScratch>();
    static_cast<FakeScratch&>(*row->scratch).position = end;
  }
  control_->EndRun();
  return status;
}

}  // namespace lstmd
