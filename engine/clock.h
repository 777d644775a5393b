// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_CLOCK_H_
#define LSTMD_ENGINE_CLOCK_H_

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace lstmd {

// Where the engine takes time from, so that tests can turn the hands (tests/support/fake_clock.h). Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;
  // The machine's clock; lives forever.
  static Clock* Real();
};

}  // namespace lstmd

#endif  // LSTMD_ENGINE_CLOCK_H_
