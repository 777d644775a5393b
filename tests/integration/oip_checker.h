// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_TESTS_INTEGRATION_OIP_CHECKER_H_
#define LSTMD_TESTS_INTEGRATION_OIP_CHECKER_H_

#include <memory>
#include <optional>
#include <string>

#include "inference/grpc_service.grpc.pb.h"
#include "lstmd/v1/session_service.grpc.pb.h"

namespace lstmd {

// What must hold for every request that a server is sent. Not thread-safe.
class OipChecker {
 public:
  // Models as in ServerTest: "m" (I 3, H 5, L 2, O 2), "wide" (I 4, H 8), "bi" (I 3, H 5, bidirectional).
  explicit OipChecker(const std::string& address);

  // Sends `request` alone and in a stream, each time with sequence 1 of "m" at its first step. "" if all is well, else
  // what is not: an answer that does not fit itself or the request, a refusal without a reason of ours, two answers for
  // one request, a refused request that has changed the sequence, a server that does not go on.
  std::string Check(const inference::ModelInferRequest& request);

  // Of the requests so far.
  int answered() const { return answered_; }
  int refused() const { return refused_; }

 private:
  struct Outcome {
    std::string problem;
    std::string reason;  // "" where it was answered
    inference::ModelInferResponse response;
  };
  void Restart();
  // Sequence 1 of "m"; nullopt where it is not there.
  std::optional<v1::Session> First();
  Outcome Alone(const inference::ModelInferRequest& request);
  Outcome InStream(const inference::ModelInferRequest& request);
  std::string CheckSequence(const Outcome& outcome, const inference::ModelInferRequest& request);

  std::unique_ptr<inference::GRPCInferenceService::Stub> stub_;
  std::unique_ptr<v1::SessionService::Stub> sessions_;
  uint64_t epoch_ = 0;
  int answered_ = 0;
  int refused_ = 0;
};

}  // namespace lstmd

#endif  // LSTMD_TESTS_INTEGRATION_OIP_CHECKER_H_
