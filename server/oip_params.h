// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_OIP_PARAMS_H_
#define LSTMD_SERVER_OIP_PARAMS_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "inference/grpc_service.pb.h"

namespace lstmd::server {

// The parameters of a ModelInferRequest that mean something here; others are accepted, as clients send their own.
struct OipParams {
  std::string session;   // id of the session, "" where the request is of no sequence
  std::string sequence;  // the sequence id as messages show it
  bool start = false;
  bool end = false;
  uint64_t seq = 0;
  uint64_t epoch = 0;
  bool numbered = false;     // has lstmd_seq or lstmd_epoch: the reply has them, too
  bool marks_final = false;  // replies are to say that they are the last of their request
  absl::Duration timeout = absl::InfiniteDuration();

  bool in_sequence() const { return !session.empty(); }
};

// Calls `read`(key, parameter) for each parameter of a request. The map they come in has no order, so that of several
// errors the one of the first by name is returned: the same request gets the same answer.
template <typename Parameters, typename Read>
absl::Status ReadEach(const Parameters& parameters, const Read& read) {
  absl::Status wrong;
  const std::string* first = nullptr;
  for (const auto& [key, parameter] : parameters) {
    absl::Status status = read(key, parameter);
    if (status.ok() || (first != nullptr && *first < key)) continue;
    wrong = std::move(status);
    first = &key;
  }
  return wrong;
}

// INVALID_ARGUMENT / PARAMETER with field "parameters[…]" for a value of the wrong kind or range, SEQUENCE_REQUIRED for
// parameters that only a sequence has.
absl::StatusOr<OipParams> ReadOipParams(const inference::ModelInferRequest& request);

// "" or "0": the default version. INVALID_ARGUMENT / MODEL_VERSION with field `field`.
absl::StatusOr<int64_t> ReadOipVersion(const std::string& version, const char* field);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_OIP_PARAMS_H_
