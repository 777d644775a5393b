// SPDX-License-Identifier: Apache-2.0
#include "server/refusal_hold.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/alarm.h"

namespace lstmd::server {
namespace {

constexpr char kPayload[] = "lstmd/hold";
constexpr int64_t kCallNanos = 2'000'000;
constexpr int64_t kWorkNanos = 20'000;
constexpr int64_t kLongestNanos = 1'000'000'000;
// Those that would be held for longer end one after the other over so long: all at once they would be a flood again.
constexpr int64_t kSpreadNanos = 500'000'000;

}  // namespace

absl::Duration RefusalPacer::Next(uint64_t works, absl::Time now) {
  const int64_t now_ns = absl::ToUnixNanos(now);
  const int64_t cost =
      kCallNanos + kWorkNanos * static_cast<int64_t>(std::min<uint64_t>(works, kLongestNanos / kWorkNanos));
  int64_t next = next_ns_.load(std::memory_order_relaxed);
  while (true) {
    const int64_t ahead = std::max<int64_t>(0, next - now_ns) + cost;
    const int64_t hold = std::min(ahead, kLongestNanos);
    if (!next_ns_.compare_exchange_weak(next, now_ns + hold, std::memory_order_relaxed)) continue;
    if (ahead <= kLongestNanos) return absl::Nanoseconds(hold);
    const int64_t turn = over_.fetch_add(1, std::memory_order_relaxed);
    return absl::Nanoseconds(hold - turn * kCallNanos % kSpreadNanos);
  }
}

void SetHold(absl::Duration hold, absl::Status* error) {
  error->SetPayload(kPayload, absl::Cord(absl::StrCat(absl::ToInt64Nanoseconds(hold))));
}

absl::Duration HoldOf(const absl::Status& status) {
  if (status.ok()) return absl::ZeroDuration();
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayload);
  int64_t nanos = 0;
  if (!payload || !absl::SimpleAtoi(std::string(*payload), &nanos)) return absl::ZeroDuration();
  return absl::Nanoseconds(nanos);
}

void AfterHold(const absl::Status& status, std::function<void()> then) {
  const absl::Duration hold = HoldOf(status);
  if (hold == absl::ZeroDuration()) {
    then();
    return;
  }
  auto* const alarm = new grpc::Alarm();
  alarm->Set(absl::ToChronoTime(absl::Now() + hold), [alarm, then = std::move(then)](bool /*in_time*/) {
    then();
    delete alarm;
  });
}

}  // namespace lstmd::server
