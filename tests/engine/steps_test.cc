// SPDX-License-Identifier: Apache-2.0
//
// Steps and sequences through the engine: results, order, batches, failures.
#include <algorithm>
#include <vector>

#include "tests/engine/fixture.h"

namespace lstmd {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

class StepsTest : public EngineTest {
 protected:
  void SetUp() override {
    options_.scheduler.slice_units = 4;
    options_.scheduler.max_batch_size = 8;
    Start();
    AddSmall();
  }
};

TEST_F(StepsTest, StepsCarryTheState) {
  const auto session = NewSession("a");
  FakeModelRun want(SmallSpec());
  for (int t = 0; t < 5; ++t) {
    const auto job = MakeStep(session, &sink_, static_cast<float>(t));
    ASSERT_EQ(Shown(Run(job.get())), "OK");
    EXPECT_EQ(job->output, want.Run(job->input)) << "step " << t;
    EXPECT_EQ(job->work.result_seq, 0u);
    EXPECT_EQ(job->work.result_epoch, 1u);
    EXPECT_EQ(job->work.timing.batch_size, 1u);
  }
  EXPECT_EQ(StateOf("a").h, want.h);
  EXPECT_EQ(StateOf("a").c, want.c);
  EXPECT_EQ(engine_->GetSession("m", "a", false)->steps, 5u);
}

TEST_F(StepsTest, SeveralTimeStepsAreOneWork) {
  const auto session = NewSession("a");
  FakeModelRun want(SmallSpec());
  for (const uint32_t steps : {3, 4, 5, 13}) {  // within one slice, and over several
    const auto job = MakeStep(session, &sink_, static_cast<float>(steps), steps);
    AskForState(job.get(), SmallSpec());
    ASSERT_EQ(Shown(Run(job.get())), "OK");
    EXPECT_EQ(job->output, want.Run(job->input));
    EXPECT_EQ(job->final_h, want.h);
    EXPECT_EQ(job->final_c, want.c);
  }
  EXPECT_EQ(StateOf("a").c, want.c);
}

TEST_F(StepsTest, OneStreamThatFloodsDoesNotHoldUpAnother) {
  const auto model = *engine_->FindModel("m", 0);
  Recorder flood;
  std::vector<std::unique_ptr<Job>> jobs;
  control_->Block();
  jobs.push_back(MakeSequence(model, &flood, 0, 1));
  engine_->Submit(&jobs[0]->work);
  control_->WaitUntilBlocked();
  for (int k = 0; k < 100; ++k) {
    jobs.push_back(MakeSequence(model, &flood, 1, 1));
    engine_->Submit(&jobs.back()->work);
  }
  const auto other = MakeSequence(model, &sink_, 77, 1);
  engine_->Submit(&other->work);
  control_->Unblock();
  ASSERT_EQ(Shown(sink_.Wait(&other->work)), "OK");
  flood.WaitForEnds(jobs.size());
  const std::vector<FakeCall> calls = control_->calls();
  ASSERT_GE(calls.size(), 13u);
  size_t call = 0;
  const auto is_other = [](const FakeCall::FakeRow& row) { return row.first == 77; };
  while (call < calls.size() && std::none_of(calls[call].rows.begin(), calls[call].rows.end(), is_other)) ++call;
  EXPECT_EQ(call, 2u) << "after the call that ran and one full batch";
}

TEST_F(StepsTest, SequencesLeaveNothingBehind) {
  const auto model = *engine_->FindModel("m", 0);
  const int64_t slots = control_->live_slots();
  for (const uint32_t steps : {1, 4, 11}) {
    FakeModelRun want(SmallSpec());
    const auto job = MakeSequence(model, &sink_, 1, steps);
    AskForState(job.get(), SmallSpec());
    ASSERT_EQ(Shown(Run(job.get())), "OK");
    EXPECT_EQ(job->output, want.Run(job->input));
    EXPECT_EQ(job->final_c, want.c);
  }
  EXPECT_EQ(control_->live_slots(), slots);
}

TEST_F(StepsTest, SequencesStartFromGivenStates) {
  FakeModelRun want(SmallSpec());
  want.c = {7, 8, 9};
  want.h = {1, 2, 3};
  const auto job = MakeSequence(*engine_->FindModel("m", 0), &sink_, 1, 6);
  job->initial_h = want.h;
  job->initial_c = want.c;
  job->work.initial_h = job->initial_h.data();
  job->work.initial_c = job->initial_c.data();
  ASSERT_EQ(Shown(Run(job.get())), "OK");
  EXPECT_EQ(job->output, want.Run(job->input));
}

TEST_F(StepsTest, EmptySequencesNeedNoDevice) {
  ModelSpec spec = SmallSpec();
  spec.learned_initial_state = true;
  spec.zero_length_state = ZeroLengthState::kInitial;
  ASSERT_TRUE(engine_->AddModel("learned", 1, spec, SomeWeights(spec)).ok());
  spec.zero_length_state = ZeroLengthState::kZeros;
  ASSERT_TRUE(engine_->AddModel("zeros", 1, spec, SomeWeights(spec)).ok());
  for (const auto& [name, want] : {std::pair("m", 0.0f), std::pair("learned", 0.25f), std::pair("zeros", 0.0f)}) {
    const auto job = MakeSequence(*engine_->FindModel(name, 0), &sink_, 1, 0);
    AskForState(job.get(), spec);
    job->work.output_mode = OutputMode::kLast;
    ASSERT_EQ(Shown(Run(job.get())), "OK");
    EXPECT_THAT(job->output, Each(0.0f)) << name;
    EXPECT_THAT(job->final_h, Each(want)) << name;
    EXPECT_THAT(job->final_c, Each(want)) << name;
  }
  const auto given = MakeSequence(*engine_->FindModel("learned", 0), &sink_, 1, 0);
  AskForState(given.get(), spec);
  given->initial_h = {1, 2, 3};
  given->initial_c = {4, 5, 6};
  given->work.initial_h = given->initial_h.data();
  given->work.initial_c = given->initial_c.data();
  ASSERT_EQ(Shown(Run(given.get())), "OK");
  EXPECT_THAT(given->final_h, ElementsAre(1, 2, 3));
  EXPECT_THAT(given->final_c, ElementsAre(4, 5, 6));
  EXPECT_TRUE(control_->calls().empty());
}

TEST_F(StepsTest, AnEmptyStepIsRefused) {
  const auto session = NewSession("a");
  const auto job = MakeStep(session, &sink_, 1, 0);
  const absl::Status status = Run(job.get());
  EXPECT_EQ(Shown(status), "INVALID_ARGUMENT / TENSOR_SHAPE");
  EXPECT_EQ(GetCause(status).field, "input.shape");
}

TEST_F(StepsTest, WhatWaitsTogetherRunsTogether) {
  std::vector<std::shared_ptr<Session>> sessions;
  for (int k = 0; k < 12; ++k) sessions.push_back(NewSession("s" + std::to_string(k)));
  control_->Block();
  const auto first = MakeStep(sessions[0], &sink_, 0);
  engine_->Submit(&first->work);
  control_->WaitUntilBlocked();

  std::vector<std::unique_ptr<Job>> jobs;
  std::vector<Work*> work;
  for (const auto& session : sessions) {
    for (int twice = 0; twice < 2; ++twice) {
      jobs.push_back(MakeStep(session, &sink_, static_cast<float>(jobs.size())));
      work.push_back(&jobs.back()->work);
    }
  }
  engine_->SubmitAll(work);
  EXPECT_EQ(engine_->Stats().queued, 25u);
  control_->Unblock();
  sink_.WaitForEnds(25);

  std::vector<size_t> sizes;
  for (const FakeCall& call : control_->calls()) sizes.push_back(call.rows.size());
  // 12 sessions, at most 8 rows, one row of a session.
  EXPECT_THAT(sizes, ElementsAre(1, 8, 8, 8));
  FakeModelRun want(SmallSpec());
  want.Run(first->input);
  EXPECT_EQ(jobs[0]->output, want.Run(jobs[0]->input));
  EXPECT_EQ(jobs[1]->output, want.Run(jobs[1]->input));
  const EngineStats stats = engine_->Stats();
  EXPECT_EQ(stats.batches, 4u);
  EXPECT_EQ(stats.batched_rows, 25u);
  EXPECT_EQ(stats.queued, 0u);
}

TEST_F(StepsTest, EachSinkHearsOnceOfTheEndOfABatch) {
  const auto a = NewSession("a"), b = NewSession("b"), c = NewSession("c");
  Recorder other;
  control_->Block();
  const auto first = MakeStep(c, &sink_, 0);
  engine_->Submit(&first->work);
  control_->WaitUntilBlocked();
  const auto one = MakeStep(a, &sink_, 1), two = MakeStep(b, &other, 2), three = MakeStep(c, &sink_, 3);
  engine_->SubmitAll({&one->work, &two->work, &three->work});
  control_->Unblock();
  sink_.WaitForEnds(3);
  other.WaitForEnds(1);
  EXPECT_TRUE(engine_->Drain(absl::InfiniteFuture()));  // reports are over
  EXPECT_EQ(sink_.batch_ends(), 2);
  EXPECT_EQ(other.batch_ends(), 1);
}

TEST_F(StepsTest, StepsDoNotWaitBehindASequence) {
  const auto session = NewSession("a");
  control_->Block();
  const auto sequence = MakeSequence(*engine_->FindModel("m", 0), &sink_, 1, 40);
  engine_->Submit(&sequence->work);
  control_->WaitUntilBlocked();
  const auto step = MakeStep(session, &sink_, 1);
  engine_->Submit(&step->work);
  control_->Release();
  control_->Release();
  ASSERT_EQ(Shown(sink_.Wait(&step->work)), "OK");
  EXPECT_FALSE(sink_.Ended(&sequence->work).has_value());
  control_->Unblock();
  ASSERT_EQ(Shown(sink_.Wait(&sequence->work)), "OK");
  EXPECT_EQ(sequence->output, FakeModelRun(SmallSpec()).Run(sequence->input));
}

TEST_F(StepsTest, AFailedBatchChangesNothing) {
  const auto a = NewSession("a"), b = NewSession("b");
  const auto warm = MakeStep(a, &sink_, 1);
  ASSERT_EQ(Shown(Run(warm.get())), "OK");
  const StateValues before_a = StateOf("a"), before_b = StateOf("b");
  const int64_t slots = control_->live_slots();

  control_->Block();
  const auto first = MakeStep(NewSession("c"), &sink_, 0);
  engine_->Submit(&first->work);
  control_->WaitUntilBlocked();
  control_->FailRun(absl::InternalError("lost"), 1);
  const auto step = MakeStep(a, &sink_, 1), next = MakeStep(a, &sink_, 5), other = MakeStep(b, &sink_, 2, 3);
  const auto sequence = MakeSequence(*engine_->FindModel("m", 0), &sink_, 1, 3);
  AskForState(other.get(), SmallSpec());
  engine_->SubmitAll({&step->work, &other->work, &sequence->work});
  control_->Release();
  control_->WaitUntilBlocked();
  engine_->Submit(&next->work);
  control_->Release();
  for (const Job* job : {step.get(), other.get(), sequence.get()}) {
    const absl::Status status = sink_.Wait(&job->work);
    EXPECT_EQ(Shown(status), "INTERNAL / DEVICE_ERROR");
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("lost"));
  }
  control_->Unblock();
  ASSERT_EQ(Shown(sink_.Wait(&next->work)), "OK");
  EXPECT_EQ(StateOf("b").h, before_b.h);
  EXPECT_EQ(StateOf("b").c, before_b.c);
  FakeModelRun want(SmallSpec());
  want.h = before_a.h;
  want.c = before_a.c;
  EXPECT_EQ(next->output, want.Run(next->input));  // as if the failed one had never been
  EXPECT_EQ(engine_->GetSession("m", "a", false)->steps, 2u);
  EXPECT_EQ(control_->live_slots(), slots + 1);
}

TEST_F(StepsTest, TheBackendsOwnCauseIsKept) {
  control_->FailRun(ResourceExhausted("DEVICE_MEMORY", "no room for scratch"));
  const auto job = MakeStep(NewSession("a"), &sink_, 1);
  EXPECT_EQ(Shown(Run(job.get())), "RESOURCE_EXHAUSTED / DEVICE_MEMORY");
}

TEST_F(StepsTest, AFailurePartWayLeavesTheSession) {
  const auto session = NewSession("a");
  const StateValues before = StateOf("a");
  const int64_t slots = control_->live_slots();
  control_->FailRun(absl::InternalError("lost"), 2);
  const auto job = MakeStep(session, &sink_, 1, 13);
  EXPECT_EQ(Shown(Run(job.get())), "INTERNAL / DEVICE_ERROR");
  EXPECT_EQ(control_->calls().size(), 3u);
  EXPECT_EQ(StateOf("a").c, before.c);
  EXPECT_EQ(control_->live_slots(), slots);
}

TEST_F(StepsTest, AStateThatCannotBeReadLeavesTheSession) {
  const auto session = NewSession("a");
  const StateValues before = StateOf("a");
  const int64_t slots = control_->live_slots();
  control_->FailPool(absl::InternalError("unreadable"), 2);  // after Allocate and Copy
  const auto job = MakeStep(session, &sink_, 1);
  AskForState(job.get(), SmallSpec());
  EXPECT_EQ(Shown(Run(job.get())), "INTERNAL / DEVICE_ERROR");
  EXPECT_EQ(StateOf("a").c, before.c);
  EXPECT_EQ(control_->live_slots(), slots);
}

TEST_F(StepsTest, NoRoomForOneIsNoFailureOfOthers) {
  const auto session = NewSession("a");
  control_->Block();
  const auto first = MakeStep(session, &sink_, 0), second = MakeStep(session, &sink_, 1);
  const auto sequence = MakeSequence(*engine_->FindModel("m", 0), &sink_, 1, 3);
  engine_->Submit(&first->work);
  control_->WaitUntilBlocked();
  control_->set_max_slots(1);
  engine_->SubmitAll({&second->work, &sequence->work});
  control_->Unblock();
  EXPECT_EQ(Shown(sink_.Wait(&sequence->work)), "RESOURCE_EXHAUSTED / DEVICE_MEMORY");
  EXPECT_EQ(Shown(sink_.Wait(&second->work)), "OK");
}

TEST_F(StepsTest, DeadlinesAndCancelEndWorkBetweenCalls) {
  const auto session = NewSession("a");
  const StateValues before = StateOf("a");
  const int64_t slots = control_->live_slots();
  control_->Block();
  const auto late = MakeStep(session, &sink_, 1, 13), waiting = MakeStep(session, &sink_, 2);
  late->work.deadline = clock_.Now() + absl::Seconds(1);
  const auto cancelled = MakeSequence(*engine_->FindModel("m", 0), &sink_, 1, 40);
  engine_->SubmitAll({&late->work, &waiting->work, &cancelled->work});
  control_->WaitUntilBlocked();
  clock_.Advance(absl::Seconds(1));
  cancelled->work.cancelled = true;
  control_->Unblock();
  EXPECT_EQ(Shown(sink_.Wait(&late->work)), "DEADLINE_EXCEEDED / DEADLINE");
  EXPECT_EQ(Shown(sink_.Wait(&cancelled->work)), "CANCELLED / CANCELLED");
  ASSERT_EQ(Shown(sink_.Wait(&waiting->work)), "OK");
  FakeModelRun want(SmallSpec());
  want.h = before.h;
  want.c = before.c;
  EXPECT_EQ(waiting->output, want.Run(waiting->input));
  EXPECT_EQ(control_->live_slots(), slots);
}

TEST_F(StepsTest, ModelsThatCannotStepRunInUnits) {
  ModelSpec spec = SmallSpec();
  spec.direction = Direction::kBidirectional;
  spec.num_layers = 2;
  ASSERT_TRUE(engine_->AddModel("both", 1, spec, SomeWeights(spec)).ok());
  const auto job = MakeSequence(*engine_->FindModel("both", 0), &sink_, 1, 5);  // 20 units, 4 in a call
  ASSERT_EQ(Shown(Run(job.get())), "OK");
  EXPECT_EQ(control_->calls().size(), 5u);
  EXPECT_EQ(job->output, FakeModelRun(spec).Run(job->input));
}

}  // namespace
}  // namespace lstmd
