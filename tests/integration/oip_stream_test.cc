// SPDX-License-Identifier: Apache-2.0
//
// ModelStreamInfer: order, ends, errors.
#include <algorithm>
#include <map>
#include <memory>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "tests/integration/oip_client.h"
#include "tests/integration/server_fixture.h"

namespace lstmd {
namespace {

using ::testing::HasSubstr;

class OipStreamTest : public ServerTest {
 protected:
  void Connect() { oip_ = inference::GRPCInferenceService::NewStub(NewChannel()); }
  std::unique_ptr<OipStub> oip_;
};

inference::ModelInferRequest WithId(inference::ModelInferRequest request, int id) {
  request.set_id(std::to_string(id));
  return request;
}

TEST_F(OipStreamTest, ManySequencesWithRestartsKeepTheirOwnOrder) {
  StartCpu();
  Connect();
  const std::unique_ptr<grpc::ClientContext> context = Context();
  const std::unique_ptr<OipClientStream> stream = oip_->ModelStreamInfer(context.get());
  constexpr int kSequences = 8;
  constexpr int kSteps = 24;
  std::map<int, int> sequence_of;
  int id = 0;
  for (int step = 0; step < kSteps; ++step) {
    for (int sequence = 1; sequence <= kSequences; ++sequence) {
      sequence_of[id] = sequence;
      // Each sixth step starts again, on a live id but where the one before ended it.
      const bool start = step % 6 == 0;
      const bool end = step == 11;
      ASSERT_TRUE(
          stream->Write(WithId(OipStep("m", sequence, {1, 2, static_cast<float>(step % 6)}, start, end), id++)));
    }
  }
  stream->WritesDone();
  std::map<int, std::vector<int>> ids;
  std::map<int, std::vector<std::vector<float>>> outputs;
  inference::ModelStreamInferResponse response;
  while (stream->Read(&response)) {
    EXPECT_EQ(response.error_message(), "");
    const int got = std::stoi(response.infer_response().id());
    ids[sequence_of[got]].push_back(got);
    outputs[sequence_of[got]].push_back(RawFloats(response.infer_response()));
  }
  EXPECT_TRUE(stream->Finish().ok());
  ASSERT_EQ(outputs.size(), static_cast<size_t>(kSequences));
  for (int sequence = 1; sequence <= kSequences; ++sequence) {
    SCOPED_TRACE(sequence);
    ASSERT_EQ(ids[sequence].size(), static_cast<size_t>(kSteps));
    EXPECT_TRUE(std::is_sorted(ids[sequence].begin(), ids[sequence].end()));
    for (size_t step = 0; step < kSteps; ++step) {
      EXPECT_EQ(outputs[sequence][step], outputs[1][step % 6]) << "step " << step;
      if (step % 6 != 0) {
        EXPECT_NE(outputs[sequence][step], outputs[sequence][step - 1]) << "step " << step;
      }
    }
  }
}

TEST_F(OipStreamTest, HalfCloseAnswersWhatWasSent) {
  StartFake();
  Connect();
  control_->Block();
  const std::unique_ptr<grpc::ClientContext> context = Context();
  const std::unique_ptr<OipClientStream> stream = oip_->ModelStreamInfer(context.get());
  for (int step = 0; step < 10; ++step) ASSERT_TRUE(stream->Write(WithId(OipStep("m", 1, {1, 2, 3}, step == 0), step)));
  stream->WritesDone();
  control_->WaitUntilBlocked();
  control_->Unblock();
  inference::ModelStreamInferResponse response;
  for (int step = 0; step < 10; ++step) {
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.error_message(), "");
    EXPECT_EQ(response.infer_response().id(), std::to_string(step));
  }
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(OipStreamTest, AClientThatGoesLeavesTheServerServing) {
  StartFake();
  Connect();
  control_->Block();
  {
    const std::unique_ptr<grpc::ClientContext> context = Context();
    const std::unique_ptr<OipClientStream> stream = oip_->ModelStreamInfer(context.get());
    // The second start waits for the first step; the third request is held behind it.
    ASSERT_TRUE(stream->Write(OipStep("m", 1, {1, 2, 3}, true)));
    ASSERT_TRUE(stream->Write(OipStep("m", 1, {1, 2, 3}, true)));
    ASSERT_TRUE(stream->Write(OipStep("m", 1, {1, 2, 3})));
    control_->WaitUntilBlocked();
    context->TryCancel();
    inference::ModelStreamInferResponse response;
    EXPECT_FALSE(stream->Read(&response));
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  control_->Unblock();
  inference::ModelInferResponse response;
  const grpc::Status status = oip_->ModelInfer(Context().get(), OipStep("m", 2, {1, 2, 3}, true), &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(OipStreamTest, AnErrorKeepsItsPlaceInItsSequence) {
  StartFake();
  Connect();
  control_->Block();
  const std::unique_ptr<grpc::ClientContext> context = Context();
  const std::unique_ptr<OipClientStream> stream = oip_->ModelStreamInfer(context.get());
  ASSERT_TRUE(stream->Write(WithId(OipStep("m", 1, {1, 2, 3}, true), 0)));
  ASSERT_TRUE(stream->Write(WithId(OipStep("m", 1, {1, 2}), 1)));
  // Of no sequence: it waits for nobody.
  ASSERT_TRUE(stream->Write(WithId(OipRequest("none", {1, 3}, {1, 2, 3}), 2)));
  inference::ModelStreamInferResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.infer_response().id(), "2");
  EXPECT_THAT(response.error_message(), HasSubstr("[MODEL_NOT_FOUND] "));
  control_->Unblock();
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.infer_response().id(), "0");
  EXPECT_EQ(response.error_message(), "");
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.infer_response().id(), "1");
  EXPECT_THAT(response.error_message(), HasSubstr("[TENSOR_SHAPE] "));
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(OipStreamTest, TheHeaderMakesTheFirstErrorTheStatus) {
  StartFake();
  Connect();
  const std::unique_ptr<grpc::ClientContext> context = Context();
  context->AddMetadata("triton_grpc_error", "true");
  const std::unique_ptr<OipClientStream> stream = oip_->ModelStreamInfer(context.get());
  ASSERT_TRUE(stream->Write(OipStep("m", 1, {1, 2, 3})));
  inference::ModelStreamInferResponse response;
  EXPECT_FALSE(stream->Read(&response));
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Decode(status).reason, "SESSION_NOT_FOUND");
}

TEST_F(OipStreamTest, DrainEndsTheStream) {
  StartFake();
  Connect();
  const std::unique_ptr<grpc::ClientContext> context = Context();
  const std::unique_ptr<OipClientStream> stream = oip_->ModelStreamInfer(context.get());
  inference::ModelStreamInferResponse response;
  ASSERT_TRUE(stream->Write(OipStep("m", 1, {1, 2, 3}, true)));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_TRUE(server_->Drain(absl::Now() + absl::Seconds(30)));
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

}  // namespace
}  // namespace lstmd
