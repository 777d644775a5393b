// SPDX-License-Identifier: Apache-2.0
//
// What is done to sessions besides stepping them.
#include <algorithm>
#include <utility>

#include "engine/errors.h"
#include "engine/scheduler.h"

namespace lstmd {

bool Scheduler::TakeTurn(Session& session, Turn* turn) {
  if (stopping_) return false;
  turn->place.turn = turn;
  turn->granted = StateOf(session).lane.Enter(&turn->place);
  while (!turn->granted && !turn->stopped) turn->ready.Wait(&mutex_);
  return turn->granted;
}

void Scheduler::GiveBackTurn(Session& session) {
  Endings endings;
  bool wake = false;
  {
    MutexLock lock(&mutex_);
    Advance(session, StateOf(session).lane.Leave(), &endings);
    ++reporting_;
    wake = WakeWorker();
  }
  if (wake) work_ready_.Signal();
  Report(endings);
  ReportDone();
}

absl::Status Scheduler::InTurn(Session& session, absl::FunctionRef<absl::Status()> action, bool off_device) {
  // The lane refers to the turn, which stays in this frame until it is out of it.
  Turn turn;
  absl::Status status;
  {
    MutexLock lock(&mutex_);
    if (session.end() != SessionEnd::kNone) return Gone(session);
    if (!TakeTurn(session, &turn)) return Draining();
    if (StateOf(session).refuse_queued) status = Gone(session);
  }
  if (status.ok() && !off_device) status = PageIn(session);
  if (status.ok()) status = action();
  GiveBackTurn(session);
  return status;
}

void Scheduler::WaitForTurn(Session& session) {
  Turn turn;
  {
    MutexLock lock(&mutex_);
    if (!TakeTurn(session, &turn)) return;
  }
  GiveBackTurn(session);
}

SessionInfo Scheduler::Describe(const Session& session) const {
  MutexLock lock(&mutex_);
  return DescribeLocked(session);
}

SessionInfo Scheduler::DescribeLocked(const Session& session) const {
  const SessionState& state = StateOf(session);
  SessionInfo info;
  info.model = session.model()->name();
  info.id = session.id();
  info.uid = session.uid();
  info.model_version = ServingOf(*session.model()).version();
  info.epoch = state.epoch;
  info.last_seq = state.last_seq;
  info.steps = state.steps;
  info.create_time = session.create_time();
  info.last_step_time = state.last_step_time;
  info.idle_ttl = state.idle_ttl;
  info.expire_time = state.expire_time;
  if (state.labels != nullptr) info.labels = *state.labels;
  info.residency = state.residency;
  info.pinned = state.pinned;
  if (state.durable != nullptr) {
    info.durability = state.durable->durability;
    info.durable_seq = state.durable->durable_seq;
  }
  return info;
}

absl::Status Scheduler::Read(Session& session, StateValues* state, SessionInfo* info) {
  const ModelSpec& spec = session.model()->spec();
  state->h.resize(spec.h_size());
  state->c.resize(spec.c_size());
  return InTurn(session, [&] {
    absl::Status status =
        session.model()->pool().Read(session.slot_, absl::MakeSpan(state->h), absl::MakeSpan(state->c));
    *info = Describe(session);
    return status;
  });
}

absl::Status Scheduler::TakeSnapshot(Session& session, Snapshot* snapshot) {
  return InTurn(
      session, [&] { return CopyOut(session, 0, snapshot); }, true);
}

absl::Status Scheduler::CopyOut(const Session& session, uint64_t after_seq, Snapshot* snapshot) const {
  const Model& model = *session.model();
  snapshot->model = model.name();
  snapshot->id = session.id();
  snapshot->uid = session.uid_;
  snapshot->create_time = session.create_time();
  snapshot->h.resize(model.spec().h_size());
  snapshot->c.resize(model.spec().c_size());
  if (session.ring_ != nullptr) snapshot->replies = session.ring_->After(after_seq);
  {
    MutexLock lock(&mutex_);
    const SessionState& state = StateOf(session);
    const ModelVersion& version = ServingOf(model);
    snapshot->model_version = version.version();
    snapshot->weights_sha256 = version.parts().weights_sha256;
    snapshot->epoch = state.epoch;
    snapshot->last_seq = state.last_seq;
    snapshot->steps = state.steps;
    snapshot->last_step_time = state.last_step_time;
    snapshot->idle_ttl = state.idle_ttl;
    snapshot->expire_time = state.expire_time;
    if (state.labels != nullptr) snapshot->labels = *state.labels;
    snapshot->pinned = state.pinned;
    if (state.durable != nullptr) snapshot->durability = state.durable->durability;
  }
  if (session.slot_ != kNoSlot) {
    return model.pool().Read(session.slot_, absl::MakeSpan(snapshot->h), absl::MakeSpan(snapshot->c));
  }
  absl::StatusOr<Snapshot> spilled = ReadSpilled(session);
  if (!spilled.ok()) return spilled.status();
  snapshot->h = std::move(spilled->h);
  snapshot->c = std::move(spilled->c);
  for (Reply& reply : spilled->replies) {
    if (reply.seq > after_seq) snapshot->replies.push_back(std::move(reply));
  }
  return absl::OkStatus();
}

void Scheduler::RefillRing(Session& session, const Snapshot& snapshot) const {
  session.ring_.reset();
  if (replay_ring_ == 0) return;
  for (const Reply& reply : snapshot.replies) {
    if (session.ring_ == nullptr)
      session.ring_ = std::make_unique<ReplayRing>(replay_ring_, &session.model()->counters().replay_bytes);
    session.ring_->Put(reply.seq, reply.output(), reply.h(), reply.c());
  }
}

absl::Status Scheduler::Adopt(Session& session, const Snapshot& snapshot, uint64_t epoch) {
  absl::Status status = session.model()->pool().Write(session.slot_, snapshot.h, snapshot.c);
  if (!status.ok()) return status;
  RefillRing(session, snapshot);
  auto labels = snapshot.labels.empty() ? nullptr : std::make_unique<Labels>(snapshot.labels);
  MutexLock lock(&mutex_);
  SessionState& state = StateOf(session);
  state.epoch = epoch;
  state.last_seq = snapshot.last_seq;
  state.steps = snapshot.steps;
  state.last_step_time = snapshot.last_step_time;
  state.idle_ttl = snapshot.idle_ttl;
  state.expire_time = snapshot.expire_time;
  state.pinned = snapshot.pinned;
  state.labels.swap(labels);
  session.used_ns_.store(absl::ToUnixNanos(clock_->Now()), std::memory_order_relaxed);
  UpdateDue(session);
  return status;
}

absl::Status Scheduler::Replace(Session& session, const Snapshot& snapshot) {
  return InTurn(session, [&] {
    absl::Status status = Adopt(session, snapshot, std::max(Describe(session).epoch, snapshot.epoch) + 1);
    return status.ok() ? SaveChange(session) : status;
  });
}

absl::Status Scheduler::Fork(Session& session, Session& fork) {
  return InTurn(session, [&] {
    absl::Status status = session.model()->pool().Copy(session.slot_, fork.slot_);
    if (!status.ok()) return status;
    MutexLock lock(&mutex_);
    const SessionState& from = StateOf(session);
    SessionState& to = StateOf(fork);
    to.last_seq = from.last_seq;
    to.steps = from.steps;
    to.last_step_time = from.last_step_time;
    to.idle_ttl = from.idle_ttl;
    to.expire_time = from.expire_time;
    if (from.labels != nullptr) to.labels = std::make_unique<Labels>(*from.labels);
    UpdateDue(fork);
    return status;
  });
}

absl::Status Scheduler::Reset(Session& session, const StateValues* state) {
  return InTurn(session, [&] {
    const Model& model = *session.model();
    absl::Status status = state == nullptr ? model.ResetSlot(*model.current(), session.slot_)
                                           : model.pool().Write(session.slot_, state->h, state->c);
    if (!status.ok()) return status;
    if (session.ring_ != nullptr) session.ring_->Clear();
    {
      MutexLock lock(&mutex_);
      SessionState& numbers = StateOf(session);
      ++numbers.epoch;
      numbers.last_seq = 0;
      numbers.steps = 0;
    }
    return SaveChange(session);
  });
}

absl::Status Scheduler::Write(Session& session, const StateValues& state) {
  return InTurn(session, [&] {
    absl::Status status = session.model()->pool().Write(session.slot_, state.h, state.c);
    if (!status.ok()) return status;
    {
      MutexLock lock(&mutex_);
      SessionState& numbers = StateOf(session);
      ++numbers.epoch;
      numbers.steps = 0;
    }
    return SaveChange(session);
  });
}

void Scheduler::Configure(Session& session, const UpdateSessionParams& params) {
  std::unique_ptr<Labels> labels;
  if (params.labels && !params.labels->empty()) labels = std::make_unique<Labels>(*params.labels);
  MutexLock lock(&mutex_);
  SessionState& state = StateOf(session);
  if (params.idle_ttl) state.idle_ttl = *params.idle_ttl;
  if (params.expire_time) state.expire_time = *params.expire_time;
  if (params.labels) state.labels.swap(labels);
  if (params.pinned) {
    state.pinned = *params.pinned;
    if (state.lane.idle() && !state.pinned) NoteIdle(session);
  }
  UpdateDue(session);
}

absl::Status Scheduler::Close(Session& session, SessionEnd end) {
  MutexLock lock(&mutex_);
  if (session.end() != SessionEnd::kNone) return Gone(session);
  EndSession(session, end);
  return absl::OkStatus();
}

bool Scheduler::CloseIfDue(Session& session) {
  MutexLock lock(&mutex_);
  SessionState& state = StateOf(session);
  const absl::Time now = clock_->Now();
  if (session.end() != SessionEnd::kNone || session.Due() > now) return false;
  if (state.expire_time > now && !state.lane.idle()) return false;
  EndSession(session, SessionEnd::kExpired);
  return true;
}

bool Scheduler::Evict(Session& session, absl::Time last_used) {
  MutexLock lock(&mutex_);
  SessionState& state = StateOf(session);
  // One that is to be kept in the store is not given up.
  if (session.end() != SessionEnd::kNone || state.durable != nullptr || !state.lane.idle() ||
      session.last_used() != last_used) {
    return false;
  }
  state.end_time = clock_->Now();
  session.end_.store(SessionEnd::kEvicted, std::memory_order_release);
  return true;
}

void Scheduler::UpdateDue(Session& session) const {
  session.due_ns_.store(absl::ToUnixNanos(session.Due()), std::memory_order_relaxed);
}

}  // namespace lstmd
