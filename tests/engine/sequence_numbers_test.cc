// SPDX-License-Identifier: Apache-2.0
//
// The rules of StepItem.seq and epoch in lstmd.v1.
#include <vector>

#include "tests/engine/fixture.h"

namespace lstmd {
namespace {

class SequenceNumbersTest : public EngineTest {
 protected:
  void SetUp() override {
    options_.sessions.replay_ring = 4;
    options_.scheduler.slice_units = 4;
    Start();
    AddSmall();
    session_ = NewSession("a");
  }
  void TearDown() override { session_.reset(); }

  std::unique_ptr<Job> Numbered(uint64_t seq, uint32_t steps = 1) {
    return MakeStep(session_, &sink_, static_cast<float>(seq), steps, seq);
  }
  absl::Status StepNumber(uint64_t seq) {
    const auto job = Numbered(seq);
    return Run(job.get());
  }
  uint64_t LastSeq() { return engine_->GetSession("m", "a", false)->last_seq; }
  uint64_t Steps() { return engine_->GetSession("m", "a", false)->steps; }

  std::shared_ptr<Session> session_;
};

TEST_F(SequenceNumbersTest, NumbersFollowEachOther) {
  for (uint64_t seq = 1; seq <= 3; ++seq) {
    const auto job = Numbered(seq);
    ASSERT_EQ(Shown(Run(job.get())), "OK");
    EXPECT_EQ(job->work.result_seq, seq);
    EXPECT_FALSE(job->work.replayed);
  }
  const auto unsequenced = Numbered(0);
  ASSERT_EQ(Shown(Run(unsequenced.get())), "OK");
  EXPECT_EQ(unsequenced->work.result_seq, 3u);
  EXPECT_EQ(LastSeq(), 3u);
  EXPECT_EQ(Steps(), 4u);
}

TEST_F(SequenceNumbersTest, AGapSaysWhatIsExpected) {
  ASSERT_EQ(Shown(StepNumber(1)), "OK");
  const absl::Status status = StepNumber(3);
  EXPECT_EQ(Shown(status), "OUT_OF_RANGE / STEP_GAP");
  EXPECT_EQ(Metadata(status, "expected_seq"), "2");
  EXPECT_EQ(Steps(), 1u);
}

TEST_F(SequenceNumbersTest, ARepeatGetsTheSameBytes) {
  const auto first = Numbered(1, 7);
  AskForState(first.get(), SmallSpec());
  ASSERT_EQ(Shown(Run(first.get())), "OK");
  ASSERT_EQ(Shown(StepNumber(2)), "OK");
  const auto repeat = Numbered(1, 7);
  AskForState(repeat.get(), SmallSpec());
  ASSERT_EQ(Shown(Run(repeat.get())), "OK");
  EXPECT_TRUE(repeat->work.replayed);
  EXPECT_EQ(repeat->work.result_seq, 1u);
  EXPECT_EQ(repeat->output, first->output);
  EXPECT_EQ(repeat->final_h, first->final_h);
  EXPECT_EQ(repeat->final_c, first->final_c);
  EXPECT_EQ(Steps(), 8u);
  EXPECT_EQ(LastSeq(), 2u);
}

TEST_F(SequenceNumbersTest, WhatIsNotKeptIsExpired) {
  for (uint64_t seq = 1; seq <= 6; ++seq) ASSERT_EQ(Shown(StepNumber(seq)), "OK");
  EXPECT_EQ(Shown(StepNumber(2)), "ALREADY_EXISTS / STEP_REPLAY_EXPIRED");
  EXPECT_EQ(Shown(StepNumber(3)), "OK");
  const auto with_state = Numbered(6);
  AskForState(with_state.get(), SmallSpec());
  EXPECT_EQ(Shown(Run(with_state.get())), "ALREADY_EXISTS / STEP_REPLAY_EXPIRED");
  EXPECT_EQ(Steps(), 6u);
}

TEST_F(SequenceNumbersTest, ANumberStandsForOneInput) {
  ASSERT_EQ(Shown(StepNumber(1)), "OK");
  const auto other = Numbered(1, 3);
  EXPECT_EQ(Shown(Run(other.get())), "INVALID_ARGUMENT / STEP_MISMATCH");
}

TEST_F(SequenceNumbersTest, StepsMayBeInFlightBehindEachOther) {
  control_->Block();
  std::vector<std::unique_ptr<Job>> jobs;
  for (const uint64_t seq : {1, 2, 2, 3, 5, 4}) jobs.push_back(Numbered(seq));
  for (const auto& job : jobs) engine_->Submit(&job->work);
  control_->WaitUntilBlocked();
  EXPECT_TRUE(sink_.order().empty()) << "the repeat of one in flight waits for it";
  control_->Unblock();
  sink_.WaitForEnds(6);
  std::vector<std::string> ends;
  for (const auto& job : jobs) ends.push_back(Shown(*sink_.Ended(&job->work)));
  EXPECT_THAT(ends, ::testing::ElementsAre("OK", "OK", "OK", "OK", "OUT_OF_RANGE / STEP_GAP", "OK"));
  EXPECT_TRUE(jobs[2]->work.replayed);
  EXPECT_EQ(jobs[2]->output, jobs[1]->output);
  EXPECT_EQ(LastSeq(), 4u);
  EXPECT_EQ(Steps(), 4u);
  std::vector<const Work*> order;
  for (const auto& job : jobs) order.push_back(&job->work);
  EXPECT_EQ(sink_.order(), order);
}

TEST_F(SequenceNumbersTest, WhatFollowsAFailedStepIsAGap) {
  control_->Block();
  control_->FailRun(absl::InternalError("lost"), 1);
  std::vector<std::unique_ptr<Job>> jobs;
  for (const uint64_t seq : {1, 2, 3, 0, 2, 3}) jobs.push_back(Numbered(seq));
  for (const auto& job : jobs) engine_->Submit(&job->work);
  control_->Unblock();
  sink_.WaitForEnds(6);
  std::vector<std::string> ends;
  for (const auto& job : jobs) ends.push_back(Shown(*sink_.Ended(&job->work)));
  // The retry that follows is applied, and what waits behind it too.
  EXPECT_THAT(ends,
              ::testing::ElementsAre("OK", "INTERNAL / DEVICE_ERROR", "OUT_OF_RANGE / STEP_GAP", "OK", "OK", "OK"));
  EXPECT_FALSE(jobs[4]->work.replayed);
  EXPECT_EQ(LastSeq(), 3u);
  FakeModelRun want(SmallSpec());
  for (const int k : {0, 3, 4, 5}) EXPECT_EQ(jobs[k]->output, want.Run(jobs[k]->input)) << k;
}

TEST_F(SequenceNumbersTest, AStaleEpochIsFenced) {
  ASSERT_EQ(Shown(StepNumber(1)), "OK");
  const auto now = Numbered(2);
  now->work.epoch = 1;
  ASSERT_EQ(Shown(Run(now.get())), "OK");
  ASSERT_TRUE(engine_->ResetSession("m", "a", std::nullopt).ok());
  const auto stale = Numbered(3);
  stale->work.epoch = 1;
  const absl::Status status = Run(stale.get());
  EXPECT_EQ(Shown(status), "ABORTED / SESSION_FENCED");
  EXPECT_EQ(Metadata(status, "epoch"), "2");
  EXPECT_EQ(LastSeq(), 0u);
}

TEST_F(SequenceNumbersTest, AResetStartsTheNumbersAgain) {
  ASSERT_EQ(Shown(StepNumber(1)), "OK");
  const auto info = engine_->ResetSession("m", "a", std::nullopt);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->epoch, 2u);
  EXPECT_EQ(info->last_seq, 0u);
  EXPECT_EQ(info->steps, 0u);
  const auto again = Numbered(1);
  ASSERT_EQ(Shown(Run(again.get())), "OK");
  EXPECT_FALSE(again->work.replayed);
  EXPECT_EQ(again->output, FakeModelRun(SmallSpec()).Run(again->input));
}

TEST_F(SequenceNumbersTest, ANewStateKeepsNumbersAndReplies) {
  ASSERT_EQ(Shown(StepNumber(1)), "OK");
  UpdateSessionParams params;
  params.state = StateValues{{1, 2, 3}, {4, 5, 6}};
  const auto info = engine_->UpdateSession("m", "a", params);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->epoch, 2u);
  EXPECT_EQ(info->last_seq, 1u);
  EXPECT_EQ(StateOf("a").c, params.state->c);
  const auto repeat = Numbered(1);
  ASSERT_EQ(Shown(Run(repeat.get())), "OK");
  EXPECT_TRUE(repeat->work.replayed);
}

TEST_F(SequenceNumbersTest, WithoutARingRepeatsAreExpired) {
  session_.reset();
  engine_.reset();
  options_.sessions.replay_ring = 0;
  Start();
  AddSmall();
  session_ = NewSession("a");
  ASSERT_EQ(Shown(StepNumber(1)), "OK");
  EXPECT_EQ(Shown(StepNumber(1)), "ALREADY_EXISTS / STEP_REPLAY_EXPIRED");
}

}  // namespace
}  // namespace lstmd
