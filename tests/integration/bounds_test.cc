// SPDX-License-Identifier: Apache-2.0
//
// Bounds that flags set: what is above them is refused with its reason, and nothing else changes.
#include "engine/errors.h"
#include "engine/memory_budget.h"
#include "tests/integration/oip_client.h"
#include "tests/integration/server_fixture.h"

namespace lstmd {
namespace {

class BoundsTest : public ServerTest {
 protected:
  WireError StepOf(int steps) {
    v1::StepRequest request;
    *request.add_items() =
        Item(SessionName("m", "s"), MakeTensor({steps, 3}, std::vector<float>(3 * static_cast<size_t>(steps))));
    v1::StepResponse response;
    return Decode(StepStatus(request, &response));
  }
  // The reason of the first failure that a stream answers, "" for none.
  std::string FrameOf(const v1::StreamStepsRequest& frame) {
    const auto context = Context();
    const auto stream = OpenStream(context.get());
    stream->Write(BindFrame({SessionName("m", "s")}));
    stream->Write(frame);
    stream->WritesDone();
    std::string reason;
    for (v1::StreamStepsResponse response; stream->Read(&response);) {
      if (response.failures_size() > 0 && reason.empty()) reason = Decode(response.failures(0).error()).reason;
    }
    EXPECT_TRUE(stream->Finish().ok());
    return reason;
  }
};

TEST_F(BoundsTest, LengthOfSequencesAndNumberOfItems) {
  options_.limits.max_sequence_length = 4;
  options_.limits.max_items = 2;
  options_.limits.max_rows = 3;
  StartCpu();
  Create("m", "s");
  EXPECT_EQ(StepOf(4).code, grpc::StatusCode::OK);
  EXPECT_EQ(Shown(StepOf(5)), "INVALID_ARGUMENT / SEQUENCE_LENGTH at items[0].input.shape");
  EXPECT_EQ(FrameOf(StepFrame(1, {0}, MakeTensor({1, 4, 3}, std::vector<float>(12)))), "");
  EXPECT_EQ(FrameOf(StepFrame(1, {0}, MakeTensor({1, 5, 3}, std::vector<float>(15)))), "SEQUENCE_LENGTH");
  EXPECT_EQ(FrameOf(StepFrame(1, {0, 0, 0, 0}, MakeTensor({4, 3}, std::vector<float>(12)))), "FRAME_TOO_LARGE");

  v1::RunSequencesRequest run;
  run.set_model("models/m");
  *run.add_sequences()->mutable_input() = MakeTensor({5, 3}, std::vector<float>(15));
  v1::RunSequencesResponse response;
  EXPECT_EQ(Shown(Decode(RunStatus(run, &response))), "INVALID_ARGUMENT / SEQUENCE_LENGTH at sequences[0].input.shape");
  *run.mutable_sequences(0)->mutable_input() = MakeTensor({4, 1, 3}, std::vector<float>(12));
  EXPECT_EQ(Decode(RunStatus(run, &response)).reason, "ROW_COUNT");
  *run.mutable_sequences(0)->mutable_input() = MakeTensor({3, 1, 3}, std::vector<float>(9));
  EXPECT_TRUE(RunStatus(run, &response).ok());
  for (int i = 0; i < 2; ++i) *run.add_sequences() = run.sequences(0);
  EXPECT_EQ(Decode(RunStatus(run, &response)).reason, "ITEM_COUNT");

  auto stub = inference::GRPCInferenceService::NewStub(NewChannel());
  inference::ModelInferResponse inferred;
  const auto context = Context();
  EXPECT_EQ(
      Decode(stub->ModelInfer(context.get(), OipRequest("bi", {1, 5, 3}, std::vector<float>(15)), &inferred)).reason,
      "SEQUENCE_LENGTH");
}

TEST_F(BoundsTest, StreamsAreCounted) {
  options_.limits.max_streams = 2;
  StartCpu();
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<Stream>> streams;
  const auto open = [&] {
    contexts.push_back(Context());
    streams.push_back(OpenStream(contexts.back().get()));
    streams.back()->Write(BindFrame({SessionName("m", "s")}));
    v1::StreamStepsResponse response;
    return streams.back()->Read(&response);
  };
  EXPECT_TRUE(open());
  EXPECT_TRUE(open());
  EXPECT_FALSE(open());
  const WireError error = Decode(streams.back()->Finish());
  EXPECT_EQ(Shown(error), "RESOURCE_EXHAUSTED / STREAM_LIMIT");
  EXPECT_TRUE(error.has_retry);
  for (int i = 0; i < 2; ++i) {
    streams[static_cast<size_t>(i)]->WritesDone();
    EXPECT_TRUE(streams[static_cast<size_t>(i)]->Finish().ok());
  }
  // A stream counts until the server has let go of it, which its client does not see.
  while (!open()) streams.back()->Finish();
}

TEST_F(BoundsTest, AStepThatIsTooOldIsDroppedBeforeItRuns) {
  options_.limits.max_queue_age = absl::Nanoseconds(1);
  StartFake();
  Create("m", "s");
  EXPECT_EQ(Shown(StepOf(1)), "DEADLINE_EXCEEDED / DEADLINE");
  EXPECT_EQ(FrameOf(StepFrame(1, {0}, MakeTensor({1, 3}, {1, 2, 3}))), "DEADLINE");
  EXPECT_EQ(Get(SessionName("m", "s")).steps(), 0u);
  // Sequences have the deadline of their call.
  v1::RunSequencesRequest run;
  run.set_model("models/m");
  *run.add_sequences()->mutable_input() = MakeTensor({4, 3}, std::vector<float>(12));
  v1::RunSequencesResponse response;
  EXPECT_TRUE(RunStatus(run, &response).ok());
}

TEST_F(BoundsTest, StepsOfAnyAgeRunWithoutTheBound) {
  options_.limits.max_queue_age = absl::ZeroDuration();
  StartFake();
  Create("m", "s");
  EXPECT_EQ(StepOf(1).code, grpc::StatusCode::OK);
}

TEST(MemoryBudgetTest, RefusesWhatWouldNotFit) {
  uint64_t used = 600;
  MemoryBudget budget(1000, [&used] { return used; });
  EXPECT_TRUE(budget.Admit(400, "x").ok());
  const absl::Status status = budget.Admit(401, "a session");
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_EQ(GetCause(status).reason, "MEMORY_LIMIT");
  EXPECT_TRUE(GetCause(status).retry_after.has_value());
  EXPECT_TRUE(MemoryBudget(0, [&used] { return used; }).Admit(UINT64_MAX, "x").ok());
  used = 1001;
  MemoryBudget full(1000, [&used] { return used; });
  EXPECT_TRUE(absl::IsResourceExhausted(full.Admit(0, "work")));
  used = 900;
  full.Trim();
  EXPECT_TRUE(full.Admit(0, "work").ok());
}

TEST(MemoryBudgetTest, TheSystemTellsBothNumbers) {
  EXPECT_GT(ResidentBytes(), 1u << 20);
  EXPECT_GT(AvailableBytes(), ResidentBytes());
}

}  // namespace
}  // namespace lstmd
