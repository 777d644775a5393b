// SPDX-License-Identifier: Apache-2.0
//
// To refuse a step costs more than to run it, so a tenant that goes on in spite of refusals would take from others what
// its quota denies it. So the more a tenant is refused, the longer each answer is held back, and the longer a stream is
// not read after one: a caller waits in its own time. So do all who are refused for they are not known.
#ifndef LSTMD_SERVER_REFUSAL_HOLD_H_
#define LSTMD_SERVER_REFUSAL_HOLD_H_

#include <atomic>
#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace lstmd::server {

// Of one tenant, or of all who are none. Thread-safe.
class RefusalPacer {
 public:
  // For how long to hold the refusal of one call or message with `works` pieces of work: two milliseconds for one now
  // and then, at most a second. All together come no faster than 500 a second, as long as no more are held.
  absl::Duration Next(uint64_t works, absl::Time now);

 private:
  std::atomic<int64_t> next_ns_{0};
  std::atomic<uint32_t> over_{0};  // calls that would have been held for longer
};

// Notes in an error, for the server itself, how long it is to be held.
void SetHold(absl::Duration hold, absl::Status* error);
// Zero: not.
absl::Duration HoldOf(const absl::Status& status);

// Runs `then` once `status` may be answered: at once where nothing holds it, otherwise later on a thread of gRPC's.
void AfterHold(const absl::Status& status, std::function<void()> then);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_REFUSAL_HOLD_H_
