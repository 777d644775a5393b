// SPDX-License-Identifier: Apache-2.0
//
// A few threads for engine calls that wait for a device or a disk: gRPC's own threads must never block.
#ifndef LSTMD_SERVER_BLOCKING_POOL_H_
#define LSTMD_SERVER_BLOCKING_POOL_H_

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "engine/mutex.h"

namespace lstmd::server {

// Thread-safe.
class BlockingPool {
 public:
  // `max_queued` jobs may wait.
  BlockingPool(int threads, size_t max_queued);
  // Runs what is queued, then joins.
  ~BlockingPool();
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;

  // False when the queue is full; the job is then not run.
  [[nodiscard]] bool Run(std::function<void()> job);
  // Jobs that wait for a thread.
  size_t queued() const;

 private:
  void Work();

  const size_t max_queued_;
  mutable Mutex mutex_;
  CondVar wake_;
  std::deque<std::function<void()>> jobs_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_BLOCKING_POOL_H_
