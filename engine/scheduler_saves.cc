// SPDX-License-Identifier: Apache-2.0
//
// What callers ask of the store for one session: save it now, from now on, or not any more; leave it to others.
#include <algorithm>
#include <memory>

#include "engine/checkpointer.h"
#include "engine/random_bits.h"
#include "engine/scheduler.h"

namespace lstmd {
namespace {

// What ties a session to the store, made where it had nothing to do with it so far.
DurableState& Tie(SessionState& state) {
  if (state.durable == nullptr) {
    state.durable = std::make_unique<DurableState>();
    state.durable->claim = RandomBits();
  }
  return *state.durable;
}

}  // namespace

absl::Status Scheduler::SaveInTurn(Session& session, bool erase) {
  Save save;
  save.kind = Save::Kind::kCall;
  save.session = session.shared_from_this();
  save.call = std::make_shared<SaveCall>();
  save.erase = erase;
  const std::shared_ptr<SaveCall> call = save.call;
  call->Begin();
  checkpointer_->Push(std::move(save));
  call->Wait(0, absl::InfiniteFuture());
  return call->error();
}

bool Scheduler::IsDurable(const Session& session) const {
  MutexLock lock(&mutex_);
  return StateOf(session).durable != nullptr;
}

absl::Status Scheduler::SaveChange(Session& session) {
  {
    MutexLock lock(&mutex_);
    SessionState& state = StateOf(session);
    if (state.durable == nullptr) return absl::OkStatus();
    ++state.durable->changes;
    // The replies may be none, or others, and the numbers lower.
    state.durable->all_replies = true;
    state.durable->durable_seq = std::min(state.durable->durable_seq, state.last_seq);
    if (state.durable->durability == Durability::kNone) return absl::OkStatus();
  }
  return SaveInTurn(session, false);
}

absl::Status Scheduler::Checkpoint(Session& session) {
  return InTurn(
      session,
      [&] {
        {
          MutexLock lock(&mutex_);
          Tie(StateOf(session));
        }
        return SaveInTurn(session, false);
      },
      true);
}

absl::Status Scheduler::SetDurability(Session& session, Durability durability) {
  return InTurn(
      session,
      [&]() -> absl::Status {
        {
          MutexLock lock(&mutex_);
          SessionState& state = StateOf(session);
          if (state.durable == nullptr && durability == Durability::kNone) return absl::OkStatus();
          Tie(state).durability = durability;
        }
        // What the store had is of no use to one that goes on without it.
        return SaveInTurn(session, durability == Durability::kNone);
      },
      true);
}

absl::Status Scheduler::EraseInStore(Session& session) {
  return InTurn(
      session,
      [&] {
        absl::Status status = SaveInTurn(session, true);
        MutexLock lock(&mutex_);
        if (status.ok() && session.end() == SessionEnd::kNone) {
          EndSession(session, SessionEnd::kDeleted);
          StateOf(session).refuse_queued = true;
        }
        return status;
      },
      true);
}

void Scheduler::Forget(const std::shared_ptr<Session>& session) {
  MutexLock lock(&mutex_);
  const DurableState* const durable = StateOf(*session).durable.get();
  if (durable != nullptr && durable->tried && !stopping_) AskForSave(session, Save::Kind::kErase, nullptr);
}

bool Scheduler::Leave(const std::shared_ptr<Session>& session, const std::shared_ptr<SaveCall>& call) {
  MutexLock lock(&mutex_);
  if (session->end() != SessionEnd::kNone || stopping_) return false;
  Tie(StateOf(*session));
  leaving_ = true;
  call->Begin();
  AskForSave(session, Save::Kind::kLeave, call);
  return true;
}

}  // namespace lstmd
