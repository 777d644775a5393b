// SPDX-License-Identifier: Apache-2.0
//
// Numbers that busy threads add to and a few readers look at now and then: no lock, no lost count. A reader sees each
// number as it was at some moment; several of them need not be of the same one.
#ifndef LSTMD_ENGINE_COUNTERS_H_
#define LSTMD_ENGINE_COUNTERS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/time/time.h"

namespace lstmd {

// Only grows. Thread-safe.
class Counter {
 public:
  void Add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// Goes up and down. Thread-safe.
class Gauge {
 public:
  void Add(int64_t n) { value_.fetch_add(n, std::memory_order_relaxed); }
  void Set(int64_t n) { value_.store(n, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

// What a Histogram has seen, as numbers that can be added and subtracted.
struct HistogramCounts {
  std::vector<uint64_t> buckets;  // by index; trailing zeros may be left out
  uint64_t sum = 0;               // of all values

  uint64_t count() const;
  double mean() const;
  // The value below which a share `q` of all lies, 0 to 1, by interpolation within its bucket; 0 where there is none.
  double Quantile(double q) const;
  void Add(const HistogramCounts& other);
  // REQUIRES: `before` is of the same histogram, earlier.
  void Subtract(const HistogramCounts& before);
};

// Counts values by size. Buckets are (lower, upper], eight to each doubling, so a value is known to within an eighth;
// every power of two is a bound. Thread-safe; spread over `kShards` sets of counts, so that threads that add at the
// same time seldom meet.
class Histogram {
 public:
  // The last bucket has no upper bound; it begins at 2^30.
  static constexpr size_t kBuckets = 8 * 28 + 1;
  static constexpr uint64_t kLimit = uint64_t{1} << 30;

  explicit Histogram(size_t shards = 1) : shards_(shards) {}

  void Add(uint64_t value, uint64_t n = 1) { AddTo(IndexOf(value), n, value * n); }
  // `n` values of one bucket with this sum.
  void AddTo(size_t bucket, uint64_t n, uint64_t sum);
  HistogramCounts Read() const;

  static size_t IndexOf(uint64_t value);
  // Of a bucket; Lower(0) is 0. REQUIRES: below kBuckets.
  static uint64_t Lower(size_t bucket);
  // UINT64_MAX for the last.
  static uint64_t Upper(size_t bucket);

 private:
  struct alignas(64) Shard {
    std::array<std::atomic<uint64_t>, kBuckets> buckets{};
    std::atomic<uint64_t> sum{0};
  };

  std::vector<Shard> shards_;
};

// A Histogram of durations. Values are sixteenths of a microsecond, so that the bounds reach from there to 67 s, and
// the powers of two of a microsecond are among them.
constexpr double kTicksPerSecond = 16e6;
uint64_t ToTicks(absl::Duration duration);
inline double TicksToSeconds(double ticks) { return ticks / kTicksPerSecond; }

// Adds many values to one histogram with few writes to shared memory: neighbours of one bucket are added together.
class HistogramRun {
 public:
  explicit HistogramRun(Histogram* histogram) : histogram_(*histogram) {}
  ~HistogramRun() { Flush(); }
  HistogramRun(const HistogramRun&) = delete;
  HistogramRun& operator=(const HistogramRun&) = delete;

  void Add(uint64_t value, uint64_t n = 1) {
    const size_t bucket = Histogram::IndexOf(value);
    if (bucket != bucket_) Flush();
    bucket_ = bucket;
    count_ += n;
    sum_ += value * n;
  }

 private:
  void Flush() {
    if (count_ != 0) histogram_.AddTo(bucket_, count_, sum_);
    count_ = sum_ = 0;
  }

  Histogram& histogram_;
  size_t bucket_ = 0;
  uint64_t count_ = 0;
  uint64_t sum_ = 0;
};

}  // namespace lstmd

#endif  // LSTMD_ENGINE_COUNTERS_H_
