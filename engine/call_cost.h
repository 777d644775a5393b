// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_CALL_COST_H_
#define LSTMD_ENGINE_CALL_COST_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace lstmd {

// What a device call takes, learned from those that were made: for each size, in powers of two of units (see Row), a
// moving mean of the time of one unit. Not thread-safe.
class CallCost {
 public:
  void Add(uint64_t units, absl::Duration time);

  // What a call of `units` is expected to take. Of a size that was never seen: not less than the sizes around it
  // suggest. InfiniteDuration before the first Add. REQUIRES: units >= 1.
  absl::Duration Estimate(uint64_t units) const;
  // About how many units a call of at most `time` has; at least 1. `unknown` before the first Add.
  uint64_t UnitsWithin(absl::Duration time, uint64_t unknown) const;

 private:
  static constexpr size_t kSizes = 20;
  // Nanoseconds a unit, +infinity: nothing is known.
  double UnitNanos(size_t size) const;

  std::array<float, kSizes> unit_nanos_{};  // of calls of 2^k to 2^(k+1)-1 units
  uint32_t seen_ = 0;                       // bit k: unit_nanos_[k] stands
};

}  // namespace lstmd

#endif  // LSTMD_ENGINE_CALL_COST_H_
