// SPDX-License-Identifier: Apache-2.0
//
// Runs a recorded case on a server: as sequences, or one step at a time through sessions.
#ifndef LSTMD_TESTS_PARITY_CASE_RUN_H_
#define LSTMD_TESTS_PARITY_CASE_RUN_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "grpcpp/channel.h"
#include "lstmd/v1/inference_service.grpc.pb.h"
#include "lstmd/v1/model_service.grpc.pb.h"
#include "lstmd/v1/session_service.grpc.pb.h"
#include "tests/parity/case_file.h"
#include "tests/parity/wire.h"

namespace lstmd::parity {

// What the server answered to one call of the layer.
struct Answer {
  Bytes output;  // [N, T, O], or [N, O] where the layer gives its last output only
  Bytes h;       // [L*D, N, P or H]
  Bytes c;       // [L*D, N, H]
};

// The inputs of one call, read from the case.
struct Call {
  Bytes input;                                   // as recorded
  bool batched = true;                           // [N, T, I] or [T, N, I], not [T, I]
  bool time_major = false;                       // [T, N, I]
  std::vector<uint32_t> lengths;                 // empty: all
  std::string mask;                              // N*T, empty: none
  std::optional<std::pair<Bytes, Bytes>> state;  // [L*D, N, …]
  int64_t rows = 1, steps = 1;

  bool Valid(int64_t row, int64_t step) const {
    if (!mask.empty()) return mask[static_cast<size_t>(row * steps + step)] != 0;
    return lengths.empty() || step < lengths[static_cast<size_t>(row)];
  }
};

// The call of number `index`, from 0. INVALID_ARGUMENT where tensors and fields of the case disagree.
absl::StatusOr<Call> ReadCall(const Case& c, int index);

// Why the recorded result cannot be had by steps, or "".
std::string WhyNotSteps(const Case& c);

class Runner {
 public:
  explicit Runner(const std::shared_ptr<grpc::Channel>& channel);

  absl::Status LoadModel(const std::string& model, const std::string& device);
  void UnloadModel(const std::string& model);

  // One Answer for each call.
  absl::StatusOr<std::vector<Answer>> RunSequences(const Case& c, const std::string& model);

  // The same one step at a time. INTERNAL if a valid step or a final state is not bit for bit that of `sequences`.
  // Places that no step makes (padding) are taken from there.
  absl::StatusOr<std::vector<Answer>> RunSteps(const Case& c, const std::string& model,
                                               const std::vector<Answer>& sequences);

 private:
  absl::Status StepOnce(const Call& call, int64_t t, const std::vector<int64_t>& last, const std::string& model,
                        Answer* answer);
  absl::Status StartSessions(const Call& call, const std::string& model);
  absl::Status ReadSession(const std::string& model, int64_t row, Answer* answer);
  absl::Status TakeState(const v1::LstmState& state, int64_t row, Answer* answer);

  std::unique_ptr<v1::ModelService::Stub> models_;
  std::unique_ptr<v1::SessionService::Stub> sessions_;
  std::unique_ptr<v1::InferenceService::Stub> inference_;
};

// The answers as the framework returned them: recorded name -> array.
absl::StatusOr<std::map<std::string, Bytes>> Arrange(const Case& c, const std::vector<Answer>& answers);

}  // namespace lstmd::parity

#endif  // LSTMD_TESTS_PARITY_CASE_RUN_H_
