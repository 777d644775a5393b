// SPDX-License-Identifier: Apache-2.0
//
// Checkpointer: the thread between the schedulers and the store. What asks to be saved while one group of writes is
// under way goes with the next, so load makes groups, as it makes batches. All writes of sessions that live here go
// through it, one group after the other: a later state of a session is never overtaken by an earlier one.
#ifndef LSTMD_ENGINE_CHECKPOINTER_H_
#define LSTMD_ENGINE_CHECKPOINTER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "engine/clock.h"
#include "engine/mutex.h"
#include "engine/session.h"
#include "engine/store/state_store.h"
#include "engine/work.h"

namespace lstmd {

class Scheduler;

// A caller that waits for saves: one or many.
class SaveCall {
 public:
  void Begin() ABSL_LOCKS_EXCLUDED(mutex_);
  void End(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);
  // Until at most `pending` of those begun have not ended. False: `deadline` came first. The clock is the machine's.
  bool Wait(uint64_t pending, absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);
  // Of those that ended: how many were OK, and the last error.
  uint64_t saved() const ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status error() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  mutable Mutex mutex_;
  CondVar ended_;
  uint64_t pending_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t saved_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
};

// One session on its way to the store.
struct Save {
  enum class Kind : uint8_t {
    kReply,   // `work` is done and has the session; its reply waits
    kBefore,  // `work` has the session, and may run when what came before it is safe
    kGap,     // `work` has the session, and is ahead of it: whether the session is still ours
    kCopy,    // a place in the lane was reached: it is given back as soon as the state is copied
    kLeave,   // same: the session is given up here, for whoever claims it
    kErase,   // same: the session has ended
    kCall,    // a caller has the session, and waits
  };
  Kind kind = Kind::kCopy;
  std::shared_ptr<Session> session;
  Work* work = nullptr;            // kReply, kBefore, kGap
  Turn* turn = nullptr;            // kCopy, kLeave, kErase: the place, owned
  std::shared_ptr<SaveCall> call;  // who waits, if somebody does
  bool erase = false;              // out of the store, not into it

  // Filled in by Scheduler::BeginSave.
  absl::Status status;
  StoreWrite write;
  uint64_t epoch = 0;
  uint64_t last_seq = 0;
  uint64_t changes = 0;
};

struct CheckpointStats {
  uint64_t groups = 0;
  uint64_t saves = 0;     // in them, that were OK
  uint64_t failures = 0;  // that were not
  uint64_t waiting = 0;
  absl::Duration last_group;  // time that the store took
  absl::Duration oldest;      // at most so long has one waited or been under way
};

// Thread-safe.
class Checkpointer {
 public:
  // What the thread does besides: called before it waits, with the time; returns when it wants to be called again.
  using Ask = std::function<absl::Time(absl::Time now)>;

  Checkpointer(std::shared_ptr<StateStore> store, Clock* clock, Ask ask);
  // What has not been written then never is: its work ends with UNAVAILABLE / DRAINING. The schedulers have stopped,
  // and still are there.
  ~Checkpointer();

  // Takes it on. Its lock is a leaf: may be called under any other.
  void Push(Save save) ABSL_LOCKS_EXCLUDED(mutex_);
  // Has `ask` called again.
  void Wake() ABSL_LOCKS_EXCLUDED(mutex_);

  CheckpointStats stats() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // Bounds the time of a group, and with it what a step waits for.
  static constexpr size_t kGroup = 1024;

  void Loop();
  void WriteGroup(std::vector<Save>& group);
  static void EndGroup(std::vector<Save>& group);

  const std::shared_ptr<StateStore> store_;
  Clock* const clock_;
  const Ask ask_;
  mutable Mutex mutex_;
  CondVar wake_;
  std::vector<Save> queue_ ABSL_GUARDED_BY(mutex_);
  // Since when something has waited, and the oldest of the group under way has. InfiniteFuture: nothing.
  absl::Time queued_since_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  absl::Time group_since_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  bool ask_again_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  CheckpointStats stats_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;  // last: it uses all the others
};

}  // namespace lstmd

#endif  // LSTMD_ENGINE_CHECKPOINTER_H_
