// SPDX-License-Identifier: Apache-2.0
#include "client/lstmctl/pacer.h"

#include <sys/prctl.h>

#include <algorithm>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace lstmd::client {

Pacer::Pacer(const std::vector<std::unique_ptr<Lane>>& lanes, const LoadClock& clock, double interval_nanos)
    : clock_(clock), interval_nanos_(interval_nanos) {
  size_t most = 0;
  for (const auto& lane : lanes) most = std::max(most, lane->flights());
  for (size_t k = 0; k < most; ++k) {
    for (const auto& lane : lanes) {
      if (k < lane->flights()) turns_.emplace_back(lane.get(), k);
    }
  }
  thread_ = std::thread([this] { Run(); });
}

void Pacer::Run() {
  // The kernel otherwise gathers timers of 50 us, which would show in every latency.
  prctl(PR_SET_TIMERSLACK, 1UL);
  const int64_t begin = NowNanos();
  const auto period = static_cast<int64_t>(interval_nanos_ * static_cast<double>(turns_.size()));
  for (uint64_t i = 0;; ++i) {
    const int64_t due = begin + static_cast<int64_t>(interval_nanos_ * static_cast<double>(i));
    if (due >= clock_.send_until.load(std::memory_order_relaxed)) return;
    for (int64_t left = due - NowNanos(); left > 0; left = due - NowNanos()) {
      absl::SleepFor(absl::Nanoseconds(std::min<int64_t>(left, 50'000'000)));
      if (NowNanos() >= clock_.send_until.load(std::memory_order_relaxed)) return;
    }
    const auto& [lane, k] = turns_[i % turns_.size()];
    lane->Tick(k, due, period);
  }
}

}  // namespace lstmd::client
