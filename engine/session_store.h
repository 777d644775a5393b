// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_SESSION_STORE_H_
#define LSTMD_ENGINE_SESSION_STORE_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/mutex.h"
#include "engine/session.h"
#include "engine/session_events.h"

namespace lstmd {

// What a session counts for.
struct SessionShare {
  std::string_view model;
  std::string_view owner;  // "": none
  uint64_t state_bytes = 0;
};

// Where a session that comes into the engine comes from.
enum class SessionOrigin : uint8_t {
  kNew,    // a client made it: only on a version that serves new ones
  kCopy,   // a fork or an import: it goes on where it was, on a retired version too
  kStore,  // restored: it was there all the time
};

// The living sessions by name, and how the lost ones ended. Thread-safe; its locks are leaves: nothing is called under
// them but Session and Model accessors that take none or Model's own.
class SessionStore {
 public:
  // `events` hears of every session that comes and goes; outlives the store.
  SessionStore(const SessionOptions& options, SessionEvents* events) : options_(options), events_(*events) {}

  // nullptr when there is none that takes work.
  std::shared_ptr<Session> Find(std::string_view model, std::string_view id) const;
  // SESSION_NOT_FOUND, with how it was lost as far as that is still known.
  absl::Status NotFound(std::string_view model, std::string_view id, absl::Time now) const;
  // OK, or SESSION_MOVED / SESSION_FENCED when it was found to be another server's since `time`.
  absl::Status MovedSince(std::string_view model, std::string_view id, absl::Time time) const;

  // Counts one more session, to be followed by Insert or Unreserve. RESOURCE_EXHAUSTED / SESSION_LIMIT, or QUOTA where
  // its owner has as much as it may. *full is then the model whose bound is reached, "-" where it is the server's, ""
  // where it is the owner's.
  absl::Status Reserve(const SessionShare& share, std::string* full);
  void Unreserve(const SessionShare& share);
  // Tells that it is here, as created or restored. Returns `session`, or the living one that has its name. REQUIRES:
  // reserved, and counted by its model; an insert that fails leaves both to the caller.
  std::shared_ptr<Session> Insert(std::shared_ptr<Session> session, SessionOrigin origin = SessionOrigin::kNew);
  // Forgets a session that has ended, keeps how, and tells it. `detail`: of one that moved the address of its owner, ""
  // if not known; else for people why it ended. Again or unknown: nothing.
  void Erase(const Session& session, SessionEnd end, absl::Time now, std::string_view detail = "");

  // Up to `limit` sessions of `owner` by (model, id) after the key; of `model` only, "-": of all.
  using Key = std::pair<std::string_view, std::string_view>;
  std::vector<std::shared_ptr<Session>> List(std::string_view model, std::string_view owner, Key after,
                                             size_t limit) const;
  // Calls `look` with every session, under a lock.
  void ForEach(absl::FunctionRef<void(const std::shared_ptr<Session>&)> look) const;
  // Every session for which `want` holds.
  std::vector<std::shared_ptr<Session>> Collect(const std::function<bool(const Session&)>& want) const;
  uint64_t size() const { return count_.load(std::memory_order_relaxed); }

 private:
  struct Shard {
    mutable Mutex mutex;
    // Keys point into the sessions. The hash for the way of a request, the tree for lists.
    absl::flat_hash_map<Key, std::shared_ptr<Session>> by_name ABSL_GUARDED_BY(mutex);
    absl::btree_map<Key, Session*> in_order ABSL_GUARDED_BY(mutex);
  };
  struct Tombstone {
    SessionEnd end;
    absl::Time time;
    std::string owner;
  };

  struct Used {
    uint64_t sessions = 0;
    uint64_t state_bytes = 0;
  };

  Shard& ShardOf(Key key) const;
  void Release(const Session& session);
  void Bury(const Session& session, SessionEnd end, absl::Time now, std::string_view owner);

  const SessionOptions options_;
  SessionEvents& events_;
  mutable std::array<Shard, 16> shards_;
  std::atomic<uint64_t> count_{0};

  Mutex shares_mutex_;
  std::map<std::string, uint64_t, std::less<>> of_models_ ABSL_GUARDED_BY(shares_mutex_);  // those that have any
  absl::flat_hash_map<std::string, Used> of_owners_ ABSL_GUARDED_BY(shares_mutex_);        // likewise

  mutable Mutex tombstones_mutex_;
  absl::flat_hash_map<std::string, Tombstone> tombstones_ ABSL_GUARDED_BY(tombstones_mutex_);
  // In order of time, to drop the oldest. A name may stand more than once: the time tells which is current.
  std::deque<std::pair<std::string, absl::Time>> burials_ ABSL_GUARDED_BY(tombstones_mutex_);
};

}  // namespace lstmd

#endif  // LSTMD_ENGINE_SESSION_STORE_H_
