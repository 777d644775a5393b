// SPDX-License-Identifier: Apache-2.0
#include "client/backoff.h"

#include <algorithm>

namespace lstmd::client {

absl::Duration BackoffDelay(const BackoffOptions& options, int attempt, absl::Duration at_least, double uniform) {
  absl::Duration delay = options.initial;
  for (int i = 0; i < attempt && delay < options.max; ++i) delay *= options.multiplier;
  delay = std::min(delay, options.max) * (1 - options.jitter * uniform);
  return std::max(delay, at_least * (1 + options.jitter * uniform));
}

}  // namespace lstmd::client
