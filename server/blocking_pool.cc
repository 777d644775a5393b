// SPDX-License-Identifier: Apache-2.0
#include "server/blocking_pool.h"

#include <utility>

namespace lstmd::server {

BlockingPool::BlockingPool(int threads, size_t max_queued) : max_queued_(max_queued) {
  threads_.reserve(static_cast<size_t>(threads));
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

BlockingPool::~BlockingPool() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  wake_.SignalAll();
  for (std::thread& thread : threads_) thread.join();
}

bool BlockingPool::Run(std::function<void()> job) {
  {
    MutexLock lock(&mutex_);
    if (stopping_ || jobs_.size() >= max_queued_) return false;
    jobs_.push_back(std::move(job));
  }
  wake_.Signal();
  return true;
}

size_t BlockingPool::queued() const {
  MutexLock lock(&mutex_);
  return jobs_.size();
}

void BlockingPool::Work() {
  while (true) {
    std::function<void()> job;
    {
      MutexLock lock(&mutex_);
      while (jobs_.empty() && !stopping_) wake_.Wait(&mutex_);
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

}  // namespace lstmd::server
