// SPDX-License-Identifier: Apache-2.0
#include "engine/interval_thread.h"

#include <utility>

namespace lstmd {

IntervalThread::IntervalThread(absl::Duration first, std::function<absl::Duration()> look)
    : look_(std::move(look)), thread_([this, first] { Run(first); }) {}

IntervalThread::~IntervalThread() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  stop_.Signal();
  thread_.join();
}

void IntervalThread::Run(absl::Duration wait) {
  for (;; wait = look_()) {
    MutexLock lock(&mutex_);
    if (!stopping_) stop_.WaitFor(&mutex_, wait);
    if (stopping_) return;
  }
}

}  // namespace lstmd
