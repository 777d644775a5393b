// SPDX-License-Identifier: Apache-2.0
#include "engine/store/state_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "engine/names.h"

namespace lstmd {

StoreWrite MakeWrite(StoreWrite::Kind kind, const Snapshot& snapshot, uint64_t claim, std::string_view owner,
                     uint32_t ring) {
  StoreWrite write;
  write.kind = kind;
  write.key = {snapshot.model, snapshot.id};
  write.claim = claim;
  write.epoch = snapshot.epoch;
  write.owner = owner;
  if (kind == StoreWrite::Kind::kErase) return write;
  write.due = DueTime(snapshot);
  Snapshot head = snapshot;
  head.replies.clear();
  write.head = EncodeSnapshot(head);
  for (const Reply& reply : snapshot.replies) {
    write.replies.push_back({static_cast<uint32_t>(reply.seq % ring), EncodeReply(reply)});
  }
  return write;
}

absl::StatusOr<Snapshot> ToSnapshot(const StoredSession& stored) {
  absl::StatusOr<Snapshot> snapshot = DecodeSnapshot(stored.head);
  if (!snapshot.ok()) return snapshot;
  snapshot->epoch = stored.epoch;
  std::vector<Reply> replies;
  for (const StoredReply& one : stored.replies) {
    absl::StatusOr<Reply> reply = DecodeReply(one.bytes);
    if (!reply.ok()) return reply.status();
    replies.push_back(*std::move(reply));
  }
  // Of what is there, the run that ends with the last step: places may hold older ones.
  std::sort(replies.begin(), replies.end(), [](const Reply& a, const Reply& b) { return a.seq > b.seq; });
  uint64_t want = snapshot->last_seq;
  for (Reply& reply : replies) {
    if (reply.seq != want) continue;
    snapshot->replies.push_back(std::move(reply));
    --want;
  }
  std::reverse(snapshot->replies.begin(), snapshot->replies.end());
  return snapshot;
}

absl::Status StoreUnavailable(std::string_view message, absl::Duration retry_after) {
  return Unavailable("STORE_UNAVAILABLE", message).RetryAfter(retry_after);
}

absl::Status StoreFull(std::string_view message, absl::Duration retry_after) {
  return ResourceExhausted("STORE_FULL", message).RetryAfter(retry_after).Quota("store");
}

absl::Status StoreFenced(const StoreKey& key, std::string_view owner) {
  const std::string name = SessionResource(key.model, key.id);
  const std::string where = owner.empty() ? "elsewhere" : absl::StrCat("by ", std::string(owner));
  Error error(absl::StatusCode::kAborted, "SESSION_FENCED", absl::StrCat("'", name, "' was taken over ", where));
  error.Resource(name);
  if (!owner.empty()) error.With("owner_address", owner);
  return error;
}

absl::Status StoreExists(const StoreKey& key) {
  const std::string name = SessionResource(key.model, key.id);
  return AlreadyExists("SESSION_EXISTS", absl::StrCat("the store has a session '", name, "'")).Resource(name);
}

absl::Status StoreNotFound(const StoreKey& key) {
  const std::string name = SessionResource(key.model, key.id);
  return NotFound("SESSION_NOT_FOUND", absl::StrCat("the store has no session '", name, "'")).Resource(name);
}

}  // namespace lstmd
