// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_EVICTION_QUEUE_H_
#define LSTMD_ENGINE_EVICTION_QUEUE_H_

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/time/time.h"
#include "engine/mutex.h"
#include "engine/session.h"
#include "engine/session_store.h"

namespace lstmd {

// Which session to give up for another: of the same owner the one of least recent use, exactly, with no list to keep up
// at every step. Nobody loses a session to somebody else. A look at all sessions finds a few thousand that were used
// longest ago. Taken in that order, and passing over those that were used since, each is the least recently used of
// all, since whatever was not among them was used later, and any use is later still. Only when they are used up it
// looks again. Thread-safe; its lock is held during a look, the store's and scheduler's under it.
class EvictionQueue {
 public:
  // Closes the least recently used session that `owner` has of `model` ("-": of any) and that has nothing in flight, as
  // evicted, and returns it, to be erased from the store. nullptr: there is none.
  std::shared_ptr<Session> Next(const SessionStore& store, std::string_view model, std::string_view owner)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  static constexpr size_t kCandidates = 4096;

  struct Candidate {
    absl::Time last_used;
    std::weak_ptr<Session> session;
  };
  using Candidates = std::deque<Candidate>;  // longest unused first

  static Candidates Look(const SessionStore& store, std::string_view model, std::string_view owner);

  Mutex mutex_;
  std::map<std::pair<std::string, std::string>, Candidates> candidates_ ABSL_GUARDED_BY(mutex_);  // by model and owner
};

}  // namespace lstmd

#endif  // LSTMD_ENGINE_EVICTION_QUEUE_H_
