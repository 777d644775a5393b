// SPDX-License-Identifier: Apache-2.0
#include "engine/cpu/thread_pool.h"

#include <system_error>

namespace lstmd::cpu {
namespace {

constexpr int kItemBits = 20;
constexpr uint64_t kItemMask = (uint64_t{1} << kItemBits) - 1;
// About 20 microseconds: as long as it takes to wake a thread.
constexpr int kSpins = 1000;
// A thread that waits for another's last item gives its core away now and then: there may be fewer cores than threads.
constexpr int kSpinsBeforeYield = 500;

// One job of this much is worth waking helpers, and so are many small ones that follow each other without a pause.
constexpr double kWorthWaking = 20'000;
constexpr double kWorthWakingTogether = 100'000;
constexpr auto kPause = std::chrono::microseconds(50);

uint64_t Begin(uint64_t ticket) { return ticket & kItemMask; }
uint64_t End(uint64_t ticket) { return (ticket >> kItemBits) & kItemMask; }
uint64_t Generation(uint64_t ticket) { return ticket >> (2 * kItemBits); }

void SpinPause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  for (int i = 1; i < threads; ++i) {
    try {
      helpers_.emplace_back([this, i] { Help(i % 2 == 1); });
    } catch (const std::system_error&) {
      return;
    }
  }
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  {
    MutexLock lock(&mutex_);
    wake_.SignalAll();
  }
  for (std::thread& helper : helpers_) helper.join();
}

bool ThreadPool::WorthWaking(double nanoseconds) {
  if (nanoseconds >= kWorthWaking) return true;
  const bool paused = std::chrono::steady_clock::now() - last_end_ > kPause;
  sleepless_ = (paused ? 0 : sleepless_) + nanoseconds;
  if (sleepless_ < kWorthWakingTogether) return false;
  sleepless_ = 0;
  return true;
}

void ThreadPool::Run(size_t items, double nanoseconds, Call call, const void* function) {
  if (helpers_.empty() || nanoseconds < kWorthHelp || items < 2) {
    for (size_t item = 0; item < items; ++item) call(function, item);
    return;
  }
  call_ = call;
  function_ = function;
  done_.store(0, std::memory_order_relaxed);
  const uint64_t generation = Generation(ticket_.load(std::memory_order_relaxed)) + 1;
  const uint64_t ticket = (generation << (2 * kItemBits)) | (uint64_t{items} << kItemBits);
  // Sequentially consistent, with the load of sleepers_ after it: see Sleep.
  ticket_.store(ticket);
  const bool sleepers = sleepers_.load() > 0;
  if (sleepers && WorthWaking(nanoseconds)) {
    MutexLock lock(&mutex_);
    wake_.SignalAll();
  }
  Work(ticket, false);
  for (int spins = 0; done_.load(std::memory_order_acquire) != items; ++spins) {
    SpinPause();
    if (spins >= kSpinsBeforeYield) std::this_thread::yield();
  }
  if (sleepers) last_end_ = std::chrono::steady_clock::now();
}

void ThreadPool::Work(uint64_t ticket, bool from_back) {
  const uint64_t generation = Generation(ticket);
  while (Generation(ticket) == generation && Begin(ticket) < End(ticket)) {
    const uint64_t claimed = from_back ? ticket - (uint64_t{1} << kItemBits) : ticket + 1;
    if (!ticket_.compare_exchange_weak(ticket, claimed, std::memory_order_acquire)) continue;
    call_(function_, from_back ? End(claimed) : Begin(ticket));
    done_.fetch_add(1, std::memory_order_release);
    ticket = ticket_.load(std::memory_order_acquire);
  }
}

void ThreadPool::Help(bool from_back) {
  uint64_t seen = 0;  // generation of the last job this thread knows to be claimed to the end
  int spins = 0;
  while (!stop_.load(std::memory_order_relaxed)) {
    const uint64_t ticket = ticket_.load(std::memory_order_acquire);
    if (Generation(ticket) != seen) {
      seen = Generation(ticket);
      Work(ticket, from_back);
      spins = 0;
    } else if (++spins < kSpins) {
      SpinPause();
    } else {
      Sleep(seen);
      spins = 0;
    }
  }
}

void ThreadPool::Sleep(uint64_t seen) {
  MutexLock lock(&mutex_);
  // Either the caller sees this sleeper after it has published a job, or this thread sees the job here.
  sleepers_.fetch_add(1);
  while (!stop_.load() && Generation(ticket_.load()) == seen) wake_.Wait(&mutex_);
  sleepers_.fetch_sub(1);
}

}  // namespace lstmd::cpu
