// SPDX-License-Identifier: Apache-2.0
//
// Sessions of the engine and the store: restore, checkpoint, hand over.
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/engine_impl.h"
#include "engine/errors.h"
#include "engine/names.h"
#include "engine/random_bits.h"

namespace lstmd {
namespace {

// Saves of a handover under way at a time.
constexpr uint64_t kHandoverWindow = 2048;

bool IsMissing(const absl::Status& status) { return GetCause(status).reason == "SESSION_NOT_FOUND"; }

SessionInfo InfoOf(const Snapshot& snapshot) {
  SessionInfo info;
  info.model = snapshot.model;
  info.id = snapshot.id;
  info.uid = FormatUid(snapshot.uid);
  info.model_version = snapshot.model_version;
  info.epoch = snapshot.epoch;
  info.last_seq = info.durable_seq = snapshot.last_seq;
  info.steps = snapshot.steps;
  info.create_time = snapshot.create_time;
  info.last_step_time = snapshot.last_step_time;
  info.idle_ttl = snapshot.idle_ttl;
  info.expire_time = snapshot.expire_time;
  info.labels = snapshot.labels;
  info.durability = snapshot.durability;
  info.residency = Residency::kStore;
  info.pinned = snapshot.pinned;
  return info;
}

}  // namespace

absl::Status EngineImpl::CheckDurability(Durability durability) const {
  if (durability == Durability::kNone || has_store()) return absl::OkStatus();
  return FailedPrecondition("NO_STORE", absl::StrCat("durability ", std::string(Name(durability)),
                                                     ": the server has no store; start it with --store"))
      .Field("session.durability");
}

// --- One at a time by name. ---

EngineImpl::NameLock::NameLock(EngineImpl* engine, std::string_view model, std::string_view id)
    : engine_(*engine), name_(absl::StrCat(std::string(model), "/", std::string(id))) {
  MutexLock lock(&engine_.names_mutex_);
  while (!engine_.names_.insert(name_).second) engine_.names_changed_.Wait(&engine_.names_mutex_);
}

EngineImpl::NameLock::~NameLock() {
  {
    MutexLock lock(&engine_.names_mutex_);
    engine_.names_.erase(name_);
  }
  engine_.names_changed_.SignalAll();
}

// --- In. ---

absl::StatusOr<Snapshot> EngineImpl::ReadStored(std::string_view model, std::string_view id) const {
  const absl::StatusOr<StoredSession> stored = options_.store->Read({std::string(model), std::string(id)});
  if (!stored.ok()) return stored.status();
  // For a moment after it was taken over it is looked for where it went, so that two servers do not pull at it.
  const absl::Time now = options_.clock->Now();
  if (!stored->owner.empty() && stored->owner != options_.durability.owner) {
    if (absl::Status moved = store_.MovedSince(model, id, now - options_.durability.moved_hold); !moved.ok()) {
      return SessionMoved(model, id, stored->owner == kUnknownOwner ? "" : stored->owner);
    }
  }
  absl::StatusOr<Snapshot> snapshot = ToSnapshot(*stored);
  if (snapshot.ok() && DueTime(*snapshot) <= now) {
    return SessionNotFound(model, id, SessionEnd::kExpired, DueTime(*snapshot));
  }
  return snapshot;
}

absl::StatusOr<std::shared_ptr<Session>> EngineImpl::ClaimSession(const Snapshot& seen, std::string id,
                                                                  const std::shared_ptr<Model>& model) {
  const StoreKey key = {seen.model, id};
  const uint64_t claim = RandomBits();
  const absl::StatusOr<StoredSession> stored = options_.store->Claim(key, claim, options_.durability.owner);
  if (!stored.ok()) return stored.status();
  const absl::StatusOr<Snapshot> snapshot = ToSnapshot(*stored);
  if (!snapshot.ok()) return snapshot.status();
  // It may have gone on since it was looked at.
  const absl::StatusOr<std::shared_ptr<Model>> same = ModelFor(seen.model, *snapshot);
  if (!same.ok()) return same.status();
  if (*same != model) {
    return Unavailable("MODEL_LOADING",
                       absl::StrCat("'", SessionResource(seen.model, id), "' went on to another version"))
        .RetryAfter(absl::ZeroDuration());
  }
  absl::StatusOr<std::shared_ptr<Session>> session = SessionFrom(*snapshot, model, std::move(id), snapshot->epoch);
  if (!session.ok()) return session;
  Scheduler& scheduler = model->scheduler();
  if (seen.durability == Durability::kNone && stored->released) {
    // It was there only to be brought here; what it does now is not to be remembered.
    StoreWrite erase = MakeWrite(StoreWrite::Kind::kErase, *snapshot, claim, "", 1);
    const absl::Status erased = options_.store->Write({&erase, 1})[0];
    if (!erased.ok()) return erased;
  } else {
    scheduler.SetStored(**session, snapshot->durability, claim, true);
  }
  ++restored_;
  return session;
}

absl::StatusOr<std::shared_ptr<Session>> EngineImpl::RestoreSession(std::string_view model, std::string_view id,
                                                                    bool create_if_missing) {
  if (!has_store()) return FindOrMake(model, id, create_if_missing);
  const NameLock lock(this, model, id);
  absl::StatusOr<std::shared_ptr<Session>> session = Restore(model, id);
  if (session.ok() || !create_if_missing || !IsMissing(session.status())) return session;
  session = FindOrMake(model, id, true);
  // Another server has made it meanwhile.
  if (absl::IsAlreadyExists(session.status())) session = Restore(model, id);
  return session;
}

absl::StatusOr<std::shared_ptr<Session>> EngineImpl::Restore(std::string_view model, std::string_view id) {
  if (std::shared_ptr<Session> session = store_.Find(model, id)) return session;
  // One whose model is not served here is not taken away from where it is.
  if (absl::Status status = FindModel(model, 0).status(); !status.ok()) return status;
  const absl::StatusOr<Snapshot> seen = Peek(model, id);
  if (!seen.ok()) return seen.status();
  const absl::StatusOr<std::shared_ptr<Model>> on = ModelFor(model, *seen);
  if (!on.ok()) return on.status();
  return AddSession(
      *on, std::string(OwnerOf(id)), std::string(BareId(id)),
      [&](const std::string& key) { return ClaimSession(*seen, key, *on); },
      [](std::shared_ptr<Session> session) -> absl::StatusOr<std::shared_ptr<Session>> { return session; },
      SessionOrigin::kStore);
}

absl::StatusOr<std::shared_ptr<Session>> EngineImpl::CreateWithStore(const CreateSessionParams& params) {
  const std::string key = OwnedId(params.owner, params.id);
  const NameLock lock(this, params.model, key);
  if (params.exists_ok) {
    absl::StatusOr<std::shared_ptr<Session>> session = Restore(params.model, key);
    if (session.ok() || !IsMissing(session.status())) return session;
  } else if (store_.Find(params.model, key) == nullptr) {
    // One that is there stays where it is.
    const absl::Status status = Peek(params.model, key).status();
    if (status.ok()) return SessionExists(params.model, params.id);
    if (!IsMissing(status)) return status;
  }
  return MakeSession(params);
}

absl::Status EngineImpl::CreateInStore(Session& session, Durability durability) {
  const uint64_t claim = RandomBits();
  Scheduler& scheduler = session.model()->scheduler();
  Snapshot snapshot;
  if (absl::Status status = scheduler.TakeSnapshot(session, &snapshot); !status.ok()) return status;
  snapshot.durability = durability;
  const StoreWrite write = MakeWrite(StoreWrite::Kind::kCreate, snapshot, claim, options_.durability.owner, 1);
  absl::Status status = options_.store->Write({&write, 1})[0];
  if (status.ok()) scheduler.SetStored(session, durability, claim, true);
  return status;
}

absl::StatusOr<Snapshot> EngineImpl::Peek(std::string_view model, std::string_view id) const {
  const absl::Status gone = store_.NotFound(model, id, options_.clock->Now());
  if (!has_store()) return gone;
  absl::StatusOr<Snapshot> snapshot = ReadStored(model, id);
  if (snapshot.ok() || !IsMissing(snapshot.status())) return snapshot;
  // What this server knows of its end says more, unless that was only that it went elsewhere.
  return IsMissing(gone) && !GetCause(gone).metadata.empty() ? gone : snapshot.status();
}

absl::StatusOr<SessionInfo> EngineImpl::GetStored(std::string_view model, std::string_view id,
                                                  bool include_state) const {
  absl::StatusOr<Snapshot> snapshot = Peek(model, id);
  if (!snapshot.ok()) return snapshot.status();
  SessionInfo info = InfoOf(*snapshot);
  if (include_state) info.state = StateValues{std::move(snapshot->h), std::move(snapshot->c)};
  return info;
}

// --- Out. ---

absl::StatusOr<SessionInfo> EngineImpl::CheckpointSession(std::string_view model, std::string_view id) {
  const absl::StatusOr<std::shared_ptr<Session>> session = Living(model, id);
  if (!session.ok()) return session.status();
  if (!has_store()) {
    return FailedPrecondition("NO_STORE", "the server has no store to save sessions in; start it with --store");
  }
  if (absl::Status status = (*session)->model()->scheduler().Checkpoint(**session); !status.ok()) return status;
  return Describe(**session);
}

Handover EngineImpl::HandOver(absl::Time deadline) {
  arrivals_.Close();
  Handover result;
  if (!has_store()) return result;
  arrivals_.WaitUntilNone(deadline);
  const auto call = std::make_shared<SaveCall>();
  uint64_t asked = 0;
  for (const auto& session : store_.Collect([](const Session&) { return true; })) {
    if (!call->Wait(kHandoverWindow, deadline)) break;
    asked += session->model()->scheduler().Leave(session, call) ? 1 : 0;
  }
  call->Wait(0, deadline);
  result.saved = call->saved();
  result.left = std::max(asked, store_.size() + result.saved) - result.saved;
  result.error = call->error();
  return result;
}

}  // namespace lstmd
