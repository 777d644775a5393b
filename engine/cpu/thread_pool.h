// SPDX-License-Identifier: Apache-2.0
//
// Threads that split one step. A step takes microseconds, so the threads meet without sleeping: helpers spin for a
// short while after a job before they sleep, and the caller never waits for one that has not come.
//
// The items of a job are dealt out in shares that follow each other, one for each thread, the caller's first. A thread
// claims from its own share, then from the ends of the others', so that each meets the same items in the next step and
// finds what belongs to them in its own cache, while one that comes late or is stopped in the middle costs no more than
// the item it is at. Each share lies in cache lines of its own: cores may be far from each other, and then what one
// wrote costs the other half a microsecond.
//
// Thread safety: one thread at a time calls For.
#ifndef LSTMD_ENGINE_CPU_THREAD_POOL_H_
#define LSTMD_ENGINE_CPU_THREAD_POOL_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
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

  size_t threads() const { return helpers_.size() + 1; }

  // The first item of a thread's share; that of thread `threads` is `items`.
  static constexpr size_t FirstOfShare(size_t items, size_t threads, size_t thread) { return items * thread / threads; }
  // Whose share an item is in.
  static constexpr size_t ShareOf(size_t items, size_t threads, size_t item) {
    return ((item + 1) * threads - 1) / items;
  }

  static constexpr size_t kMaxItems = (size_t{1} << 20) - 1;

 private:
  using Call = void (*)(const void* function, size_t item);

  struct Job {
    Call call = nullptr;
    const void* function = nullptr;
  };

  // A thread's share of the job at hand. Lines are fetched in pairs.
  struct alignas(128) Share {
    // Generation (24 bits) | end (20 bits) | begin (20 bits) of the items that are not claimed. Claiming one is a
    // compare-and-swap of the whole word, so nobody claims from a job that is over. `job` belongs to the generation: it
    // changes only when no item of it is claimed and not done.
    std::atomic<uint64_t> ticket{0};
    Job job;
  };
  struct alignas(128) Done {
    std::atomic<uint64_t> items{0};  // by one helper since the pool began
  };

  void Run(size_t items, double nanoseconds, Call call, const void* function);
  void Help(size_t thread);
  // Does items of the job `generation` until none is left to claim, its own first; the number done.
  size_t Work(size_t thread, uint64_t generation);
  size_t WorkOn(Share& share, uint64_t generation, bool from_back);
  void Sleep(const Share& share, uint64_t seen);
  bool WorthWaking(double nanoseconds);
  uint64_t HelpersDone() const;

  std::unique_ptr<Share[]> shares_;  // [threads], the caller's first
  std::unique_ptr<Done[]> done_;     // [threads], of the helpers

  // The caller's own: the job, what helpers have done up to it, work that came without a pause while helpers slept, and
  // the end of the last job.
  uint64_t generation_ = 0;
  uint64_t helpers_done_ = 0;
  double sleepless_ = 0;
  std::chrono::steady_clock::time_point last_end_;

  alignas(128) std::atomic<int> sleepers_{0};
  std::atomic<int> caller_core_{-1};
  std::atomic<bool> stop_{false};
  Mutex mutex_;
  CondVar wake_;
  std::vector<std::thread> helpers_;
};

}  // namespace lstmd::cpu

#endif  // LSTMD_ENGINE_CPU_THREAD_POOL_H_
