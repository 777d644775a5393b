// SPDX-License-Identifier: Apache-2.0
#include "engine/clock.h"

namespace lstmd {
namespace {

class RealClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::Now(); }
};

}  // namespace

Clock* Clock::Real() {
  static RealClock clock;
  return &clock;
}

}  // namespace lstmd
