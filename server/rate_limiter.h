// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_RATE_LIMITER_H_
#define LSTMD_SERVER_RATE_LIMITER_H_

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "absl/time/time.h"

namespace lstmd::server {

// A token bucket that holds one second's worth, kept as one number: the time up to which what was taken is paid for
// (the generic cell rate algorithm). A request is taken as long as the bucket is not overdrawn, however large it is,
// and those after it wait until it is paid: so one large request is possible, and the rate still holds. Thread-safe.
class RateLimiter {
 public:
  // Takes `count`: zero where they were taken, otherwise after how long to ask again. REQUIRES: per_second > 0.
  absl::Duration Take(uint64_t count, double per_second, absl::Time now) {
    const int64_t now_ns = absl::ToUnixNanos(now);
    const double wanted = static_cast<double>(count) / per_second * 1e9;
    const auto cost = static_cast<int64_t>(std::min(wanted, kLongest));
    int64_t paid = paid_until_ns_.load(std::memory_order_relaxed);
    while (true) {
      const int64_t ahead = std::max<int64_t>(0, paid - now_ns);
      if (ahead > kBurst) return absl::Nanoseconds(ahead - kBurst);
      if (paid_until_ns_.compare_exchange_weak(paid, now_ns + ahead + cost, std::memory_order_relaxed)) {
        return absl::ZeroDuration();
      }
    }
  }

 private:
  static constexpr int64_t kBurst = 1'000'000'000;
  static constexpr double kLongest = 3600e9;  // no request is paid for longer than an hour

  std::atomic<int64_t> paid_until_ns_{0};
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_RATE_LIMITER_H_
