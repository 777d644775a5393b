// SPDX-License-Identifier: Apache-2.0
#include "engine/session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "engine/engine.h"
#include "engine/errors.h"
#include "engine/names.h"
#include "engine/random_bits.h"

namespace lstmd {

std::string_view Name(SessionEnd end) {
  switch (end) {
    case SessionEnd::kNone:
      return "";
    case SessionEnd::kDeleted:
      return "DELETED";
    case SessionEnd::kExpired:
      return "EXPIRED";
    case SessionEnd::kUnloaded:
      return "UNLOADED";
    case SessionEnd::kEvicted:
      return "EVICTED";
    case SessionEnd::kMoved:
      return "MOVED";
  }
  return "";
}

absl::Status SessionNotFound(std::string_view model, std::string_view id, SessionEnd end, absl::Time end_time) {
  const std::string name = SessionResource(model, id);
  if (end == SessionEnd::kNone) {
    return NotFound("SESSION_NOT_FOUND", absl::StrCat("there is no session '", name, "'")).Resource(name);
  }
  const char* const how = end == SessionEnd::kDeleted    ? "was deleted"
                          : end == SessionEnd::kExpired  ? "expired"
                          : end == SessionEnd::kUnloaded ? "ended when its model was unloaded"
                          : end == SessionEnd::kEvicted  ? "was evicted to make room for another"
                                                         : "moved to another server";
  const std::string when = absl::FormatTime(absl::RFC3339_full, end_time, absl::UTCTimeZone());
  return NotFound("SESSION_NOT_FOUND", absl::StrCat("session '", name, "' ", how, " at ", when))
      .Resource(name)
      .With("last_event", Name(end))
      .With("last_event_time", when);
}

absl::Status SessionMoved(std::string_view model, std::string_view id, std::string_view owner) {
  const std::string name = SessionResource(model, id);
  if (owner.empty()) {
    return Error(absl::StatusCode::kAborted, "SESSION_FENCED",
                 absl::StrCat("session '", name, "' was taken over by another server, or ended there"))
        .Resource(name);
  }
  const std::string address(owner);
  return Unavailable("SESSION_MOVED", absl::StrCat("session '", name, "' is at ", address, " now"))
      .Resource(name)
      .With("owner_address", address)
      .RetryAfter(absl::ZeroDuration());
}

Session::Session(std::shared_ptr<Model> model, std::string id, Slot slot, absl::Time create_time)
    : model_(std::move(model)),
      id_(std::move(id)),
      uid_{RandomBits(), RandomBits()},
      create_time_(create_time),
      used_ns_(absl::ToUnixNanos(create_time)),
      slot_(slot) {
  ++model_->spill_space()->resident;
}

Session::Session(std::shared_ptr<Model> model, std::string id, Slot slot, const Snapshot& snapshot)
    : model_(std::move(model)),
      id_(std::move(id)),
      uid_(snapshot.uid),
      create_time_(snapshot.create_time),
      used_ns_(absl::ToUnixNanos(snapshot.create_time)),
      slot_(slot) {
  ++model_->spill_space()->resident;
}

Session::~Session() {
  SpillSpace& space = *model_->spill_space();
  if (slot_ != kNoSlot) {
    model_->pool().Free(slot_);
    --space.resident;
  } else if (on_disk_) {
    space.folder->Erase(uid_);
    --space.disk;
  } else {
    space.host_bytes -= static_cast<int64_t>(spilled_.capacity());
    --space.host;
  }
}

std::string FormatUid(const std::array<uint64_t, 2>& uid) { return absl::StrFormat("%016x%016x", uid[0], uid[1]); }

std::string Session::uid() const { return FormatUid(uid_); }

absl::Time Session::Due() const {
  absl::Time due = state_.expire_time;
  if (state_.idle_ttl > absl::ZeroDuration()) {
    due = std::min(due, last_used() + state_.idle_ttl);
  }
  return due;
}

const Model& ModelOf(const Session& session) { return *session.model(); }
const std::string& IdOf(const Session& session) { return session.id(); }

absl::Status LivingOr(const Session& session) {
  const SessionEnd end = session.end();
  if (end == SessionEnd::kNone) return absl::OkStatus();
  return SessionNotFound(session.model()->name(), session.id(), end, absl::Now());
}

}  // namespace lstmd
