// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_INTERVAL_THREAD_H_
#define LSTMD_ENGINE_INTERVAL_THREAD_H_

#include <functional>
#include <thread>

#include "absl/time/time.h"
#include "engine/mutex.h"

namespace lstmd {

// A thread that looks after something now and then. As a member it stands last: its calls use the others.
class IntervalThread {
 public:
  // Calls `look` after `first`, and again each time after as long as it has answered.
  IntervalThread(absl::Duration first, std::function<absl::Duration()> look);
  // Waits for a call that is under way.
  ~IntervalThread();
  IntervalThread(const IntervalThread&) = delete;
  IntervalThread& operator=(const IntervalThread&) = delete;

 private:
  void Run(absl::Duration wait);

  const std::function<absl::Duration()> look_;
  Mutex mutex_;
  CondVar stop_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace lstmd

#endif  // LSTMD_ENGINE_INTERVAL_THREAD_H_
