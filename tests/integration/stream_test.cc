// SPDX-License-Identifier: Apache-2.0
//
// How streams behave: order, coalescing, bounds, ends.
#include <thread>

#include "tests/integration/stream_client.h"
#include "tests/support/models.h"

namespace lstmd {
namespace {

class StreamTest : public ServerTest {
 protected:
  // Waits until this much work is in the engine.
  void WaitForQueued(uint64_t count) {
    while (server_->engine().Stats().queued != count) std::this_thread::yield();
  }
  v1::StreamStepsRequest OneStep(uint64_t id, uint32_t handle, float value) {
    return StepFrame(id, {handle}, MakeTensor({1, 3}, {value, value, value}));
  }
};

TEST_F(StreamTest, OneDeviceCallIsOneBlockInOneFrame) {
  StartFake();
  StreamClient stream(inference_.get());
  std::vector<std::string> names;
  std::vector<uint32_t> handles;
  for (uint32_t i = 0; i < 16; ++i) {
    names.push_back(SessionName("m", "s" + std::to_string(i)));
    handles.push_back(i);
  }
  ASSERT_TRUE(stream.Write(BindFrame(names)));
  stream.ReadAnswers(16);
  control_->Block();
  ASSERT_TRUE(stream.Write(OneStep(1, 0, 1.0f)));
  control_->WaitUntilBlocked();
  // These come in two frames while the device is busy, and leave in one.
  ASSERT_TRUE(stream.Write(
      StepFrame(2, {handles.begin(), handles.begin() + 8}, MakeTensor({8, 3}, test::SeededFloats(1, 24, 1.0f)))));
  ASSERT_TRUE(stream.Write(
      StepFrame(3, {handles.begin() + 8, handles.end()}, MakeTensor({8, 3}, test::SeededFloats(2, 24, 1.0f)))));
  WaitForQueued(17);
  stream.frames.clear();
  control_->Unblock();
  stream.ReadAnswers(16 + 17);
  ASSERT_EQ(stream.frames.size(), 2u);
  ASSERT_EQ(stream.frames[1].results_size(), 1);
  EXPECT_EQ(stream.frames[1].results(0).handles_size(), 16);
  EXPECT_EQ(stream.frames[1].results(0).timing().batch_size(), 16u);
}

TEST_F(StreamTest, StepsOfOneSessionStayInOrderAndASlowOneHoldsUpNobody) {
  StartFake();
  StreamClient stream(inference_.get());
  ASSERT_TRUE(stream.Write(BindFrame({SessionName("m", "slow"), SessionName("m", "quick")})));
  stream.ReadAnswers(2);
  control_->Block();
  // 2,000 steps take many slices; the quick session's step rides along with the first of them.
  ASSERT_TRUE(stream.Write(StepFrame(1, {0}, MakeTensor({1, 2000, 3}, std::vector<float>(6000, 0.5f)))));
  for (uint64_t i = 0; i < 5; ++i) ASSERT_TRUE(stream.Write(OneStep(100 + i, 1, static_cast<float>(i))));
  WaitForQueued(6);
  control_->Unblock();
  stream.ReadAnswers(2 + 6);
  ASSERT_EQ(stream.results[1].size(), 5u);
  for (uint64_t i = 0; i < 5; ++i) EXPECT_EQ(stream.results[1][i].id, 100 + i);
  EXPECT_EQ(stream.frames.back().results(stream.frames.back().results_size() - 1).handles(0), 0u)
      << "the long step ends last";
}

TEST_F(StreamTest, HalfClosingAnswersEverything) {
  StartFake();
  StreamClient stream(inference_.get());
  control_->Block();
  ASSERT_TRUE(stream.Write(BindFrame({SessionName("m", "a")})));
  for (uint64_t i = 1; i <= 50; ++i) ASSERT_TRUE(stream.Write(OneStep(i, 0, 1.0f)));
  ASSERT_TRUE(stream.WritesDone());
  WaitForQueued(50);
  control_->Unblock();
  EXPECT_TRUE(stream.Finish().ok());
  ASSERT_EQ(stream.results[0].size(), 50u);
  for (uint64_t i = 0; i < 50; ++i) EXPECT_EQ(stream.results[0][i].id, i + 1);
}

TEST_F(StreamTest, AtItsCapAStreamIsNotRead) {
  options_.limits.max_in_flight_per_stream = 4;
  StartFake();
  StreamClient stream(inference_.get());
  ASSERT_TRUE(stream.Write(BindFrame({SessionName("m", "a")})));
  stream.ReadAnswers(1);
  EXPECT_EQ(stream.bounds[0].max_in_flight(), 4u);
  control_->Block();
  for (uint64_t i = 1; i <= 100; ++i) ASSERT_TRUE(stream.Write(OneStep(i, 0, 1.0f)));
  WaitForQueued(4);
  // Other streams of the same server are.
  StreamClient other(inference_.get());
  ASSERT_TRUE(other.Write(BindFrame({SessionName("m", "b")})));
  other.ReadAnswers(1);
  EXPECT_EQ(server_->engine().Stats().queued, 4u);
  control_->Unblock();
  ASSERT_TRUE(stream.WritesDone());
  EXPECT_TRUE(stream.Finish().ok());
  EXPECT_EQ(stream.results[0].size(), 100u);
}

TEST_F(StreamTest, AFullQueueIsAFailureWithADelay) {
  options_.engine.scheduler.max_queued_per_session = 2;
  StartFake();
  StreamClient stream(inference_.get());
  ASSERT_TRUE(stream.Write(BindFrame({SessionName("m", "a")})));
  stream.ReadAnswers(1);
  control_->Block();
  ASSERT_TRUE(stream.Write(StepFrame(1, {0, 0, 0, 0}, MakeTensor({4, 3}, std::vector<float>(12)))));
  stream.ReadAnswers(1 + 2);
  EXPECT_EQ(stream.failures.size(), 2u);
  const WireError error = Decode(stream.failures[0].error());
  EXPECT_EQ(Shown(error), "RESOURCE_EXHAUSTED / QUEUE_FULL");
  EXPECT_TRUE(error.has_retry);
  control_->Unblock();
  stream.ReadAnswers(1 + 4);
  EXPECT_EQ(stream.results[0].size(), 2u);
}

TEST_F(StreamTest, ADeviceThatFailsFailsItsBatchAndChangesNothing) {
  StartFake();
  StreamClient stream(inference_.get());
  ASSERT_TRUE(stream.Write(BindFrame({SessionName("m", "a")})));
  stream.ReadAnswers(1);
  const std::string before = Get(SessionName("m", "a"), true).state().SerializeAsString();
  control_->FailRun(absl::InternalError("the device is on fire"));
  ASSERT_TRUE(stream.Write(OneStep(1, 0, 1.0f)));
  stream.ReadAnswers(2);
  ASSERT_EQ(stream.failures.size(), 1u);
  EXPECT_EQ(stream.failures[0].error().code(), grpc::StatusCode::INTERNAL);
  EXPECT_FALSE(Decode(stream.failures[0].error()).reason.empty());
  EXPECT_EQ(Get(SessionName("m", "a"), true).state().SerializeAsString(), before);
  ASSERT_TRUE(stream.Write(OneStep(2, 0, 1.0f)));
  stream.ReadAnswers(3);
  EXPECT_EQ(stream.results[0].size(), 1u);
}

TEST_F(StreamTest, UnbindFreesTheHandleAfterWhatIsInFlight) {
  StartFake();
  StreamClient stream(inference_.get());
  ASSERT_TRUE(stream.Write(BindFrame({SessionName("m", "a"), SessionName("m", "b")})));
  stream.ReadAnswers(2);
  v1::StreamStepsRequest frame = OneStep(1, 0, 1.0f);
  frame.add_unbinds()->set_handle(0);
  frame.add_unbinds()->set_handle(1);
  frame.mutable_unbinds(1)->set_delete_session(true);
  ASSERT_TRUE(stream.Write(frame));
  ASSERT_TRUE(stream.Write(OneStep(2, 0, 1.0f)));
  stream.ReadAnswers(2 + 3);
  EXPECT_EQ(stream.results[0].size(), 1u);
  ASSERT_EQ(stream.failures.size(), 1u);
  EXPECT_EQ(Decode(stream.failures[0].error()).reason, "HANDLE_UNBOUND");
  ASSERT_EQ(stream.events.size(), 1u);
  EXPECT_EQ(stream.events[0].session(), SessionName("m", "b"));
  EXPECT_EQ(stream.events[0].kind(), v1::SessionEvent::DELETED);
  ASSERT_TRUE(stream.Write(BindFrame({SessionName("m", "c")})));
  stream.ReadAnswers(2 + 4);
  EXPECT_EQ(stream.bounds.back().session().name(), SessionName("m", "c"));
  EXPECT_EQ(server_->engine().Stats().sessions, 2u);
}

TEST_F(StreamTest, ABoundSessionThatIsDeletedSaysSoAtItsNextStep) {
  StartFake();
  StreamClient stream(inference_.get());
  ASSERT_TRUE(stream.Write(BindFrame({SessionName("m", "a")})));
  stream.ReadAnswers(1);
  ASSERT_TRUE(server_->engine().DeleteSession("m", "a").ok());
  ASSERT_TRUE(stream.Write(OneStep(1, 0, 1.0f)));
  stream.ReadAnswers(3);
  ASSERT_EQ(stream.events.size(), 1u);
  EXPECT_EQ(stream.events[0].kind(), v1::SessionEvent::DELETED);
  ASSERT_EQ(stream.failures.size(), 1u);
  WireError error = Decode(stream.failures[0].error());
  EXPECT_EQ(Shown(error), "NOT_FOUND / SESSION_NOT_FOUND");
  EXPECT_EQ(error.metadata["last_event"], "DELETED");
}

TEST_F(StreamTest, RepeatedStepsAreReplayed) {
  StartFake();
  StreamClient stream(inference_.get());
  ASSERT_TRUE(stream.Write(BindFrame({SessionName("m", "a")})));
  v1::StreamStepsRequest frame = OneStep(1, 0, 1.0f);
  frame.mutable_steps(0)->add_seqs(1);
  ASSERT_TRUE(stream.Write(frame));
  ASSERT_TRUE(stream.Write(frame));
  stream.ReadAnswers(3);
  ASSERT_EQ(stream.results[0].size(), 2u);
  EXPECT_FALSE(stream.results[0][0].replayed);
  EXPECT_TRUE(stream.results[0][1].replayed);
  EXPECT_EQ(stream.results[0][1].seq, 1u);
  EXPECT_EQ(stream.results[0][1].output, stream.results[0][0].output);
}

TEST_F(StreamTest, AClientThatDisappearsTakesItsQueuedWorkWithIt) {
  StartFake();
  for (int round = 0; round < 20; ++round) {
    control_->Block();
    {
      StreamClient stream(inference_.get());
      ASSERT_TRUE(stream.Write(BindFrame({SessionName("m", "a"), SessionName("m", "b")})));
      for (uint64_t i = 1; i <= 20; ++i) {
        ASSERT_TRUE(stream.Write(StepFrame(i, {0, 1}, MakeTensor({2, 3}, std::vector<float>(6)))));
      }
      control_->WaitUntilBlocked();
      // The destructor cancels. Every other round the device goes on at the same moment.
      if (round % 2 == 1) control_->Unblock();
    }
    control_->Unblock();
    WaitForQueued(0);
  }
  // Whatever was applied, the sessions are whole and served.
  EXPECT_EQ(Step(SessionName("m", "a"), {1, 2, 3}).size(), 2u);
  EXPECT_LE(Get(SessionName("m", "a")).steps(), 20u * 20u + 1);
}

TEST_F(StreamTest, AServerThatEndsAtOnceEndsItsStreams) {
  StartFake();
  StreamClient stream(inference_.get());
  ASSERT_TRUE(stream.Write(BindFrame({SessionName("m", "a")})));
  stream.ReadAnswers(1);
  server_.reset();
  EXPECT_FALSE(stream.Finish().ok());
}

}  // namespace
}  // namespace lstmd
