// SPDX-License-Identifier: Apache-2.0
//
// Which sessions are saved when, and what waits for it. The checkpointer's thread calls BeginSave and EndSaves.
//
// A change of a session is a step or a replaced state; `changes` counts them, `saved` says up to which the store has
// them. How many may be missing there is what the session's durability allows: none (every step), some (periodic), any
// (none). A step above that ends only when its save has: until then it keeps the lane. Where a save fails, the step
// that waited for it ends with the store's error, applied but not safe; the next one, and a repeat of this one, first
// has it saved.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/checkpointer.h"
#include "engine/errors.h"
#include "engine/names.h"
#include "engine/scheduler.h"

namespace lstmd {
namespace {

// After a periodic save has failed.
constexpr absl::Duration kSaveAgain = absl::Seconds(1);

bool IsFenced(const absl::Status& status) { return absl::IsAborted(status) || absl::IsAlreadyExists(status); }

std::string OwnerOf(const absl::Status& fenced) {
  for (const auto& [key, value] : GetCause(fenced).metadata) {
    if (key == "owner_address" && value != kUnknownOwner) return value;
  }
  return "";
}

}  // namespace

absl::Status NotSafe(const absl::Status& status, const Session& session, bool applied) {
  const ErrorCause cause = GetCause(status);
  const std::string name = SessionResource(session.model()->name(), session.id());
  Error error(status.code(), cause.reason,
              absl::StrCat("'", name, "': the step was ", applied ? "applied, but is not safe yet" : "not applied",
                           "; repeat it with the same seq: ", status.message()));
  error.Resource(name).With("applied", applied ? "true" : "false");
  if (cause.retry_after) error.RetryAfter(*cause.retry_after);
  return error;
}

void Scheduler::UseStore(Checkpointer* checkpointer, const DurabilityOptions& options, SessionMovedCall session_moved) {
  checkpointer_ = checkpointer;
  durability_ = options;
  session_moved_ = std::move(session_moved);
}

void Scheduler::SetStored(Session& session, Durability durability, uint64_t claim, bool stored) {
  MutexLock lock(&mutex_);
  SessionState& state = StateOf(session);
  state.durable = std::make_unique<DurableState>();
  state.durable->durability = durability;
  state.durable->claim = claim;
  state.durable->stored = state.durable->tried = stored;
  if (stored) state.durable->durable_seq = state.last_seq;
}

uint64_t Scheduler::Unsafe(const SessionState& state) const {
  const DurableState* const durable = state.durable.get();
  if (durable == nullptr || durable->durability == Durability::kNone) return 0;
  const uint64_t missing = durable->changes - durable->saved;
  const uint64_t allowed = durable->durability == Durability::kEveryStep ? 0 : durability_.checkpoint_steps;
  return missing > allowed ? missing : 0;
}

void Scheduler::NoteChange(const std::shared_ptr<Session>& session, absl::Time now) {
  DurableState* const durable = StateOf(*session).durable.get();
  if (durable == nullptr) return;
  ++durable->changes;
  if (durable->durability != Durability::kPeriodic) return;
  const uint64_t missing = durable->changes - durable->saved;
  if (missing == 1) {
    if (due_saves_.empty()) checkpointer_->Wake();
    due_saves_.emplace(now + durability_.checkpoint_interval, session);
  }
  // Half of what may be missing, so that the other half runs while this is saved.
  if (missing >= std::max<uint64_t>(1, durability_.checkpoint_steps / 2))
    AskForSave(session, Save::Kind::kCopy, nullptr);
}

void Scheduler::AskForSave(const std::shared_ptr<Session>& session, Save::Kind kind,
                           const std::shared_ptr<SaveCall>& call) {
  SessionState& state = StateOf(*session);
  if (kind == Save::Kind::kCopy) {
    if (state.durable->asked) return;
    state.durable->asked = true;
  }
  auto* const turn = new Turn;
  turn->place.turn = turn;
  turn->save = std::make_unique<Save>();
  turn->save->kind = kind;
  turn->save->session = session;
  turn->save->turn = turn;
  turn->save->call = call;
  turn->save->erase = kind == Save::Kind::kErase;
  if (state.lane.Enter(&turn->place)) GrantSave(turn);
}

void Scheduler::GrantSave(Turn* turn) { checkpointer_->Push(std::move(*turn->save)); }

absl::Time Scheduler::AskDueSaves(absl::Time now) {
  MutexLock lock(&mutex_);
  while (!due_saves_.empty() && due_saves_.begin()->first <= now) {
    const std::shared_ptr<Session> session = due_saves_.begin()->second.lock();
    due_saves_.erase(due_saves_.begin());
    if (session == nullptr || session->end() != SessionEnd::kNone) continue;
    const DurableState* const durable = StateOf(*session).durable.get();
    if (durable != nullptr && durable->changes != durable->saved) AskForSave(session, Save::Kind::kCopy, nullptr);
  }
  return due_saves_.empty() ? absl::InfiniteFuture() : due_saves_.begin()->first;
}

bool Scheduler::Hold(Work* work) {
  if (work->session == nullptr) return false;
  const SessionState& state = StateOf(*work->session);
  const DurableState* const durable = state.durable.get();
  if (durable == nullptr) return false;
  const bool erase = work->end_session && durable->tried;
  // What the reply tells of has to be safe; a repeat of what is already need not wait.
  const bool unsafe = Unsafe(state) != 0 && !(work->replayed && work->seq <= durable->durable_seq);
  if (!erase && !unsafe) {
    work->result_durable_seq = durable->durable_seq;
    return false;
  }
  Save save;
  save.kind = Save::Kind::kReply;
  save.session = work->session;
  save.work = work;
  save.erase = erase;
  checkpointer_->Push(std::move(save));
  return true;
}

bool Scheduler::HoldBack(Work* work) {
  const DurableState* const durable = StateOf(*work->session).durable.get();
  if (durable == nullptr || !durable->failed || Unsafe(StateOf(*work->session)) == 0) return false;
  PushSave(work, Save::Kind::kBefore);
  return true;
}

bool Scheduler::HoldError(Work* work, const absl::Status& status) {
  const SessionState& state = StateOf(*work->session);
  if (state.durable == nullptr || !state.durable->stored || stopping_ || state.refuse_queued) return false;
  const bool ahead = absl::IsOutOfRange(status) || (absl::IsAborted(status) && work->epoch > state.epoch);
  if (ahead) PushSave(work, Save::Kind::kGap);
  return ahead;
}

void Scheduler::PushSave(Work* work, Save::Kind kind) {
  Save save;
  save.kind = kind;
  save.session = work->session;
  save.work = work;
  checkpointer_->Push(std::move(save));
}

void Scheduler::BeginSave(Save* save) {
  Session& session = *save->session;
  uint64_t after_seq = 0;
  bool stored = false;
  {
    MutexLock lock(&mutex_);
    DurableState& durable = *StateOf(session).durable;
    save->write.claim = durable.claim;
    save->write.all_replies = durable.all_replies;
    save->changes = durable.changes;
    // What was saved once may have been forgotten by the store since: nobody has said that it goes on.
    stored = durable.stored && durable.durability != Durability::kNone;
    if (!durable.all_replies) after_seq = durable.durable_seq;
    if (!save->erase) {
      durable.all_replies = false;
      durable.tried = true;
    }
  }
  Snapshot snapshot;
  if (save->erase) {
    snapshot.model = session.model()->name();
    snapshot.id = session.id();
  } else {
    save->status = CopyOut(session, after_seq, &snapshot);
  }
  save->epoch = snapshot.epoch;
  save->last_seq = snapshot.last_seq;
  const auto kind = save->erase ? StoreWrite::Kind::kErase
                    : stored    ? StoreWrite::Kind::kUpdate
                                : StoreWrite::Kind::kCreate;
  const bool all = save->write.all_replies;
  const std::string owner = save->kind == Save::Kind::kLeave ? "" : durability_.owner;
  save->write = MakeWrite(kind, snapshot, save->write.claim, owner, std::max(1u, replay_ring_));
  save->write.all_replies = all;
  if (save->kind == Save::Kind::kCopy) {
    delete save->turn;
    save->turn = nullptr;
    GiveBackTurn(session);
  }
}

void Scheduler::NoteSaved(Save* save, std::vector<Moved>* moved) {
  SessionState& state = StateOf(*save->session);
  DurableState& durable = *state.durable;
  if (save->kind == Save::Kind::kCopy) durable.asked = false;
  if (save->status.ok()) {
    durable.stored = durable.tried = !save->erase;
    durable.saved = std::max(durable.saved, save->changes);
    durable.failed = false;
    // One of before a reset says nothing of the numbers after it.
    if (save->epoch == state.epoch) durable.durable_seq = save->last_seq;
    return;
  }
  if (IsFenced(save->status)) {
    if (save->session->end() == SessionEnd::kNone) {
      durable.owner = OwnerOf(save->status);
      EndSession(*save->session, SessionEnd::kMoved);
      moved->push_back({save->session, durable.owner});
    }
    state.refuse_queued = true;
    save->status = Gone(*save->session);
    return;
  }
  durable.failed = true;
  durable.all_replies = durable.all_replies || save->write.all_replies;
  if (durable.durability == Durability::kPeriodic && !stopping_) {
    due_saves_.emplace(clock_->Now() + std::min(durability_.checkpoint_interval, kSaveAgain), save->session);
  }
}

void Scheduler::EndSaves(absl::Span<Save* const> saves) {
  Endings endings;
  std::vector<Moved> moved;
  {
    MutexLock lock(&mutex_);
    for (Save* const save : saves) {
      NoteSaved(save, &moved);
      Session& session = *save->session;
      if (save->kind == Save::Kind::kReply) {
        absl::Status status = save->status;
        if (status.ok()) {
          save->work->result_durable_seq = StateOf(session).durable->durable_seq;
          if (save->work->end_session) EndByStep(session);
        } else if (session.end() != SessionEnd::kMoved) {
          status = NotSafe(status, session, true);
        }
        End(save->work, std::move(status), &endings);
      } else if (save->kind == Save::Kind::kLeave && save->status.ok() && session.end() == SessionEnd::kNone) {
        EndSession(session, SessionEnd::kMoved);
        StateOf(session).refuse_queued = true;
        moved.push_back({save->session, ""});
      }
    }
    ++reporting_;
  }
  for (const Moved& one : moved) session_moved_(*one.session, one.owner);
  // Before the next of a session may run: its replies stay in order.
  Report(endings);
  endings.clear();
  bool wake = false;
  {
    MutexLock lock(&mutex_);
    for (Save* const save : saves) EndTurn(save, &endings);
    wake = WakeWorker();
  }
  if (wake) work_ready_.Signal();
  Report(endings);
  ReportDone();
  for (Save* const save : saves) {
    if (save->call != nullptr) save->call->End(save->status);
  }
}

void Scheduler::EndTurn(Save* save, Endings* endings) {
  Session& session = *save->session;
  switch (save->kind) {
    case Save::Kind::kCall:
      return;  // the caller gives it back
    case Save::Kind::kBefore:
      if (save->status.ok()) {
        Advance(session, save->work, endings);
      } else {
        const bool moved = session.end() == SessionEnd::kMoved;
        EndAtHead(save->work, moved ? save->status : NotSafe(save->status, session, false), endings);
      }
      return;
    case Save::Kind::kGap: {
      absl::Status status = save->status;
      if (!status.ok() && session.end() != SessionEnd::kMoved) status = NotSafe(status, session, false);
      // Ours still, so the error stands.
      if (status.ok() && Resolve(session, save->work, &status)) {
        MakeReady(save->work);
      } else {
        EndAtHead(save->work, std::move(status), endings);
      }
      return;
    }
    case Save::Kind::kCopy:
    case Save::Kind::kLeave:
    case Save::Kind::kErase:
      if (save->turn == nullptr) return;  // given back when the copy was made
      delete save->turn;
      [[fallthrough]];
    case Save::Kind::kReply:
      Advance(session, StateOf(session).lane.Leave(), endings);
  }
}

}  // namespace lstmd
