// SPDX-License-Identifier: Apache-2.0
#include "engine/cpu/thread_pool.h"

#include <atomic>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace lstmd::cpu {
namespace {

// Estimates that leave the helpers alone, that let those take part that are awake, and that wake the others.
constexpr double kAlone = 1;
constexpr double kAwake = 2 * ThreadPool::kWorthHelp;
constexpr double kAll = 1e9;

TEST(ThreadPoolTest, DoesEachItemOnce) {
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (double nanoseconds : {kAlone, kAwake, kAll}) {
      for (size_t items : {0, 1, 2, 3, 64, 1000}) {
        std::vector<std::atomic<int>> count(items);
        pool.For(items, nanoseconds, [&](size_t i) { count[i].fetch_add(1, std::memory_order_relaxed); });
        for (size_t i = 0; i < items; ++i) ASSERT_EQ(count[i].load(), 1) << items << " items, item " << i;
      }
    }
  }
}

TEST(ThreadPoolTest, WritesOfAllItemsAreSeenAfterwards) {
  ThreadPool pool(3);
  std::vector<int> values(16);
  for (int job = 1; job <= 5000; ++job) {
    // Plain ints: a thread that ran on into the next job would be a data race and miscount.
    pool.For(values.size(), job % 2 == 0 ? kAll : kAwake, [&](size_t i) { values[i] += static_cast<int>(i); });
    for (size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], job * static_cast<int>(i));
  }
}

TEST(ThreadPoolTest, ALongJobWakesHelpers) {
  // Two items that each wait for the other to begin: only two threads together can do them.
  ThreadPool pool(2);
  for (int job = 0; job < 50; ++job) {
    std::atomic<int> begun{0};
    pool.For(2, kAll, [&](size_t) {
      begun.fetch_add(1);
      while (begun.load() < 2) std::this_thread::yield();
    });
    EXPECT_EQ(begun.load(), 2);
  }
}

TEST(ThreadPoolTest, ManyShortJobsInARowWakeHelpers) {
  ThreadPool pool(2);
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<bool> helped{false};
  // Ends only because the pool sees one job follow the other and wakes its helper.
  while (!helped.load()) {
    pool.For(2, kAwake, [&](size_t) {
      if (std::this_thread::get_id() != caller) helped = true;
    });
  }
  EXPECT_TRUE(helped.load());
}

TEST(ThreadPoolTest, StopsWhileHelpersSpinOrSleep) {
  for (int i = 0; i < 50; ++i) {
    ThreadPool pool(4);
    std::atomic<int> sum{0};
    pool.For(i % 3, kAll, [&](size_t) { sum.fetch_add(1); });
    EXPECT_EQ(sum.load(), i % 3);
  }
}

}  // namespace
}  // namespace lstmd::cpu
