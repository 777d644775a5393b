// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_SESSION_H_
#define LSTMD_ENGINE_SESSION_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/backend.h"
#include "engine/batcher.h"
#include "engine/model.h"
#include "engine/replay_ring.h"
#include "engine/snapshot.h"

namespace lstmd {

using Labels = std::map<std::string, std::string>;

// How a session was lost; the metadata last_event of SESSION_NOT_FOUND.
enum class SessionEnd : uint8_t { kNone, kDeleted, kExpired, kUnloaded, kEvicted, kMoved };
// "DELETED" …, "" for kNone.
std::string_view Name(SessionEnd end);

// NOT_FOUND / SESSION_NOT_FOUND; with an end other than kNone also how and when it was lost.
absl::Status SessionNotFound(std::string_view model, std::string_view id, SessionEnd end = SessionEnd::kNone,
                             absl::Time end_time = absl::InfinitePast());
// How a session that was here and is not any more answers: UNAVAILABLE / SESSION_MOVED with owner_address where that is
// known, else ABORTED / SESSION_FENCED.
absl::Status SessionMoved(std::string_view model, std::string_view id, std::string_view owner);

// How a session stands to the store; only for one that is there, or is to be (engine/scheduler_durable.cc).
struct DurableState {
  Durability durability = Durability::kNone;
  uint64_t claim = 0;        // what its writes bring
  bool stored = false;       // the store has it
  bool tried = false;        // or may have: a write was begun
  bool all_replies = true;   // the next write brings all it has
  bool failed = false;       // the last write did
  bool asked = false;        // a save waits in the lane, or is under way
  uint64_t changes = 0;      // so far
  uint64_t saved = 0;        // of those, that are safe
  uint64_t durable_seq = 0;  // last_seq then
  std::string owner;         // who has it now, once it was fenced; "": not known
};

// What changes in a session while it lives.
struct SessionState {
  Lane lane;
  uint64_t epoch = 1;
  uint64_t last_seq = 0;
  uint64_t steps = 0;
  absl::Time last_step_time = absl::InfinitePast();
  absl::Duration idle_ttl;  // zero: never
  absl::Time expire_time = absl::InfiniteFuture();
  std::unique_ptr<Labels> labels;         // nullptr: none
  std::unique_ptr<DurableState> durable;  // nullptr: lost with the server
  absl::Time end_time;                    // once ended
  bool refuse_queued = false;             // ended by a step: what waits behind it fails too
  Residency residency = Residency::kDevice;
  bool pinned = false;      // stays on the device
  uint64_t idle_stamp = 0;  // of its valid entry among the idle ones (engine/scheduler_spill.cc)
  Turn* mover = nullptr;    // of whoever moves it out
};

std::string FormatUid(const std::array<uint64_t, 2>& uid);

// One stream of time through one model. Held by the store, by its work, and by whoever looks at it. Three kinds of
// fields, each with its own guard:
//   - const ones;
//   - `state_`: the lock of the model's scheduler (Scheduler::StateOf);
//   - `slot_`, `spilled_`, `on_disk_` and `ring_`: whoever has the session's lane, that is the work or the Turn that
//   Lane calls current.
// Kept small: there may be a million.
class Session : public std::enable_shared_from_this<Session> {
 public:
  // Takes over `slot`, in the initial state.
  Session(std::shared_ptr<Model> model, std::string id, Slot slot, absl::Time create_time);
  // Of a snapshot: its uid and time of creation. The rest is the scheduler's to set (Scheduler::Adopt).
  Session(std::shared_ptr<Model> model, std::string id, Slot slot, const Snapshot& snapshot);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const std::shared_ptr<Model>& model() const { return model_; }
  const std::string& id() const { return id_; }
  std::string uid() const;
  absl::Time create_time() const { return create_time_; }

  // kNone as long as it takes new work. Written under the scheduler's lock, once.
  SessionEnd end() const { return end_.load(std::memory_order_acquire); }
  // When it was created, made from a snapshot, or stepped last.
  absl::Time last_used() const { return absl::FromUnixNanos(used_ns_.load(std::memory_order_relaxed)); }
  // Whether it may be time to end it: cheap, to be looked at again under the lock (Scheduler::CloseIfDue).
  bool MaybeDue(absl::Time now) const { return due_ns_.load(std::memory_order_relaxed) <= absl::ToUnixNanos(now); }

 private:
  friend class Scheduler;

  // When it ends if nothing happens.
  absl::Time Due() const;

  const std::shared_ptr<Model> model_;
  const std::string id_;
  const std::array<uint64_t, 2> uid_;
  const absl::Time create_time_;
  std::atomic<SessionEnd> end_{SessionEnd::kNone};
  std::atomic<int64_t> due_ns_{INT64_MAX};
  std::atomic<int64_t> used_ns_;
  SessionState state_;
  Slot slot_;            // kNoSlot: it is off the device
  std::string spilled_;  // its state then, EncodeSnapshot; empty where on_disk_
  bool on_disk_ = false;
  std::unique_ptr<ReplayRing> ring_;  // made with the first sequenced step
};

}  // namespace lstmd

#endif  // LSTMD_ENGINE_SESSION_H_
