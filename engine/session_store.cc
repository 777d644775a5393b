// SPDX-License-Identifier: Apache-2.0
#include "engine/session_store.h"

#include <algorithm>
#include <optional>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "engine/names.h"

namespace lstmd {
namespace {

// Greater than every key: those begin with a letter or digit.
constexpr std::string_view kAfterIds = "{";

SessionStore::Key KeyOf(const Session& session) { return {session.model()->name(), session.id()}; }

std::string TombstoneOf(std::string_view model, std::string_view id) {
  return std::string(model).append(1, '/').append(id);
}

absl::Status OverQuota(std::string_view owner, std::string_view bound, std::string_view what, uint64_t limit) {
  const absl::string_view tenant(owner.data(), owner.size());
  const absl::string_view kind(what.data(), what.size());
  return ResourceExhausted("QUOTA", absl::StrCat("tenant '", tenant, "' may have at most ", limit, " ", kind))
      .Quota(absl::StrCat("tenant:", tenant))
      .With("bound", bound)
      .RetryAfter(absl::Seconds(1))
      .With("limit", absl::StrCat(limit));
}

absl::Status ModelFull(std::string_view model, uint64_t limit) {
  const std::string name = ModelResource(model);
  return ResourceExhausted("SESSION_LIMIT",
                           absl::StrCat("'", name, "' has ", limit, " sessions, as many as the server is set to"))
      .Quota(name)
      .Resource(name)
      .RetryAfter(absl::Seconds(1))
      .With("limit", absl::StrCat(limit));
}

SessionEventKind EventOf(SessionEnd end) {
  switch (end) {
    case SessionEnd::kExpired:
      return SessionEventKind::kExpired;
    case SessionEnd::kUnloaded:
      return SessionEventKind::kUnloaded;
    case SessionEnd::kEvicted:
      return SessionEventKind::kEvicted;
    case SessionEnd::kMoved:
      return SessionEventKind::kMoved;
    case SessionEnd::kDeleted:
    case SessionEnd::kNone:
      break;
  }
  return SessionEventKind::kDeleted;
}

}  // namespace

SessionStore::Shard& SessionStore::ShardOf(Key key) const { return shards_[absl::Hash<Key>()(key) % shards_.size()]; }

std::shared_ptr<Session> SessionStore::Find(std::string_view model, std::string_view id) const {
  const Key key(model, id);
  Shard& shard = ShardOf(key);
  MutexLock lock(&shard.mutex);
  const auto it = shard.by_name.find(key);
  if (it == shard.by_name.end() || it->second->end() != SessionEnd::kNone) return nullptr;
  return it->second;
}

absl::Status SessionStore::NotFound(std::string_view model, std::string_view id, absl::Time now) const {
  {
    // Between its end and Erase a session is its own tombstone.
    const Key key(model, id);
    Shard& shard = ShardOf(key);
    MutexLock lock(&shard.mutex);
    const auto it = shard.by_name.find(key);
    if (it != shard.by_name.end() && it->second->end() != SessionEnd::kNone) {
      const SessionEnd end = it->second->end();
      return end == SessionEnd::kMoved ? SessionMoved(model, id, "") : SessionNotFound(model, id, end, now);
    }
  }
  MutexLock lock(&tombstones_mutex_);
  const auto it = tombstones_.find(TombstoneOf(model, id));
  if (it == tombstones_.end() || it->second.time + options_.tombstone_ttl <= now) return SessionNotFound(model, id);
  if (it->second.end == SessionEnd::kMoved) return SessionMoved(model, id, it->second.owner);
  return SessionNotFound(model, id, it->second.end, it->second.time);
}

absl::Status SessionStore::MovedSince(std::string_view model, std::string_view id, absl::Time time) const {
  MutexLock lock(&tombstones_mutex_);
  const auto it = tombstones_.find(TombstoneOf(model, id));
  if (it == tombstones_.end() || it->second.end != SessionEnd::kMoved || it->second.time < time) {
    return absl::OkStatus();
  }
  return SessionMoved(model, id, it->second.owner);
}

absl::Status SessionStore::Reserve(const SessionShare& share, std::string* full) {
  full->clear();
  const auto own = options_.max_sessions_of_model.find(share.model);
  const uint64_t model_limit =
      own != options_.max_sessions_of_model.end() ? own->second : options_.max_sessions_per_model;
  const OwnerQuota quota = !share.owner.empty() && options_.quota_of ? options_.quota_of(share.owner) : OwnerQuota();
  {
    MutexLock lock(&shares_mutex_);
    const auto of_model = of_models_.find(share.model);
    if ((of_model == of_models_.end() ? 0 : of_model->second) >= model_limit) {
      *full = share.model;
      return ModelFull(share.model, model_limit);
    }
    if (!share.owner.empty()) {
      Used& used = of_owners_[std::string(share.owner)];
      if (used.sessions >= quota.max_sessions)
        return OverQuota(share.owner, "sessions", "sessions", quota.max_sessions);
      if (used.state_bytes + share.state_bytes > quota.max_state_bytes) {
        return OverQuota(share.owner, "state_bytes", "bytes of state in its sessions", quota.max_state_bytes);
      }
      used.sessions += 1;
      used.state_bytes += share.state_bytes;
    }
    if (of_model == of_models_.end()) {
      of_models_.emplace(share.model, 1);
    } else {
      ++of_model->second;
    }
  }
  if (count_.fetch_add(1, std::memory_order_relaxed) < options_.max_sessions) return absl::OkStatus();
  Unreserve(share);
  *full = "-";
  return ResourceExhausted("SESSION_LIMIT", absl::StrCat("the server holds ", options_.max_sessions,
                                                         " sessions, as many as it is set to"))
      .Quota("sessions")
      .RetryAfter(absl::Seconds(1))
      .With("limit", absl::StrCat(options_.max_sessions));
}

void SessionStore::Unreserve(const SessionShare& share) {
  count_.fetch_sub(1, std::memory_order_relaxed);
  MutexLock lock(&shares_mutex_);
  const auto of_model = of_models_.find(share.model);
  if (--of_model->second == 0) of_models_.erase(of_model);
  if (share.owner.empty()) return;
  const auto of_owner = of_owners_.find(std::string(share.owner));
  of_owner->second.sessions -= 1;
  of_owner->second.state_bytes -= share.state_bytes;
  if (of_owner->second.sessions == 0) of_owners_.erase(of_owner);
}

void SessionStore::Release(const Session& session) {
  Model& model = *session.model();
  Unreserve({model.name(), OwnerOf(session.id()), model.pool().slot_bytes()});
  model.RemoveSession();
  model.counters().sessions_ended[static_cast<size_t>(session.end())].Add();
}

std::shared_ptr<Session> SessionStore::Insert(std::shared_ptr<Session> session, SessionOrigin origin) {
  const Key key = KeyOf(*session);
  Shard& shard = ShardOf(key);
  std::shared_ptr<Session> replaced;  // goes after the lock
  {
    MutexLock lock(&shard.mutex);
    const auto it = shard.by_name.find(key);
    if (it != shard.by_name.end()) {
      if (it->second->end() == SessionEnd::kNone) return it->second;
      replaced = std::move(it->second);
      events_.Emit(*replaced, EventOf(replaced->end()));
      // The old keys point into the session that goes.
      shard.in_order.erase(key);
      shard.by_name.erase(it);
    }
    shard.in_order.emplace(key, session.get());
    shard.by_name.emplace(key, session);
    if (origin == SessionOrigin::kStore) {
      events_.Emit(*session, SessionEventKind::kRestored, "from the store");
    } else {
      events_.Emit(*session, SessionEventKind::kCreated);
    }
  }
  if (origin != SessionOrigin::kStore) session->model()->counters().sessions_created.Add();
  if (replaced != nullptr) Release(*replaced);
  return session;
}

void SessionStore::Erase(const Session& session, SessionEnd end, absl::Time now, std::string_view detail) {
  const Key key = KeyOf(session);
  Shard& shard = ShardOf(key);
  std::shared_ptr<Session> erased;
  {
    MutexLock lock(&shard.mutex);
    const auto it = shard.by_name.find(key);
    if (it == shard.by_name.end() || it->second.get() != &session) return;
    // Before the name is free: one that was lost is never one that never was.
    Bury(session, end, now, end == SessionEnd::kMoved ? detail : "");
    events_.Emit(session, EventOf(end), detail);
    erased = std::move(it->second);
    shard.in_order.erase(key);
    shard.by_name.erase(it);
  }
  Release(*erased);
}

void SessionStore::Bury(const Session& session, SessionEnd end, absl::Time now, std::string_view owner) {
  std::string name = TombstoneOf(session.model()->name(), session.id());
  MutexLock lock(&tombstones_mutex_);
  tombstones_.insert_or_assign(name, Tombstone{end, now, std::string(owner)});
  burials_.emplace_back(std::move(name), now);
  while (!burials_.empty() &&
         (burials_.size() > options_.max_tombstones || burials_.front().second + options_.tombstone_ttl <= now)) {
    const auto it = tombstones_.find(burials_.front().first);
    if (it != tombstones_.end() && it->second.time == burials_.front().second) tombstones_.erase(it);
    burials_.pop_front();
  }
}

std::vector<std::shared_ptr<Session>> SessionStore::List(std::string_view model, std::string_view owner, Key after,
                                                         size_t limit) const {
  const bool all = model == "-";
  if (!all && after < Key(model, "")) after = Key(model, "");
  // Keys of an owner stand together in each model: from "owner:" to below "owner;".
  const std::string first = OwnedId(owner, "");
  const std::string beyond = owner.empty() ? std::string(kAfterIds) : std::string(owner) + ';';
  // Names are spread evenly, so a little more than an even share of each shard is enough, or nearly so. Where a shard
  // has more, nothing after the last one taken from it may be answered yet.
  const size_t share = 2 * limit / shards_.size() + 8;
  std::vector<std::shared_ptr<Session>> found;
  std::vector<std::shared_ptr<Session>> round;  // keeps alive what `after` points to
  bool more = true;
  while (more && found.size() < limit) {
    std::vector<std::shared_ptr<Session>> next;
    std::optional<Key> bound;
    for (const Shard& shard : shards_) {
      MutexLock lock(&shard.mutex);
      size_t taken = 0;
      auto it = shard.in_order.upper_bound(after);
      while (it != shard.in_order.end()) {
        const auto [of_model, id] = it->first;
        if (!all && of_model != model) break;
        if (id < first) {
          it = shard.in_order.lower_bound(Key(of_model, first));
          continue;
        }
        if (id >= beyond) {
          it = shard.in_order.upper_bound(Key(of_model, kAfterIds));
          continue;
        }
        if (OwnerOf(id) != owner) {
          ++it;
          continue;
        }
        if (taken == share) {
          const Key last = KeyOf(*next.back());
          bound = bound ? std::min(*bound, last) : last;
          break;
        }
        next.push_back(shard.by_name.find(it->first)->second);
        ++taken;
        ++it;
      }
    }
    std::sort(next.begin(), next.end(), [](const auto& a, const auto& b) { return KeyOf(*a) < KeyOf(*b); });
    for (const std::shared_ptr<Session>& session : next) {
      if (bound && KeyOf(*session) > *bound) break;
      if (session->end() == SessionEnd::kNone) found.push_back(session);
    }
    more = bound.has_value();
    if (more) after = *bound;
    round = std::move(next);
  }
  if (found.size() > limit) found.resize(limit);
  return found;
}

void SessionStore::ForEach(absl::FunctionRef<void(const std::shared_ptr<Session>&)> look) const {
  for (const Shard& shard : shards_) {
    MutexLock lock(&shard.mutex);
    for (const auto& [key, session] : shard.by_name) look(session);
  }
}

std::vector<std::shared_ptr<Session>> SessionStore::Collect(const std::function<bool(const Session&)>& want) const {
  std::vector<std::shared_ptr<Session>> found;
  ForEach([&](const std::shared_ptr<Session>& session) {
    if (want(*session)) found.push_back(session);
  });
  return found;
}

}  // namespace lstmd
