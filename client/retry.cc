// SPDX-License-Identifier: Apache-2.0
#include "client/retry.h"

#include <algorithm>
#include <random>

#include "absl/time/clock.h"
#include "client/error.h"
#include "client/recovery.h"

namespace lstmd::client {

absl::Status CallWithRetries(Endpoints* endpoints, const RetryOptions& options, Safety safety, absl::Time deadline,
                             absl::FunctionRef<absl::Status(Endpoint*, absl::Time)> attempt) {
  const int addresses = static_cast<int>(endpoints->size());
  const int attempts = safety == Safety::kNumbered ? std::max(options.max_attempts, 1) : addresses;
  Endpoint* endpoint = endpoints->Current();
  int not_found = 0;
  for (int made = 1;; ++made) {
    absl::Time until = deadline;
    if (safety == Safety::kNumbered && attempts > 1) until = std::min(until, absl::Now() + options.attempt_timeout);
    const absl::Status status = attempt(endpoint, until);
    if (status.ok()) {
      endpoints->Prefer(endpoint->address);
      return status;
    }
    Verdict verdict = Judge(status, /*pinned=*/false);
    if (IsSessionNotFound(status) && ++not_found < addresses) verdict.recovery = Recovery::kMove;
    const std::string reason = GetDetails(status).reason;
    const bool again = safety == Safety::kNumbered
                           ? verdict.recovery != Recovery::kFail && reason != "STEP_GAP"
                           : verdict.recovery == Recovery::kMove && (safety == Safety::kRead || reason == "DRAINING");
    if (verdict.recovery == Recovery::kMove) {
      endpoints->MoveOn(endpoint->address);
      Endpoint* const named = verdict.address.empty() ? nullptr : endpoints->At(verdict.address);
      endpoint = named != nullptr ? named : endpoints->After(endpoint->address);
    }
    if (!again || made >= attempts) return status;
    absl::Duration delay = verdict.retry_after;
    if (safety == Safety::kNumbered) {
      std::random_device seed;
      const double uniform = std::uniform_real_distribution<double>(0, 1)(seed);
      delay = BackoffDelay(options.backoff, made - 1, verdict.retry_after, uniform);
    }
    if (absl::Now() + delay >= deadline) return status;
    absl::SleepFor(delay);
  }
}

}  // namespace lstmd::client
