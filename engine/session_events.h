// SPDX-License-Identifier: Apache-2.0
//
// What happens to sessions, told to those who watch. An event goes into the bounded buffer of each watch that wants it;
// a thread of the hub then calls the watch's owner, who takes the events out. So nobody who makes events ever waits for
// somebody who reads them, and one who reads too slowly costs a bounded buffer and is told what it missed.
#ifndef LSTMD_ENGINE_SESSION_EVENTS_H_
#define LSTMD_ENGINE_SESSION_EVENTS_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/time/time.h"
#include "engine/clock.h"
#include "engine/mutex.h"

namespace lstmd {

class Session;        // engine/session.h
class SessionEvents;  // below

enum class SessionEventKind : uint8_t {
  kCreated,
  kDeleted,
  kExpired,
  kEvicted,
  kUnloaded,
  kMoved,
  kSpilled,
  kRestored,
  kMissed,  // made by a watch alone: SessionEvent::missed events were dropped here
};
// Whether the session takes no more work here.
bool IsEnd(SessionEventKind kind);

struct SessionEvent {
  SessionEventKind kind = SessionEventKind::kCreated;
  std::string model;  // "sunspots"; this and the next two are empty for kMissed
  std::string id;
  std::string uid;
  std::string reason;  // for people, may be empty
  absl::Time time;
  uint64_t missed = 0;  // kMissed
};

// One who watches: all sessions for which a filter holds, and ends of single sessions that it follows. Thread-safe. Its
// hub must outlive it.
class SessionWatch {
 public:
  // When it returns `wake` does not run and will not run again, unless it is `wake` that destroys it.
  ~SessionWatch();
  SessionWatch(const SessionWatch&) = delete;
  SessionWatch& operator=(const SessionWatch&) = delete;

  // The ends of `session` from now on, whatever the filter; each is told once, however often it is followed. Each
  // Follow wants its Unfollow. REQUIRES: `session` lives until then, or until the end of the watch.
  void Follow(const Session& session);
  void Unfollow(const Session& session);

  // Takes up to `limit` events out, oldest first. Empty: there are none, and `wake` will be called when there are.
  std::vector<SessionEvent> Take(size_t limit);

 private:
  friend class SessionEvents;
  using Filter = std::function<bool(const Session&, SessionEventKind)>;

  SessionWatch(SessionEvents* hub, Filter filter, size_t capacity, std::function<void()> wake)
      : hub_(*hub), filter_(std::move(filter)), capacity_(capacity), wake_(std::move(wake)) {}

  SessionEvents& hub_;
  const Filter filter_;
  const size_t capacity_;
  const std::function<void()> wake_;
  // Guarded by the hub's lock.
  absl::flat_hash_map<const Session*, uint32_t> followed_;
  std::deque<SessionEvent> events_;
  uint64_t missed_ = 0;  // after the last of events_
  bool waking_ = false;  // in the hub's list, or events_ has not been emptied since
};

// The hub. Thread-safe; its lock is a leaf, so events may be made under any other.
class SessionEvents {
 public:
  explicit SessionEvents(Clock* clock) : clock_(clock) {}
  // REQUIRES: all watches are gone.
  ~SessionEvents();

  // Tells all whom it concerns, in the order of the calls. Costs one load while nobody watches.
  void Emit(const Session& session, SessionEventKind kind, std::string_view reason = "");

  // `filter`: which events are wanted, called under the hub's lock; nullptr: only of sessions that are followed.
  // `capacity`: of the buffer; events above it are dropped until it has been emptied, and their number is the next
  // event. `wake`: called on the hub's thread, without locks, when there is something to take; must not block.
  std::unique_ptr<SessionWatch> Watch(SessionWatch::Filter filter, size_t capacity, std::function<void()> wake);

 private:
  friend class SessionWatch;

  void Add(SessionWatch* watch, const SessionEvent& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Loop();

  Clock* const clock_;
  std::atomic<uint64_t> watches_{0};
  Mutex mutex_;
  CondVar wake_;
  CondVar woken_;
  std::vector<SessionWatch*> filtering_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<const Session*, absl::InlinedVector<SessionWatch*, 1>> following_ ABSL_GUARDED_BY(mutex_);
  std::deque<SessionWatch*> to_wake_ ABSL_GUARDED_BY(mutex_);
  SessionWatch* being_woken_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_ ABSL_GUARDED_BY(mutex_);  // started with the first watch
};

}  // namespace lstmd

#endif  // LSTMD_ENGINE_SESSION_EVENTS_H_
