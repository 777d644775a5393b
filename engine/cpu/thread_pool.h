// SPDX-License-Identifier: Apache-2.0
//
// Threads that split the panels of one step. A step takes microseconds, so the threads meet without sleeping: helpers
// spin for a short while after a job before they sleep, and the caller never waits for one that has not come. Work is
// claimed item by item; the caller claims whatever the helpers do not, and at the end waits only for items that
// somebody is at. The caller claims from the front and the first helper from the back, so that each meets the same
// weights in the next step and finds them in its own cache.
//
// Thread safety: one thread at a time calls For.
#ifndef LSTMD_ENGINE_CPU_THREAD_POOL_H_
#define LSTMD_ENGINE_CPU_THREAD_POOL_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "engine/mutex.h"

namespace lstmd::cpu {

class ThreadPool {
 public:
  // `threads` counts the caller: threads - 1 helpers are started. Fewer if the system gives no more.
  explicit ThreadPool(int threads);
  ~ThreadPool();

  // Calls function(item) for every item 0 … items-1, each once, in any order and on any thread; returns when all are
  // done. `nanoseconds` is about what they take on one thread: it decides whether helpers that are awake may take part,
  // and whether those that sleep are woken. REQUIRES: items <= kMaxItems; `function` does not throw.
  template <typename Function>
  void For(size_t items, double nanoseconds, const Function& function) {
    Run(
        items, nanoseconds, [](const void* f, size_t item) { (*static_cast<const Function*>(f))(item); }, &function);
  }

  // Below this the helpers are left alone.
  static constexpr double kWorthHelp = 1500;

  int threads() const { return static_cast<int>(helpers_.size()) + 1; }

  static constexpr size_t kMaxItems = (size_t{1} << 20) - 1;

 private:
  using Call = void (*)(const void* function, size_t item);

  void Run(size_t items, double nanoseconds, Call call, const void* function);
  void Help(bool from_back);
  // Does items of the job that `ticket` shows until none is left to claim.
  void Work(uint64_t ticket, bool from_back);
  void Sleep(uint64_t seen);
  bool WorthWaking(double nanoseconds);

  // The job: generation (24 bits) | end (20 bits) | begin (20 bits) of the items that are not claimed. Claiming one is
  // a compare-and-swap of the whole word, so nobody claims from a job that is over. call_ and function_ belong to the
  // generation: they change only when no item of it is claimed and not done.
  std::atomic<uint64_t> ticket_{0};
  std::atomic<size_t> done_{0};
  Call call_ = nullptr;
  const void* function_ = nullptr;

  // Work that came without a pause while helpers slept, and the end of the last job: the caller's own.
  double sleepless_ = 0;
  std::chrono::steady_clock::time_point last_end_;

  std::atomic<int> sleepers_{0};
  std::atomic<bool> stop_{false};
  Mutex mutex_;
  CondVar wake_;
  std::vector<std::thread> helpers_;
};

}  // namespace lstmd::cpu

#endif  // LSTMD_ENGINE_CPU_THREAD_POOL_H_
