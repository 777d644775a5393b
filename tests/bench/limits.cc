// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/limits.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/bench/limits.cc"
#include "hwy/foreach_target.h"  // includes this file once for each instruction set
// The above comes first.
#include <algorithm>
#include <string>
#include <vector>

#include "engine/cpu/cpu_backend.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lstmd::bench {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;

struct Fma {
  static constexpr size_t kFlops = 2;
  static HWY_INLINE V Do(V x, V s) { return hn::MulAdd(s, x, x); }
};

#if HWY_TARGET == HWY_AVX3
struct Bf16 {
  static constexpr size_t kFlops = 4;
  static HWY_INLINE V Do(V x, V s) {
    asm("vdpbf16ps %1, %1, %0" : "+v"(s.raw) : "v"(x.raw));
    return s;
  }
};
#endif

// 16 chains: more than latency times units of any core.
template <class Operation>
HWY_INLINE float Chains(size_t rounds, size_t* flops) {
  const D d;
  const V x = hn::Set(d, 0.5f);
  V s[16];
  // All different, lest the compiler does one for all.
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) s[i] = hn::Set(d, 0.25f * static_cast<float>(i));
  for (size_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) s[i] = Operation::Do(x, s[i]);
  }
  *flops = rounds * 16 * hn::Lanes(d) * Operation::kFlops;
  V sum = s[0];
#pragma GCC unroll 16
  for (int i = 1; i < 16; ++i) sum = hn::Add(sum, s[i]);
  return hn::GetLane(sum);
}

float Multiply(size_t rounds, size_t* flops) { return Chains<Fma>(rounds, flops); }

float MultiplyBf16(size_t rounds, size_t* flops) {
#if HWY_TARGET == HWY_AVX3
  static const bool has = CpuInstructionSets().front() == "AVX3_BF16";
  if (has) return Chains<Bf16>(rounds, flops);
#endif
  return Chains<Fma>(rounds, flops);
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
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "engine/cpu/aligned_buffer.h"

namespace lstmd::bench {

HWY_EXPORT(Multiply);
HWY_EXPORT(MultiplyBf16);
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

double Peak(int threads, float (*multiply)(size_t, size_t*)) {
  std::atomic<size_t> flops{0};
  const double seconds = BestSeconds(threads, 200, [&](int) {
    size_t mine;
    sink = multiply(20000, &mine);
    flops = mine;
  });
  return static_cast<double>(flops) * threads / seconds;
}

}  // namespace

double FmaPeak(int threads) {
  return Peak(threads, [](size_t rounds, size_t* flops) { return HWY_DYNAMIC_DISPATCH(Multiply)(rounds, flops); });
}

double Bf16Peak(int threads) {
  return Peak(threads, [](size_t rounds, size_t* flops) { return HWY_DYNAMIC_DISPATCH(MultiplyBf16)(rounds, flops); });
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
