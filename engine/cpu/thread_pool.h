// SPDX-License-Identifier: Apache-2.0
//
// Threads that split the panels of one step. A step takes microseconds, so the threads meet without sleeping: helpers
// spin for a short while after a job before they sleep, and the caller never waits for one that has not come. Work is
// claimed item by item; the caller claims whatever the helpers do not, and at the end waits only for items that
// somebody is at.
//
// Thread safety: one thread at a time calls For.
#ifndef LSTMD_ENGINE_CPU_THREAD_POOL_H_
#define LSTMD_ENGINE_CPU_THREAD_POOL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "engine/mutex.h"

namespace lstmd::cpu {

class ThreadPool {
 public:
  // Whether a job is worth the helpers: not at all; those that are awake; or waking those that sleep, too.
  enum class Effort { kAlone, kAwake, kAll };

  // `threads` counts the caller: threads - 1 helpers are started. Fewer if the system gives no more.
  explicit ThreadPool(int threads);
  ~ThreadPool();

  // Calls function(item) for every item 0 … items-1, each once, in any order and on any thread; returns when all are
  // done. REQUIRES: items <= kMaxItems; `function` does not throw.
  template <typename Function>
  void For(size_t items, Effort effort, const Function& function) {
    Run(
        items, effort, [](const void* f, size_t item) { (*static_cast<const Function*>(f))(item); }, &function);
  }

  int threads() const { return static_cast<int>(helpers_.size()) + 1; }

  static constexpr size_t kMaxItems = (size_t{1} << 20) - 1;

 private:
  using Call = void (*)(const void* function, size_t item);

  void Run(size_t items, Effort effort, Call call, const void* function);
  void Help();
  // Does items of the job that `ticket` shows until none is left to claim.
  void Work(uint64_t ticket);
  void Sleep(uint64_t seen);

  // The job: generation (24 bits) | items (20 bits) | next item (20 bits). Claiming an item is a compare-and-swap of
  // the whole word, so nobody claims from a job that is over. call_ and function_ belong to the generation: they change
  // only when no item of it is claimed and not done.
  std::atomic<uint64_t> ticket_{0};
  std::atomic<size_t> done_{0};
  Call call_ = nullptr;
  const void* function_ = nullptr;

  std::atomic<int> sleepers_{0};
  std::atomic<bool> stop_{false};
  Mutex mutex_;
  CondVar wake_;
  std::vector<std::thread> helpers_;
};

}  // namespace lstmd::cpu

#endif  // LSTMD_ENGINE_CPU_THREAD_POOL_H_
