// SPDX-License-Identifier: Apache-2.0
//
// A server on a socket of this machine, and stubs that talk to it.
#ifndef LSTMD_TESTS_INTEGRATION_SERVER_FIXTURE_H_
#define LSTMD_TESTS_INTEGRATION_SERVER_FIXTURE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "google/rpc/status.pb.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "lstmd/v1/inference_service.grpc.pb.h"
#include "lstmd/v1/model_service.grpc.pb.h"
#include "lstmd/v1/session_service.grpc.pb.h"
#include "server/server.h"
#include "tests/support/fake_backend.h"

namespace lstmd {

using Stream = grpc::ClientReaderWriter<v1::StreamStepsRequest, v1::StreamStepsResponse>;

// What a client sees of an error.
struct WireError {
  grpc::StatusCode code = grpc::StatusCode::OK;
  std::string reason;  // "" unless there is an ErrorInfo of domain lstmd
  std::string field;   // of the BadRequest
  std::string message;
  std::map<std::string, std::string> metadata;
  bool has_retry = false;
  std::string resource;
};
WireError Decode(const google::rpc::Status& status);
WireError Decode(const grpc::Status& status);
// "INVALID_ARGUMENT / TENSOR_SHAPE at items[0].input.shape".
std::string Shown(const WireError& error);

v1::Tensor MakeTensor(const std::vector<int64_t>& shape, const std::vector<float>& values);
std::vector<float> Values(const v1::Tensor& tensor);
std::vector<int64_t> Shape(const v1::Tensor& tensor);

// Models, all with seeded random weights:
//   "m"      I 3, H 5, L 2, head of 2: steppable
//   "wide"   I 4, H 8
//   "bi"     I 3, H 5, bidirectional
void AddTestModels(Engine* engine);

// A server with the models above.
class ServerTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite();
  ~ServerTest() override;

  // On a FakeBackend that the test can stop and fail.
  void StartFake();
  // On the CPU backend.
  void StartCpu();

  std::unique_ptr<grpc::ClientContext> Context();
  std::shared_ptr<grpc::Channel> NewChannel();

  // Each fails the test when the call does.
  v1::Session Create(const std::string& model, const std::string& id);
  v1::Session Get(const std::string& name, bool include_state = false);
  std::vector<float> Step(const std::string& name, const std::vector<float>& input, uint64_t seq = 0);

  grpc::Status StepStatus(const v1::StepRequest& request, v1::StepResponse* response);
  grpc::Status RunStatus(const v1::RunSequencesRequest& request, v1::RunSequencesResponse* response);

  // A stream that is open; `context` outlives it.
  std::unique_ptr<Stream> OpenStream(grpc::ClientContext* context) { return inference_->StreamSteps(context); }

  server::ServerOptions options_;
  std::shared_ptr<FakeControl> control_ = std::make_shared<FakeControl>();
  std::unique_ptr<server::Server> server_;
  std::string address_;
  std::unique_ptr<v1::InferenceService::Stub> inference_;
  std::unique_ptr<v1::SessionService::Stub> sessions_;
  std::unique_ptr<v1::ModelService::Stub> models_;

 private:
  void Start(std::vector<std::unique_ptr<Backend>> backends);
};

std::string SessionName(const std::string& model, const std::string& id);
v1::StepItem Item(const std::string& session, const v1::Tensor& input);
// A frame that binds handle 0, 1, … to the sessions, creating them.
v1::StreamStepsRequest BindFrame(const std::vector<std::string>& sessions);
v1::StreamStepsRequest StepFrame(uint64_t id, const std::vector<uint32_t>& handles, const v1::Tensor& input);

}  // namespace lstmd

#endif  // LSTMD_TESTS_INTEGRATION_SERVER_FIXTURE_H_
