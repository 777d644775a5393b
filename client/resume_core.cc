// SPDX-License-Identifier: Apache-2.0
//
// The callers' half of a resumable stream.
#include "client/resume_core.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace lstmd::client {

thread_local const ResumableStream::Core* ResumableStream::Core::calling_ = nullptr;

ResumableStream::Core::Core(std::shared_ptr<Endpoints> endpoints, NewContext new_context, ResumeOptions options)
    : endpoints_(std::move(endpoints)),
      new_context_(std::move(new_context)),
      options_(std::move(options)),
      tick_(std::clamp(std::min(options_.resend_after, options_.timeout) / 4, absl::Milliseconds(1),
                       absl::Milliseconds(500))),
      random_(std::random_device()()),
      driver_([this] { Drive(); }) {}

ResumableStream::Core::~Core() {
  Cancel();
  {
    MutexLock lock(&mutex_);
    while (!links_.empty() || busy_ > 0) changed_.Wait(&mutex_);
    quit_ = true;
    wake_.SignalAll();
  }
  driver_.join();
}

absl::Status ResumableStream::Core::Sendable() const {
  if (!cancelled_.ok()) return cancelled_;
  if (finished_) return absl::FailedPreconditionError("the stream was finished; nothing more can be sent");
  return absl::OkStatus();
}

void ResumableStream::Core::Bind(const std::string& session, const BindOptions& options, BindCallback done) {
  MutexLock lock(&mutex_);
  ++waits_;
  if (absl::Status status = Sendable(); !status.ok()) {
    notes_.push_back({{}, [done = std::move(done), status] { done(status); }});
    --waits_;
    wake_.SignalAll();
    return;
  }
  uint32_t handle = static_cast<uint32_t>(entries_.size());
  if (free_.empty()) {
    entries_.emplace_back();
  } else {
    handle = free_.back();
    free_.pop_back();
  }
  entries_[handle] = std::make_unique<Entry>(session, options, options_);
  Entry* const entry = entries_[handle].get();
  entry->handle = handle;
  entry->bound = std::move(done);
  entry->bind_by = absl::Now() + options_.timeout;
  // On the driver, so that the binds of one BindAll go out together.
  entry->phase = Phase::kWaiting;
  AddDue(entry, absl::Now());
}

absl::Status ResumableStream::Core::Unbind(uint32_t handle, bool delete_session) {
  MutexLock lock(&mutex_);
  if (absl::Status status = Sendable(); !status.ok()) return status;
  Entry* const entry = handle < entries_.size() ? entries_[handle].get() : nullptr;
  if (entry == nullptr || entry->bound || entry->unbinding) {
    return absl::InvalidArgumentError(absl::StrCat("handle ", handle, " is not bound"));
  }
  ++waits_;
  entry->unbinding = true;
  entry->delete_session = delete_session;
  if (entry->phase == Phase::kEnded) {
    Free(entry);
  } else {
    Pump(entry);
    if (!InCallback()) Flush();
  }
  return absl::OkStatus();
}

absl::Status ResumableStream::Core::Send(const Steps& steps, StepCallback done, bool wait) {
  const size_t count = steps.handles.size();
  const size_t rows = count * std::max<size_t>(steps.time_steps, 1);
  if (count == 0 || steps.input.size() % rows != 0) {
    return absl::InvalidArgumentError(absl::StrCat("input of ", count, " handles, ", steps.time_steps,
                                                   " time steps: got ", steps.input.size(), " numbers"));
  }
  if (!steps.seqs.empty())
    return absl::InvalidArgumentError("seqs: got some, but a resumable stream numbers steps itself");
  const size_t input_size = steps.input.size() / rows;
  auto sent = std::make_shared<SentSteps>();
  sent->done = std::move(done);
  sent->input.assign(steps.input.begin(), steps.input.end());
  sent->step_floats = steps.input.size() / count;
  sent->time_steps = steps.time_steps;
  sent->return_state = steps.return_state;

  MutexLock lock(&mutex_);
  absl::Status status = Sendable();
  while (status.ok() && in_flight_ > 0 && in_flight_ + count > options_.max_in_flight) {
    if (!wait || InCallback()) {
      return absl::ResourceExhaustedError(
          absl::StrCat(in_flight_, " steps are in flight, at most ", options_.max_in_flight));
    }
    changed_.Wait(&mutex_);
    status = Sendable();
  }
  if (!status.ok()) return status;
  for (const uint32_t handle : steps.handles) {
    const Entry* entry = handle < entries_.size() ? entries_[handle].get() : nullptr;
    if (entry == nullptr || entry->bound || entry->unbinding) {
      return absl::InvalidArgumentError(absl::StrCat("handle ", handle, " is not bound"));
    }
    if (entry->input_size != input_size) {
      return absl::InvalidArgumentError(absl::StrCat("input of handle ", handle, ": got ", input_size,
                                                     " numbers a time step, want ", entry->input_size));
    }
  }
  in_flight_ += static_cast<uint32_t>(count);
  const absl::Time deadline = absl::Now() + options_.timeout;
  for (uint32_t index = 0; index < count; ++index) {
    Entry* const entry = entries_[steps.handles[index]].get();
    if (entry->phase == Phase::kEnded) {
      Note note;
      note.delivery.steps = sent;
      note.delivery.result.status = entry->error;
      note.delivery.result.handle = entry->handle;
      note.delivery.result.index = index;
      notes_.push_back(std::move(note));
      wake_.SignalAll();
      continue;
    }
    entry->steps.Append(sent, index, deadline);
    Pump(entry);
  }
  if (!InCallback()) Flush();
  return absl::OkStatus();
}

absl::Status ResumableStream::Core::Finish() {
  if (InCallback()) return absl::FailedPreconditionError("Finish was called from a callback, for which it would wait");
  MutexLock lock(&mutex_);
  finished_ = true;
  while (in_flight_ > 0 || waits_ > 0 || delivering_ || !notes_.empty()) changed_.Wait(&mutex_);
  for (const auto& link : links_) link->HalfClose();
  // Everything is answered; a server that does not take its leave is not waited for.
  const absl::Time until = absl::Now() + std::min(options_.resend_after, absl::Seconds(1));
  for (absl::Time now = absl::Now(); !links_.empty() && now < until; now = absl::Now()) {
    changed_.WaitFor(&mutex_, until - now);
  }
  return cancelled_.ok() ? first_error_ : cancelled_;
}

void ResumableStream::Core::Cancel() {
  MutexLock lock(&mutex_);
  if (cancelled_.ok()) cancelled_ = absl::CancelledError("the stream was cancelled");
  for (const auto& entry : entries_) {
    if (entry != nullptr) End(entry.get(), cancelled_);
  }
  for (const auto& link : links_) link->Cancel();
  wake_.SignalAll();
  changed_.SignalAll();
}

ResumeStats ResumableStream::Core::stats() const {
  MutexLock lock(&mutex_);
  ResumeStats stats = stats_;
  stats.resends = counts_.resends;
  stats.replays = counts_.replays;
  stats.duplicates = counts_.duplicates;
  return stats;
}

void ResumableStream::Core::Deliver() {
  {
    MutexLock lock(&mutex_);
    if (delivering_ || notes_.empty()) return;
    delivering_ = true;
  }
  const Core* const outer = std::exchange(calling_, this);
  std::vector<Note> notes;
  while (true) {
    uint32_t steps = 0;
    for (Note& note : notes) {
      if (note.call) {
        note.call();
      } else {
        note.delivery.steps->done(note.delivery.result);
        ++steps;
      }
    }
    notes.clear();  // what callbacks hold is destroyed without the lock
    MutexLock lock(&mutex_);
    in_flight_ -= steps;
    Flush();
    if (notes_.empty()) {
      delivering_ = false;
      changed_.SignalAll();
      break;
    }
    if (steps > 0) changed_.SignalAll();
    notes.swap(notes_);
  }
  calling_ = outer;
}

}  // namespace lstmd::client
