// SPDX-License-Identifier: Apache-2.0
//
// The device side of the scheduler: whoever has the device takes a batch, runs it, commits and reports it.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "engine/scheduler.h"

namespace lstmd {
namespace {

absl::Status Late(const Work& work) {
  if (work.cancelled.load(std::memory_order_relaxed)) {
    return Error(absl::StatusCode::kCancelled, "CANCELLED", "cancelled by the caller before it was done");
  }
  return Error(absl::StatusCode::kDeadlineExceeded, "DEADLINE", "the deadline passed before it was done");
}

// A backend's own cause is kept.
absl::Status DeviceError(const absl::Status& status) {
  if (GetCause(status).reason != "UNKNOWN") return status;
  return Internal("DEVICE_ERROR", absl::StrCat("the device failed: ", status.message()));
}

}  // namespace

Scheduler::Scheduler(std::shared_ptr<Backend> backend, const SchedulerOptions& options, uint32_t replay_ring,
                     Clock* clock, std::function<void(const Session&)> session_ended)
    : backend_(std::move(backend)),
      options_(options),
      replay_ring_(replay_ring),
      clock_(clock),
      session_ended_(std::move(session_ended)),
      worker_([this] { Loop(); }) {}

Scheduler::~Scheduler() { Stop(); }

void Scheduler::Stop() {
  if (!worker_.joinable()) return;
  {
    MutexLock lock(&mutex_);
    draining_ = true;
    stopping_ = true;
    idle_.SignalAll();
  }
  work_ready_.Signal();
  worker_.join();
  StopPager();
}

void Scheduler::Loop() {
  while (NextBatch()) RunBatch(false);
  EndEverything();
}

// Work that comes while other work is on its way gathers into batches behind it; to run each piece as it comes would
// lose them. So this is for submissions that came singly for a while, and for those that have nothing to gain from a
// batch: short ones whose reply goes alone anyway.
bool Scheduler::MayRunHere(absl::Time now) {
  if (running_ || stopping_ || active_.size() != 1 || !backend_->any_thread()) return false;
  const ModelQueue& queue = *active_.front();
  if (!queue.sequences.empty() || options_.max_inline_time <= absl::ZeroDuration()) return false;
  const absl::Duration cost = queue.step_cost.Estimate(queue.steps.units());
  const bool lone = lone_submits_ >= kLoneSubmits || (queue.steps.front()->alone && cost <= kHandOver);
  if (!lone || cost > options_.max_inline_time || !TakeBatch(now)) return false;
  ++inline_batches_;
  return true;
}

bool Scheduler::TakeBatch(absl::Time now) {
  batch_.Clear();
  ChooseBatch(active_, now, last_step_, options_, &batch_);
  if (batch_.queue == nullptr) return false;
  virtual_time_ = std::max(virtual_time_, batch_.queue->served);
  if (batch_.queue->ready() == 0) active_.erase(std::find(active_.begin(), active_.end(), batch_.queue));
  running_ = true;
  return true;
}

bool Scheduler::NextBatch() {
  MutexLock lock(&mutex_);
  while (!stopping_ || running_) {
    absl::Duration timeout = absl::InfiniteDuration();
    if (!running_) {
      const absl::Time now = clock_->Now();
      if (TakeBatch(now)) return true;
      if (batch_.wake != absl::InfiniteFuture()) timeout = std::min(batch_.wake - now, kClockPoll);
    }
    worker_waits_ = true;
    if (timeout == absl::InfiniteDuration()) {
      while (worker_waits_ && (!stopping_ || running_)) work_ready_.Wait(&mutex_);
    } else {
      work_ready_.WaitFor(&mutex_, timeout);
    }
    worker_waits_ = false;
  }
  return false;
}

bool Scheduler::RunBatch(bool go_on) {
  // The work of the batch is this thread's until Commit: it has its sessions' lanes.
  failed_.clear();
  rows_.clear();
  for (Work* const work : batch_.late) failed_.push_back({work, Late(*work)});
  const absl::Time start = clock_->Now();
  PrepareBatch(start);
  absl::Time end = start;
  if (!rows_.empty()) {
    const Work& any = *batch_.rows.front();
    const absl::Status status = backend_->Run(any.on->device_model(), ModelOf(any)->pool(), absl::MakeSpan(rows_));
    end = clock_->Now();
    CountBatch(ModelOf(any)->counters(), status, end - start);
    SettleBatch(status, end - start);
  }
  for (const Ending& ending : failed_) ReleaseRow(ending.work);

  endings_.clear();
  {
    MutexLock lock(&mutex_);
    if (!rows_.empty()) {
      ++batches_;
      batched_rows_ += rows_.size();
      batch_time_ = batches_ == 1 ? end - start : 0.9 * batch_time_ + 0.1 * (end - start);
      Charge(batch_, end - start);
    }
    for (Work* const work : batch_.rows) {
      if (work->row.position < work->units) {
        MakeReady(work);
      } else {
        Commit(work, end);
        if (Hold(work)) continue;
        if (work->session != nullptr && work->end_session) EndByStep(*work->session);
        EndAtHead(work, absl::OkStatus(), &endings_);
      }
    }
    for (Ending& ending : failed_) EndAtHead(ending.work, std::move(ending.status), &endings_);
    ++reporting_;
  }
  Report(endings_);
  return GiveBackDevice(go_on);
}

void Scheduler::CountBatch(ModelCounters& counters, const absl::Status& status, absl::Duration elapsed) {
  const auto ns = static_cast<uint64_t>(std::max<int64_t>(0, absl::ToInt64Nanoseconds(elapsed)));
  busy_ns_.Add(ns);
  counters.busy_ns.Add(ns);
  counters.batch_rows.Add(rows_.size());
  if (!status.ok()) counters.failed_batches.Add();
}

void Scheduler::PrepareBatch(absl::Time now) {
  size_t kept = 0;
  for (Work* const work : batch_.rows) {
    if (work->row.slot == kNoSlot) {
      work->started = now;
      if (absl::Status status = Prepare(work); !status.ok()) {
        failed_.push_back({work, DeviceError(status)});
        continue;
      }
    }
    batch_.rows[kept++] = work;
    rows_.push_back(&work->row);
  }
  batch_.rows.resize(kept);
}

absl::Status Scheduler::Prepare(Work* work) {
  Session* const session = work->session.get();
  // In place only what one call ends and nothing can undo: all else runs beside the session, which takes the new slot
  // over at the end, so that a failure, deadline or cancel on the way leaves it as it was.
  if (session != nullptr && work->units <= options_.slice_units && work->final_h == nullptr) {
    work->row.slot = session->slot_;
    return absl::OkStatus();
  }
  StatePool& pool = ModelOf(*work)->pool();
  const absl::StatusOr<Slot> slot = pool.Allocate();
  if (!slot.ok()) return slot.status();
  work->row.slot = *slot;
  work->own_slot = true;
  if (session != nullptr) return pool.Copy(session->slot_, *slot);
  if (work->initial_h == nullptr) return work->model->FixInitialState(*work->on, *slot);
  const ModelSpec& spec = work->model->spec();
  return pool.Write(*slot, absl::MakeConstSpan(work->initial_h, spec.h_size()),
                    absl::MakeConstSpan(work->initial_c, spec.c_size()));
}

void Scheduler::SettleBatch(const absl::Status& status, absl::Duration elapsed) {
  const absl::Status error = status.ok() ? status : DeviceError(status);
  size_t kept = 0;
  for (Work* const work : batch_.rows) {
    work->timing.compute += elapsed;
    work->timing.batch_size = static_cast<uint32_t>(rows_.size());
    absl::Status settled = error;
    if (settled.ok() && work->row.position >= work->units) settled = Settle(work);
    if (settled.ok()) {
      batch_.rows[kept++] = work;
    } else {
      failed_.push_back({work, DeviceError(settled)});
    }
  }
  batch_.rows.resize(kept);
}

absl::Status Scheduler::Settle(Work* work) {
  StatePool& pool = ModelOf(*work)->pool();
  const ModelSpec& spec = ModelOf(*work)->spec();
  if (work->final_h != nullptr) {
    absl::Status status = pool.Read(work->row.slot, absl::MakeSpan(work->final_h, spec.h_size()),
                                    absl::MakeSpan(work->final_c, spec.c_size()));
    if (!status.ok()) return status;
  }
  if (work->session != nullptr) {
    if (work->own_slot) std::swap(work->session->slot_, work->row.slot);
    if (work->seq != 0 && replay_ring_ != 0) KeepReply(work);
  }
  ReleaseRow(work);
  return absl::OkStatus();
}

void Scheduler::KeepReply(Work* work) {
  const ModelSpec& spec = work->session->model()->spec();
  const size_t steps = work->output_mode == OutputMode::kAll ? work->steps : 1;
  const size_t output_size = work->output == nullptr ? 0 : steps * spec.output_size();
  const bool state = work->final_h != nullptr;
  std::unique_ptr<ReplayRing>& ring = work->session->ring_;
  if (ring == nullptr)
    ring = std::make_unique<ReplayRing>(replay_ring_, &work->session->model()->counters().replay_bytes);
  ring->Put(work->seq, {work->output, output_size}, {work->final_h, state ? spec.h_size() : 0},
            {work->final_c, state ? spec.c_size() : 0});
}

void Scheduler::ReleaseRow(Work* work) {
  work->row.scratch.reset();
  if (work->own_slot) ModelOf(*work)->pool().Free(work->row.slot);
  work->own_slot = false;
  work->row.slot = kNoSlot;
}

void Scheduler::Commit(Work* work, absl::Time now) {
  work->timing.queue = work->started - work->accepted;
  work->result_version = work->on->version();
  if (work->session == nullptr) return;
  Session& session = *work->session;
  SessionState& state = StateOf(session);
  if (work->seq != 0) state.last_seq = work->seq;
  state.steps += work->steps;
  state.last_step_time = now;
  session.used_ns_.store(absl::ToUnixNanos(now), std::memory_order_relaxed);
  UpdateDue(session);
  work->result_seq = state.last_seq;
  work->result_epoch = state.epoch;
  NoteChange(work->session, now);
}

void Scheduler::EndEverything() {
  Endings endings;
  {
    MutexLock lock(&mutex_);
    // What waits in the lanes behind it ends with it: Resolve sees that the scheduler stops.
    for (ModelQueue* const queue : active_) {
      while (Work* const work = queue->steps.Pop()) EndAtHead(work, Draining(), &endings);
      while (Work* const work = queue->sequences.Pop()) EndAtHead(work, Draining(), &endings);
    }
    active_.clear();
  }
  for (const Ending& ending : endings) ReleaseRow(ending.work);
  Report(endings);
}

}  // namespace lstmd
