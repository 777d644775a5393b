// SPDX-License-Identifier: Apache-2.0
#include "engine/counters.h"

#include <algorithm>
#include <numeric>

namespace lstmd {
namespace {

// Threads take turns at the shards in the order in which they first count.
size_t ThreadNumber() {
  static std::atomic<size_t> threads{0};
  static thread_local const size_t number = threads.fetch_add(1, std::memory_order_relaxed);
  return number;
}

}  // namespace

// Buckets are numbered by value - 1, so that a bound belongs to the bucket below it: 0 to 7 are one value each, then
// each doubling has eight.
size_t Histogram::IndexOf(uint64_t value) {
  if (value <= 8) return value == 0 ? 0 : value - 1;
  if (value > kLimit) return kBuckets - 1;
  const uint64_t below = value - 1;
  const auto exponent = static_cast<size_t>(63 - __builtin_clzll(below));
  return 8 * (exponent - 2) + ((below >> (exponent - 3)) & 7);
}

uint64_t Histogram::Lower(size_t bucket) {
  if (bucket < 8) return bucket;
  return (8 + bucket % 8) << (bucket / 8 - 1);
}

uint64_t Histogram::Upper(size_t bucket) { return bucket + 1 < kBuckets ? Lower(bucket + 1) : UINT64_MAX; }

void Histogram::AddTo(size_t bucket, uint64_t n, uint64_t sum) {
  Shard& shard = shards_.size() == 1 ? shards_[0] : shards_[ThreadNumber() % shards_.size()];
  shard.buckets[bucket].fetch_add(n, std::memory_order_relaxed);
  shard.sum.fetch_add(sum, std::memory_order_relaxed);
}

HistogramCounts Histogram::Read() const {
  HistogramCounts counts;
  counts.buckets.resize(kBuckets);
  for (const Shard& shard : shards_) {
    for (size_t i = 0; i < kBuckets; ++i) counts.buckets[i] += shard.buckets[i].load(std::memory_order_relaxed);
    counts.sum += shard.sum.load(std::memory_order_relaxed);
  }
  while (!counts.buckets.empty() && counts.buckets.back() == 0) counts.buckets.pop_back();
  return counts;
}

uint64_t HistogramCounts::count() const { return std::accumulate(buckets.begin(), buckets.end(), uint64_t{0}); }

double HistogramCounts::mean() const {
  const uint64_t all = count();
  return all == 0 ? 0 : static_cast<double>(sum) / static_cast<double>(all);
}

double HistogramCounts::Quantile(double q) const {
  const uint64_t all = count();
  if (all == 0) return 0;
  const double rank = q * static_cast<double>(all);
  double below = 0;
  for (size_t i = 0; i < buckets.size(); ++i) {
    const auto here = static_cast<double>(buckets[i]);
    if (here > 0 && below + here >= rank) {
      const auto lower = static_cast<double>(Histogram::Lower(i));
      if (i + 1 >= Histogram::kBuckets) return lower;
      return lower + (static_cast<double>(Histogram::Upper(i)) - lower) * std::clamp((rank - below) / here, 0.0, 1.0);
    }
    below += here;
  }
  return static_cast<double>(Histogram::Lower(buckets.size() - 1));
}

void HistogramCounts::Add(const HistogramCounts& other) {
  buckets.resize(std::max(buckets.size(), other.buckets.size()));
  for (size_t i = 0; i < other.buckets.size(); ++i) buckets[i] += other.buckets[i];
  sum += other.sum;
}

void HistogramCounts::Subtract(const HistogramCounts& before) {
  // A reader may see a bucket before its sum and the other way round: never below zero.
  const auto subtract = [](uint64_t from, uint64_t n) { return from - std::min(from, n); };
  for (size_t i = 0; i < buckets.size() && i < before.buckets.size(); ++i) {
    buckets[i] = subtract(buckets[i], before.buckets[i]);
  }
  sum = subtract(sum, before.sum);
}

uint64_t ToTicks(absl::Duration duration) {
  const int64_t ns = absl::ToInt64Nanoseconds(duration);
  // Rounded up: a bound in whole microseconds is then met exactly by what is not above it.
  return ns <= 0 ? 0 : (static_cast<uint64_t>(std::min(ns, INT64_MAX / 2)) * 2 + 124) / 125;
}

}  // namespace lstmd
