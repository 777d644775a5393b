// SPDX-License-Identifier: Apache-2.0
//
// The bounds of the native API hold for the Open Inference Protocol too: deadlines, cancellation, full queues, the
// number of sessions, what a stream may have in flight, the size of a reply.
#include <chrono>
#include <memory>
#include <thread>

#include "gmock/gmock.h"
#include "tests/integration/oip_client.h"
#include "tests/integration/server_fixture.h"

namespace lstmd {
namespace {

using ::testing::StartsWith;

class OipLimitsTest : public ServerTest {
 protected:
  void Start() {
    StartFake();
    oip_ = inference::GRPCInferenceService::NewStub(NewChannel());
  }
  grpc::Status Infer(const inference::ModelInferRequest& request) {
    inference::ModelInferResponse response;
    return oip_->ModelInfer(Context().get(), request, &response);
  }
  // A step of sequence 1, which lives, stands at the device until Unblock; `busy_` waits for it.
  void BlockWithAStep() {
    EXPECT_TRUE(Infer(OipStep("m", 1, {1, 2, 3}, true)).ok());
    control_->Block();
    busy_ = std::thread([this] { EXPECT_TRUE(Infer(OipStep("m", 1, {1, 2, 3})).ok()); });
    control_->WaitUntilBlocked();
  }
  void Unblock() {
    control_->Unblock();
    busy_.join();
  }
  void WaitUntilQueued(uint64_t count) {
    while (server_->engine().Stats().queued != count) std::this_thread::yield();
  }
  std::unique_ptr<OipStub> oip_;
  std::thread busy_;
};

TEST_F(OipLimitsTest, AStepWhoseCallIsOverIsNotDone) {
  Start();
  BlockWithAStep();
  const auto late = Context();
  late->set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(30));
  inference::ModelInferResponse response;
  EXPECT_EQ(oip_->ModelInfer(late.get(), OipStep("m", 1, {1, 2, 3}), &response).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  const auto cancelled = Context();
  std::thread caller([&] {
    EXPECT_EQ(oip_->ModelInfer(cancelled.get(), OipStep("m", 1, {1, 2, 3}), &response).error_code(),
              grpc::StatusCode::CANCELLED);
  });
  WaitUntilQueued(3);
  cancelled->TryCancel();
  caller.join();
  // The server hears of it on its own time.
  inference::ModelInferRequest last = OipStep("m", 1, {1, 2, 3});
  (*last.mutable_parameters())["timeout"].set_int64_param(1);
  std::thread third([&] { EXPECT_EQ(Infer(last).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED); });
  WaitUntilQueued(4);
  Unblock();
  third.join();
  WaitUntilQueued(0);
  const uint64_t steps = Get(SessionName("m", "seq-1")).steps();
  EXPECT_GE(steps, 2u);
  EXPECT_LE(steps, 3u) << "of the late, the cancelled and the timed out step, the cancelled one may have been done";
}

TEST_F(OipLimitsTest, TheTimeoutOfARequestInAStream) {
  Start();
  BlockWithAStep();
  const auto context = Context();
  const std::unique_ptr<OipClientStream> stream = oip_->ModelStreamInfer(context.get());
  inference::ModelInferRequest request = OipStep("m", 1, {1, 2, 3});
  (*request.mutable_parameters())["timeout"].set_int64_param(1);
  ASSERT_TRUE(stream->Write(request));
  ASSERT_TRUE(stream->Write(OipStep("m", 1, {1, 2, 3})));
  WaitUntilQueued(3);
  Unblock();
  inference::ModelStreamInferResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_THAT(response.error_message(), StartsWith("[DEADLINE] "));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.error_message(), "");
  EXPECT_EQ(Get(SessionName("m", "seq-1")).steps(), 3u);
}

TEST_F(OipLimitsTest, AFullQueueRefusesAStepAndTheStreamGoesOn) {
  options_.engine.scheduler.max_queued_per_session = 2;
  Start();
  BlockWithAStep();
  const auto context = Context();
  const std::unique_ptr<OipClientStream> stream = oip_->ModelStreamInfer(context.get());
  for (int i = 0; i < 3; ++i) {
    inference::ModelInferRequest request = OipStep("m", 1, {1, 2, 3});
    request.set_id(std::to_string(i));
    ASSERT_TRUE(stream->Write(request));
  }
  WaitUntilQueued(2);
  EXPECT_EQ(Decode(Infer(OipStep("m", 1, {1, 2, 3}))).reason, "QUEUE_FULL");
  Unblock();
  inference::ModelStreamInferResponse response;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.infer_response().id(), std::to_string(i));
    EXPECT_THAT(response.error_message(), StartsWith(i == 0 ? "" : "[QUEUE_FULL] "));
    EXPECT_EQ(response.error_message().empty(), i == 0);
  }
}

TEST_F(OipLimitsTest, AFullStreamIsNotReadAndNothingIsLost) {
  options_.limits.max_in_flight_per_stream = 4;
  // One more than the stream may have would be refused.
  options_.engine.scheduler.max_queued_per_session = 4;
  Start();
  control_->Block();
  const auto context = Context();
  const std::unique_ptr<OipClientStream> stream = oip_->ModelStreamInfer(context.get());
  constexpr int kSteps = 40;
  for (int i = 0; i < kSteps; ++i) {
    inference::ModelInferRequest request = OipStep("m", 1, {1, 2, 3}, i == 0);
    request.set_id(std::to_string(i));
    ASSERT_TRUE(stream->Write(request));
  }
  stream->WritesDone();
  WaitUntilQueued(4);
  control_->Unblock();
  inference::ModelStreamInferResponse response;
  for (int i = 0; i < kSteps; ++i) {
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.infer_response().id(), std::to_string(i));
    EXPECT_EQ(response.error_message(), "");
  }
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(OipLimitsTest, ASlowSequenceHoldsUpNoOther) {
  Start();
  const auto context = Context();
  const std::unique_ptr<OipClientStream> stream = oip_->ModelStreamInfer(context.get());
  control_->Block();
  // Many steps behind each other of one sequence, one of the other.
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(stream->Write(OipStep("m", 1, {1, 2, 3}, i == 0)));
  inference::ModelInferRequest other = OipStep("m", 2, {1, 2, 3}, true);
  other.set_id("other");
  ASSERT_TRUE(stream->Write(other));
  stream->WritesDone();
  WaitUntilQueued(9);
  control_->Unblock();
  inference::ModelStreamInferResponse response;
  int place = 0;
  for (int i = 0; i < 9; ++i) {
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.error_message(), "");
    if (response.infer_response().id() == "other") place = i;
  }
  EXPECT_LT(place, 8);
}

TEST_F(OipLimitsTest, TheNumberOfSessions) {
  options_.engine.sessions.max_sessions = 1;
  Start();
  EXPECT_TRUE(Infer(OipStep("m", 1, {1, 2, 3}, true)).ok());
  const grpc::Status full = Infer(OipStep("m", 2, {1, 2, 3}, true));
  EXPECT_EQ(full.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Decode(full).reason, "SESSION_LIMIT");
  EXPECT_TRUE(Infer(OipStep("m", 1, {1, 2, 3}, false, true)).ok());
  EXPECT_TRUE(Infer(OipStep("m", 2, {1, 2, 3}, true)).ok());
}

TEST_F(OipLimitsTest, TheSizeOfAReply) {
  options_.limits.max_message_bytes = 4096;
  Start();
  inference::ModelInferRequest request = OipRequest("m", {60, 1, 3}, std::vector<float>(180));
  EXPECT_TRUE(Infer(request).ok());
  for (const char* name : {"OUTPUT", "h_n", "c_n"}) request.add_outputs()->set_name(name);
  const grpc::Status status = Infer(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Decode(status).reason, "REPLY_TOO_LARGE");
}

}  // namespace
}  // namespace lstmd
