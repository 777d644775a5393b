// SPDX-License-Identifier: Apache-2.0
//
// What an error means to a client that may try again. A step with a number can always be sent again: the server takes
// it once.
#ifndef LSTMD_CLIENT_RECOVERY_H_
#define LSTMD_CLIENT_RECOVERY_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace lstmd::client {

enum class Recovery {
  kFail,    // it would fail again: the caller's to hear
  kResend,  // the same again, later
  kRebind,  // the session is not where this client believes it: bind it again and see
  kMove,    // this server does not serve it (any more): another one, or this one after a restart
};

struct Verdict {
  Recovery recovery = Recovery::kFail;
  absl::Duration retry_after;  // what the server asked for, else zero
  std::string address;         // of kMove, where the server knows it
};

// Of one step or bind, or of a whole call or stream (then OK is kMove: it ended before all was answered).
// `pinned`: the caller insists on an epoch, so another one is an error.
Verdict Judge(const absl::Status& status, bool pinned);

// Whether the answer is that the session is not there.
bool IsSessionNotFound(const absl::Status& status);

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_RECOVERY_H_
