// SPDX-License-Identifier: Apache-2.0
#include "client/recovery.h"

#include "client/error.h"

namespace lstmd::client {
namespace {

// Of an error that no server of this project made: the connection's, or a proxy's.
Recovery OfTransport(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kInternal:  // also a stream reset by a dying server
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kResourceExhausted:
      return Recovery::kMove;
    default:
      return Recovery::kFail;
  }
}

}  // namespace

Verdict Judge(const absl::Status& status, bool pinned) {
  const ErrorDetails details = GetDetails(status);
  const std::string& reason = details.reason;
  Verdict verdict;
  verdict.retry_after = details.retry_after.value_or(absl::ZeroDuration());
  if (reason.empty()) {
    verdict.recovery = OfTransport(status.code());
  } else if (reason == "SESSION_MOVED") {
    verdict.recovery = Recovery::kMove;
    const auto owner = details.metadata.find("owner_address");
    if (owner != details.metadata.end()) verdict.address = owner->second;
  } else if (reason == "DRAINING" || reason == "DEVICE_LOST" || reason == "CANCELLED") {
    verdict.recovery = Recovery::kMove;
  } else if (reason == "SESSION_FENCED") {
    verdict.recovery = pinned ? Recovery::kFail : Recovery::kRebind;
  } else if (reason == "STEP_GAP") {
    verdict.recovery = Recovery::kRebind;
  } else if (status.code() == absl::StatusCode::kUnavailable || details.retry_after || reason == "DEVICE_ERROR" ||
             reason == "STORE_FULL") {
    verdict.recovery = Recovery::kResend;
  }
  return verdict;
}

bool IsSessionNotFound(const absl::Status& status) {
  return status.code() == absl::StatusCode::kNotFound && GetDetails(status).reason == "SESSION_NOT_FOUND";
}

}  // namespace lstmd::client
