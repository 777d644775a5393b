// SPDX-License-Identifier: Apache-2.0
//
// Unary calls that may be made again, here or at another address.
#ifndef LSTMD_CLIENT_RETRY_H_
#define LSTMD_CLIENT_RETRY_H_

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/backoff.h"
#include "client/endpoints.h"

namespace lstmd::client {

// Of steps with a number, which the server takes once however often they are sent.
struct RetryOptions {
  // 1: never again.
  int max_attempts = 10;
  // An attempt without an answer for so long is given up for the next.
  absl::Duration attempt_timeout = absl::Seconds(10);
  BackoffOptions backoff;
};

enum class Safety {
  kOnce,      // made again only where the server says that it did nothing: elsewhere, when it is about to stop
  kRead,      // changes nothing: each other address is asked once
  kNumbered,  // RetryOptions
};

// Calls `attempt` with where and until when, until it is OK or must not be made again; the last status. Waits between
// attempts. An endpoint that did not serve is not the current one any more.
absl::Status CallWithRetries(Endpoints* endpoints, const RetryOptions& options, Safety safety, absl::Time deadline,
                             absl::FunctionRef<absl::Status(Endpoint*, absl::Time)> attempt);

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_RETRY_H_
