// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_CLIENT_BACKOFF_H_
#define LSTMD_CLIENT_BACKOFF_H_

#include "absl/time/time.h"

namespace lstmd::client {

// How long to wait before something is tried again: initial * multiplier^attempt, at most `max`, then shortened at
// random by up to `jitter` of it, so that clients which failed together do not come back together.
struct BackoffOptions {
  absl::Duration initial = absl::Milliseconds(20);
  absl::Duration max = absl::Seconds(2);
  double multiplier = 2;
  double jitter = 0.5;
};

// `attempt`: 0 for the first wait. `at_least`: what the server asked for (RetryInfo); jitter then only adds to it.
// `uniform`: a random number in [0, 1).
absl::Duration BackoffDelay(const BackoffOptions& options, int attempt, absl::Duration at_least, double uniform);

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_BACKOFF_H_
