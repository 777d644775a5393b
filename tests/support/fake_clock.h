// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_TESTS_SUPPORT_FAKE_CLOCK_H_
#define LSTMD_TESTS_SUPPORT_FAKE_CLOCK_H_

#include <atomic>
#include <cstdint>

#include "engine/clock.h"

namespace lstmd {

// A clock whose hands only the test moves. Thread-safe.
class FakeClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::FromUnixNanos(now_ns_.load()); }
  void Advance(absl::Duration duration) { now_ns_ += absl::ToInt64Nanoseconds(duration); }

 private:
  std::atomic<int64_t> now_ns_{1'700'000'000'000'000'000};
};

}  // namespace lstmd

#endif  // LSTMD_TESTS_SUPPORT_FAKE_CLOCK_H_
