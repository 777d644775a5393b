// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_CLIENT_LSTMCTL_HISTOGRAM_H_
#define LSTMD_CLIENT_LSTMCTL_HISTOGRAM_H_

#include <array>
#include <cstdint>

namespace lstmd::client {

// Counts of times in nanoseconds, in buckets of at most 1/64 of their value; nothing is allocated while counting. Used
// by one thread at a time.
class Histogram {
 public:
  void Add(uint64_t value) {
    ++counts_[Bucket(value)];
    ++count_;
    if (value > max_) max_ = value;
  }

  void Merge(const Histogram& other) {
    for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    count_ += other.count_;
    if (other.max_ > max_) max_ = other.max_;
  }

  uint64_t count() const { return count_; }
  uint64_t max() const { return max_; }

  // The value that a part of `quantile` (0 to 1) of all values does not exceed, to the width of a bucket; 0 when empty.
  uint64_t Quantile(double quantile) const {
    const double wanted = quantile * static_cast<double>(count_);
    uint64_t seen = 0;
    for (size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (counts_[i] > 0 && static_cast<double>(seen) >= wanted) return Highest(i) < max_ ? Highest(i) : max_;
    }
    return max_;
  }

 private:
  static constexpr int kBits = 6;
  static constexpr uint64_t kEach = uint64_t{1} << kBits;  // buckets for each power of two

  static size_t Bucket(uint64_t value) {
    if (value < kEach) return value;
    const int shift = 63 - __builtin_clzll(value) - kBits;
    return static_cast<size_t>(shift) * kEach + (value >> shift);
  }
  // Highest value that falls in bucket `index`.
  static uint64_t Highest(size_t index) {
    if (index < 2 * kEach) return index;
    const size_t shift = index / kEach - 1;
    return ((index - shift * kEach + 1) << shift) - 1;
  }

  std::array<uint64_t, (64 - kBits + 1) * kEach> counts_{};
  uint64_t count_ = 0;
  uint64_t max_ = 0;
};

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_LSTMCTL_HISTOGRAM_H_
