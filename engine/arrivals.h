// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_ARRIVALS_H_
#define LSTMD_ENGINE_ARRIVALS_H_

#include <algorithm>
#include <cstdint>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/mutex.h"

namespace lstmd {

// Sessions on their way into the engine, so that whoever empties it misses none: one that was taken out of the store
// and is not yet among the living ones would be in neither. Thread-safe; its lock is a leaf.
class Arrivals {
 public:
  // Holds the door open while it lives, if it was open.
  class Pass {
   public:
    explicit Pass(Arrivals* arrivals) : arrivals_(*arrivals), granted_(arrivals_.Enter()) {}
    ~Pass() {
      if (granted_) arrivals_.Leave();
    }
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
    bool granted() const { return granted_; }

   private:
    Arrivals& arrivals_;
    const bool granted_;
  };

  // No pass is granted from now on.
  void Close() {
    MutexLock lock(&mutex_);
    closed_ = true;
  }
  // Whether all passes that were granted are back by then.
  bool WaitUntilNone(absl::Time deadline) {
    MutexLock lock(&mutex_);
    while (passes_ != 0) {
      const absl::Duration left = deadline - absl::Now();
      if (left <= absl::ZeroDuration()) return false;
      none_.WaitFor(&mutex_, std::min(left, absl::Hours(1)));
    }
    return true;
  }

 private:
  bool Enter() {
    MutexLock lock(&mutex_);
    if (closed_) return false;
    ++passes_;
    return true;
  }
  void Leave() {
    MutexLock lock(&mutex_);
    if (--passes_ == 0) none_.SignalAll();
  }

  Mutex mutex_;
  CondVar none_;
  uint64_t passes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace lstmd

#endif  // LSTMD_ENGINE_ARRIVALS_H_
