// SPDX-License-Identifier: Apache-2.0
//
// Errors of the server as absl::Status: the code and message are the server's, and the google.rpc details travel as
// payloads, one for each detail, under its type URL ("type.googleapis.com/google.rpc.ErrorInfo").
#ifndef LSTMD_CLIENT_ERROR_H_
#define LSTMD_CLIENT_ERROR_H_

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"

namespace lstmd::client {

// What a program can act on. Parts that the error does not have are empty.
struct ErrorDetails {
  std::string reason;                                       // "SESSION_NOT_FOUND": switch on this, never on the message
  std::map<std::string, std::string> metadata;              // "last_event" -> "EXPIRED"
  std::vector<std::pair<std::string, std::string>> fields;  // path of a wrong field, what is wrong with it
  std::optional<absl::Duration> retry_after;                // worth trying again after this long
  std::string resource;                                     // "models/m/sessions/s"
  std::string quota;                                        // "model:m"
};

// OK stays OK.
absl::Status FromGrpc(const grpc::Status& status);
absl::Status FromProto(const google::rpc::Status& status);

// The details of a status made by this library. Empty for one that did not come from a server.
ErrorDetails GetDetails(const absl::Status& status);

// One line for people: the message, then what the details add to it.
//   "input has 3 numbers, want 4 (INVALID_ARGUMENT / TENSOR_SHAPE; field items[0].input.shape)"
std::string Describe(const absl::Status& status);

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_ERROR_H_
