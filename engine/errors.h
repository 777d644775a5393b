// SPDX-License-Identifier: Apache-2.0
//
// Errors of the engine: an absl::Status with a machine-readable cause attached. The server turns the cause into
// google.rpc details (server/errors.h); the engine itself knows no protobuf.
//
//   return InvalidArgument("TENSOR_SHAPE", "input of session 'a': got [3], want [4]").Field("items[0].input.shape");
#ifndef LSTMD_ENGINE_ERRORS_H_
#define LSTMD_ENGINE_ERRORS_H_

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace lstmd {

// What a client can act on. Every status that leaves the engine with a code other than OK carries one.
struct ErrorCause {
  std::string reason;  // UPPER_SNAKE_CASE, stable: part of the API
  std::string field;   // path of the wrong field in the request, "" if none
  std::vector<std::pair<std::string, std::string>> metadata;
  std::optional<absl::Duration> retry_after;  // set: worth trying again after this long
  std::string resource;                       // "models/m/sessions/s", "" if none
  std::string quota_subject;                  // "model:m", for RESOURCE_EXHAUSTED
};

// Builds a status; converts to absl::Status (and so to StatusOr<T>) where it is returned.
class Error {
 public:
  // REQUIRES: code is not OK.
  Error(absl::StatusCode code, std::string_view reason, std::string_view message);

  Error& Field(std::string_view path);
  Error& With(std::string_view key, std::string_view value);
  Error& RetryAfter(absl::Duration delay);
  Error& Resource(std::string_view name);
  Error& Quota(std::string_view subject);

  operator absl::Status() const;  // NOLINT(google-explicit-constructor): made to be returned

 private:
  absl::StatusCode code_;
  std::string message_;
  ErrorCause cause_;
};

Error InvalidArgument(std::string_view reason, std::string_view message);
Error NotFound(std::string_view reason, std::string_view message);
Error AlreadyExists(std::string_view reason, std::string_view message);
Error FailedPrecondition(std::string_view reason, std::string_view message);
Error ResourceExhausted(std::string_view reason, std::string_view message);
Error Unavailable(std::string_view reason, std::string_view message);
Error Unimplemented(std::string_view reason, std::string_view message);
Error Internal(std::string_view reason, std::string_view message);

// The cause attached to `status`. For a foreign status without one: reason "UNKNOWN".
ErrorCause GetCause(const absl::Status& status);

// The same error with `prefix` before its field path: "sequences[2]." + "input.shape". OK stays OK.
absl::Status PrefixField(const absl::Status& status, std::string_view prefix);

// The same error with `prefix` before its message: "model.safetensors: " + "truncated". OK stays OK.
absl::Status PrefixMessage(const absl::Status& status, std::string_view prefix);

}  // namespace lstmd

#endif  // LSTMD_ENGINE_ERRORS_H_
