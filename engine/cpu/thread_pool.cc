// SPDX-License-Identifier: Apache-2.0
#include "engine/cpu/thread_pool.h"

#include <system_error>

#if defined(__linux__)
#include <sched.h>
#endif

namespace lstmd::cpu {
namespace {

constexpr int kItemBits = 20;
constexpr uint64_t kItemMask = (uint64_t{1} << kItemBits) - 1;
constexpr uint64_t kGenerationMask = (uint64_t{1} << (64 - 2 * kItemBits)) - 1;
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

uint64_t Ticket(uint64_t generation, uint64_t begin, uint64_t end) {
  return (generation << (2 * kItemBits)) | (end << kItemBits) | begin;
}

void SpinPause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int ThisCore() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;
#endif
}

// Moves this thread to another core that it may run on, if there is one.
void Leave(int core) {
#if defined(__linux__)
  cpu_set_t all;
  if (core < 0 || core >= CPU_SETSIZE || sched_getaffinity(0, sizeof(all), &all) != 0) return;
  cpu_set_t others = all;
  CPU_CLR(core, &others);
  if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof(others), &others) != 0) return;
  (void)sched_setaffinity(0, sizeof(all), &all);
#else
  (void)core;
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) : shares_(new Share[threads]), done_(new Done[threads]) {
  for (int i = 1; i < threads; ++i) {
    try {
      helpers_.emplace_back([this, i] { Help(i); });
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

uint64_t ThreadPool::HelpersDone() const {
  uint64_t done = 0;
  for (size_t i = 1; i < threads(); ++i) done += done_[i].items.load(std::memory_order_acquire);
  return done;
}

void ThreadPool::Run(size_t items, double nanoseconds, Call call, const void* function) {
  if (helpers_.empty() || nanoseconds < kWorthHelp || items < 2) {
    for (size_t item = 0; item < items; ++item) call(function, item);
    return;
  }
  caller_core_.store(ThisCore(), std::memory_order_relaxed);
  generation_ = (generation_ + 1) & kGenerationMask;
  // A helper that is falling asleep sees a long job, or the caller sees the sleeper: the order is sequentially
  // consistent. It may miss a short one, which would have to wait until the shares have left this core.
  const auto order = nanoseconds >= kWorthWaking ? std::memory_order_seq_cst : std::memory_order_release;
  for (size_t i = 1; i <= helpers_.size(); ++i) {
    Share& share = shares_[i];
    share.job = {call, function};
    share.ticket.store(Ticket(generation_, FirstOfShare(items, threads(), i), FirstOfShare(items, threads(), i + 1)),
                       order);
  }
  const size_t own = FirstOfShare(items, threads(), 1);
  shares_[0].job = {call, function};
  // The first item needs no claim, which would wait until the others' shares have left this core.
  shares_[0].ticket.store(Ticket(generation_, own == 0 ? 0 : 1, own), std::memory_order_release);
  const bool sleepers = sleepers_.load() > 0;
  if (sleepers && WorthWaking(nanoseconds)) {
    MutexLock lock(&mutex_);
    wake_.SignalAll();
  }
  if (own != 0) call(function, 0);
  helpers_done_ += items - (own != 0) - Work(0, generation_);
  for (int spins = 0; HelpersDone() != helpers_done_; ++spins) {
    SpinPause();
    if (spins >= kSpinsBeforeYield) std::this_thread::yield();
  }
  if (sleepers) last_end_ = std::chrono::steady_clock::now();
}

size_t ThreadPool::Work(size_t thread, uint64_t generation) {
  size_t done = WorkOn(shares_[thread], generation, false);
  for (size_t i = 1; i < threads(); ++i) done += WorkOn(shares_[(thread + i) % threads()], generation, true);
  return done;
}

size_t ThreadPool::WorkOn(Share& share, uint64_t generation, bool from_back) {
  size_t done = 0;
  uint64_t ticket = share.ticket.load(std::memory_order_acquire);
  while (Generation(ticket) == generation && Begin(ticket) < End(ticket)) {
    const uint64_t claimed = from_back ? ticket - (uint64_t{1} << kItemBits) : ticket + 1;
    if (!share.ticket.compare_exchange_weak(ticket, claimed, std::memory_order_acquire)) continue;
    share.job.call(share.job.function, from_back ? End(claimed) : Begin(ticket));
    ++done;
    ticket = share.ticket.load(std::memory_order_acquire);
  }
  return done;
}

void ThreadPool::Help(size_t thread) {
  Share& share = shares_[thread];
  std::atomic<uint64_t>& done = done_[thread].items;
  uint64_t seen = 0;  // generation of the last job this thread knows to be claimed to the end
  int spins = 0;
  while (!stop_.load(std::memory_order_relaxed)) {
    const uint64_t generation = Generation(share.ticket.load(std::memory_order_acquire));
    if (generation != seen) {
      seen = generation;
      const size_t items = Work(thread, generation);
      if (items != 0) done.store(done.load(std::memory_order_relaxed) + items, std::memory_order_release);
      spins = 0;
    } else if (++spins < kSpins) {
      SpinPause();
    } else {
      Sleep(share, seen);
      spins = 0;
      // The system may wake a thread on the core of the one that woke it, though the two need one each: it would stop
      // the caller, find nothing to do, sleep, and never be moved.
      const int core = caller_core_.load(std::memory_order_relaxed);
      if (core == ThisCore()) Leave(core);
    }
  }
}

void ThreadPool::Sleep(const Share& share, uint64_t seen) {
  MutexLock lock(&mutex_);
  sleepers_.fetch_add(1);
  while (!stop_.load() && Generation(share.ticket.load()) == seen) wake_.Wait(&mutex_);
  sleepers_.fetch_sub(1);
}

}  // namespace lstmd::cpu
