// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/limits.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/bench/limits.cc"
#include "hwy/foreach_target.h"  // includes this file once for each instruction set
// The above comes first.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lstmd::bench {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;

// 12 chains: more than latency times units of any core.
float Multiply(size_t rounds, size_t* flops) {
  const D d;
  const V x = hn::Set(d, 0.5f);
  // All different, lest the compiler does one for all.
  V s0 = x, s1 = hn::Add(s0, x), s2 = hn::Add(s1, x), s3 = hn::Add(s2, x), s4 = hn::Add(s3, x), s5 = hn::Add(s4, x);
  V s6 = hn::Add(s5, x), s7 = hn::Add(s6, x), s8 = hn::Add(s7, x), s9 = hn::Add(s8, x), s10 = hn::Add(s9, x);
  V s11 = hn::Add(s10, x);
  for (size_t i = 0; i < rounds; ++i) {
    s0 = hn::MulAdd(s0, x, x);
    s1 = hn::MulAdd(s1, x, x);
    s2 = hn::MulAdd(s2, x, x);
    s3 = hn::MulAdd(s3, x, x);
    s4 = hn::MulAdd(s4, x, x);
    s5 = hn::MulAdd(s5, x, x);
    s6 = hn::MulAdd(s6, x, x);
    s7 = hn::MulAdd(s7, x, x);
    s8 = hn::MulAdd(s8, x, x);
    s9 = hn::MulAdd(s9, x, x);
    s10 = hn::MulAdd(s10, x, x);
    s11 = hn::MulAdd(s11, x, x);
  }
  *flops = rounds * 12 * hn::Lanes(d) * 2;
  const V s = hn::Add(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)), hn::Add(hn::Add(s4, s5), hn::Add(s6, s7)));
  return hn::GetLane(hn::Add(s, hn::Add(hn::Add(s8, s9), hn::Add(s10, s11))));
}

float Read(const float* data, size_t size) {
  const D d;
  const size_t n = hn::Lanes(d);
  V s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
  for (size_t i = 0; i + 8 * n <= size; i += 8 * n) {
    s0 = hn::Add(s0, hn::Load(d, data + i));
    s1 = hn::Add(s1, hn::Load(d, data + i + n));
    s2 = hn::Add(s2, hn::Load(d, data + i + 2 * n));
    s3 = hn::Add(s3, hn::Load(d, data + i + 3 * n));
    s4 = hn::Add(s4, hn::Load(d, data + i + 4 * n));
    s5 = hn::Add(s5, hn::Load(d, data + i + 5 * n));
    s6 = hn::Add(s6, hn::Load(d, data + i + 6 * n));
    s7 = hn::Add(s7, hn::Load(d, data + i + 7 * n));
  }
  return hn::GetLane(hn::Add(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)), hn::Add(hn::Add(s4, s5), hn::Add(s6, s7))));
}

}  // namespace HWY_NAMESPACE
}  // namespace lstmd::bench
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "engine/cpu/aligned_buffer.h"

namespace lstmd::bench {

HWY_EXPORT(Multiply);
HWY_EXPORT(Read);

namespace {

std::atomic<float> sink;

// Calls work(thread) on all threads at once, `rounds` times; the shortest time from the first begin to the last end.
template <typename Work>
double BestSeconds(int threads, int rounds, const Work& work) {
  using Clock = std::chrono::steady_clock;
  std::atomic<int> arrived{0};
  std::vector<Clock::time_point> begin(threads), end(threads);
  double best = 1e30;
  const auto meet = [&](int& mine) {
    ++mine;
    arrived.fetch_add(1);
    while (arrived.load() < mine * threads) std::this_thread::yield();
  };
  const auto all = [&](int thread, int mine) {
    for (int round = 0; round < rounds; ++round) {
      meet(mine);
      begin[thread] = Clock::now();
      work(thread);
      end[thread] = Clock::now();
      meet(mine);
      if (thread == 0) {
        const auto first = *std::min_element(begin.begin(), begin.end());
        best = std::min(best, std::chrono::duration<double>(*std::max_element(end.begin(), end.end()) - first).count());
      }
      meet(mine);
    }
  };
  std::vector<std::thread> helpers;
  for (int i = 1; i < threads; ++i) helpers.emplace_back(all, i, 0);
  all(0, 0);
  for (std::thread& helper : helpers) helper.join();
  return best;
}

}  // namespace

double FmaPeak(int threads) {
  std::atomic<size_t> flops{0};
  const double seconds = BestSeconds(threads, 200, [&](int) {
    size_t mine;
    sink = HWY_DYNAMIC_DISPATCH(Multiply)(20000, &mine);
    flops = mine;
  });
  return static_cast<double>(flops) * threads / seconds;
}

double ReadBandwidth(size_t bytes, int threads) {
  const size_t size = cpu::RoundUp(bytes / sizeof(float), 128 * threads);
  cpu::AlignedBuffer buffer;
  if (!buffer.Reserve(size)) return 0;
  std::memset(buffer.data(), 0, size * sizeof(float));
  const size_t part = size / threads;
  const size_t repeats = std::max<size_t>(1, (size_t{8} << 20) / (size * sizeof(float)));
  const double seconds = BestSeconds(threads, 50, [&](int thread) {
    for (size_t i = 0; i < repeats; ++i) sink = HWY_DYNAMIC_DISPATCH(Read)(buffer.data() + thread * part, part);
  });
  return static_cast<double>(size * sizeof(float) * repeats) / seconds;
}

}  // namespace lstmd::bench
#endif  // HWY_ONCE
