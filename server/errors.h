// SPDX-License-Identifier: Apache-2.0
//
// From the engine's errors to what goes over the wire. Every error carries a google.rpc.ErrorInfo (domain "lstmd"), and
// BadRequest, RetryInfo, ResourceInfo or QuotaFailure where the cause names a field, a delay, a resource or a quota.
#ifndef LSTMD_SERVER_ERRORS_H_
#define LSTMD_SERVER_ERRORS_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"

namespace lstmd::server {

// As an item of a reply. REQUIRES: `status` is not OK.
void SetRpcStatus(const absl::Status& status, google::rpc::Status* out);

// As the status of a call; the details travel in the trailer grpc-status-details-bin. OK gives OK.
grpc::Status ToGrpcStatus(const absl::Status& status);

// Text that came from outside, made fit for messages, logs and trailers: valid UTF-8 on one line ("?" for control
// characters), at most `limit` bytes ("…" where it was cut).
std::string Printable(std::string_view text, size_t limit = 256);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_ERRORS_H_
