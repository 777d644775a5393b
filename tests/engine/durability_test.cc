// SPDX-License-Identifier: Apache-2.0
//
// Durability over a fake store: what is answered is safe, whatever fails and whenever the engine ends.
#include <random>

#include "absl/strings/str_cat.h"
#include "tests/engine/durable_fixture.h"

namespace lstmd {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;

class DurabilityTest : public DurableTest {};

TEST_F(DurabilityTest, NoReplyBeforeItIsSafe) {
  StartWith(Durability::kEveryStep);
  const std::shared_ptr<Session> session = NewSession("a");
  store_control_->Block();
  auto job = MakeStep(session, &sink_, 1, 1, 1);
  engine_->Submit(&job->work);
  store_control_->WaitUntilBlocked();
  EXPECT_EQ(StoredSeq("a"), 0u);
  EXPECT_EQ(engine_->Describe(*session).last_seq, 1u);  // applied
  EXPECT_EQ(engine_->Describe(*session).durable_seq, 0u);
  EXPECT_FALSE(sink_.Ended(&job->work).has_value());
  store_control_->Unblock();
  EXPECT_TRUE(sink_.Wait(&job->work).ok());
  EXPECT_EQ(StoredSeq("a"), 1u);
  EXPECT_EQ(job->work.result_durable_seq, 1u);
}

TEST_F(DurabilityTest, OneStepOfASessionIsOnItsWayAndOthersGoOn) {
  StartWith(Durability::kEveryStep);
  const std::shared_ptr<Session> a = NewSession("a");
  const std::shared_ptr<Session> b = NewSession("b");
  store_control_->Block();
  auto first = MakeStep(a, &sink_, 1, 1, 1);
  auto second = MakeStep(a, &sink_, 2, 1, 2);
  engine_->Submit(&first->work);
  store_control_->WaitUntilBlocked();
  engine_->Submit(&second->work);
  auto other = MakeStep(b, &sink_, 1, 1, 1);
  engine_->Submit(&other->work);
  while (engine_->Describe(*b).last_seq == 0) std::this_thread::yield();
  EXPECT_EQ(engine_->Describe(*a).last_seq, 1u);
  store_control_->Unblock();
  EXPECT_TRUE(sink_.Wait(&second->work).ok());
  EXPECT_TRUE(sink_.Wait(&other->work).ok());
  EXPECT_EQ(sink_.order().front(), &first->work);
}

TEST_F(DurabilityTest, WhatWaitsGoesInOneGroup) {
  StartWith(Durability::kEveryStep);
  std::vector<std::unique_ptr<Job>> jobs;
  for (int i = 0; i < 20; ++i) {
    jobs.push_back(MakeStep(NewSession(absl::StrCat("s", i)), &sink_, static_cast<float>(i), 1, 1));
  }
  const uint64_t before = Groups();
  store_control_->Block();
  engine_->Submit(&jobs[0]->work);
  store_control_->WaitUntilBlocked();
  for (size_t i = 1; i < jobs.size(); ++i) engine_->Submit(&jobs[i]->work);
  while (engine_->Stats().checkpoints_waiting < jobs.size() - 1) std::this_thread::yield();
  store_control_->Unblock();
  for (const auto& job : jobs) EXPECT_TRUE(sink_.Wait(&job->work).ok());
  EXPECT_EQ(Groups() - before, 2u);
}

TEST_F(DurabilityTest, AfterAFailureTheSameStepIsAnsweredWithTheSameBytes) {
  StartWith(Durability::kEveryStep);
  const std::shared_ptr<Session> session = NewSession("a");
  store_control_->Fail(StoreUnavailable("down", absl::Milliseconds(7)));
  auto job = MakeStep(session, &sink_, 1, 1, 1);
  const absl::Status failed = Run(job.get());
  EXPECT_EQ(Shown(failed), "UNAVAILABLE / STORE_UNAVAILABLE");
  EXPECT_EQ(Metadata(failed, "applied"), "true");
  EXPECT_EQ(GetCause(failed).retry_after, absl::Milliseconds(7));
  const std::vector<float> computed = job->output;

  // Still down: a repeat is not answered from memory, and the next step does not even run.
  job->output.assign(job->output.size(), -1);
  EXPECT_EQ(Metadata(Run(job.get()), "applied"), "true");
  auto next = MakeStep(session, &sink_, 2, 1, 2);
  EXPECT_EQ(Metadata(Run(next.get()), "applied"), "false");
  EXPECT_EQ(engine_->Describe(*session).last_seq, 1u);

  store_control_->Fail(absl::OkStatus());
  ASSERT_TRUE(Run(job.get()).ok());
  EXPECT_TRUE(job->work.replayed);
  EXPECT_EQ(job->work.result_durable_seq, 1u);
  EXPECT_THAT(job->output, ElementsAreArray(computed));
  EXPECT_EQ(StoredSeq("a"), 1u);
  ASSERT_TRUE(Run(next.get()).ok());
  EXPECT_FALSE(next->work.replayed);
}

TEST_F(DurabilityTest, TheNextStepIsSavedWithTheOneThatFailed) {
  StartWith(Durability::kEveryStep);
  const std::shared_ptr<Session> session = NewSession("a");
  store_control_->Fail(StoreFull("full", absl::Seconds(1)));
  auto first = MakeStep(session, &sink_, 1, 1, 1);
  EXPECT_EQ(Shown(Run(first.get())), "RESOURCE_EXHAUSTED / STORE_FULL");
  store_control_->Fail(absl::OkStatus());
  auto second = MakeStep(session, &sink_, 2, 1, 2);
  ASSERT_TRUE(Run(second.get()).ok());
  EXPECT_THAT(StoredReplies("a"), ElementsAre(1, 2));
}

TEST_F(DurabilityTest, ALostAnswerOfTheStoreHarmsNothing) {
  StartWith(Durability::kEveryStep);
  const std::shared_ptr<Session> session = NewSession("a");
  store_control_->LoseAnswers(StoreUnavailable("gone", absl::Milliseconds(1)));
  auto job = MakeStep(session, &sink_, 1, 1, 1);
  EXPECT_FALSE(Run(job.get()).ok());
  EXPECT_EQ(StoredSeq("a"), 1u);
  store_control_->LoseAnswers(absl::OkStatus());
  ASSERT_TRUE(Run(job.get()).ok());
  EXPECT_TRUE(job->work.replayed);
  EXPECT_THAT(StoredReplies("a"), ElementsAre(1));
}

TEST_F(DurabilityTest, ASessionIsThereAfterACrashWithItsReplies) {
  StartWith(Durability::kEveryStep);
  NewSession("a");
  const SessionInfo before = *engine_->GetSession("m", "a", false);
  std::vector<float> last;
  for (uint64_t seq = 1; seq <= 20; ++seq) last = Step("a", seq);
  Crash();
  EXPECT_FALSE(engine_->FindSession("m", "a", true).ok());  // not from memory
  const SessionInfo stored = *engine_->GetSession("m", "a", true);
  EXPECT_EQ(stored.residency, Residency::kStore);
  EXPECT_EQ(stored.last_seq, 20u);
  EXPECT_EQ(stored.epoch, 1u);
  EXPECT_EQ(engine_->Stats().sessions, 0u);  // to look does not move it

  bool replayed = false;
  EXPECT_THAT(Step("a", 20, &replayed), ElementsAreArray(last));
  EXPECT_TRUE(replayed);
  const SessionInfo after = *engine_->GetSession("m", "a", true);
  EXPECT_EQ(after.residency, Residency::kDevice);
  EXPECT_EQ(after.uid, before.uid);
  EXPECT_EQ(after.create_time, before.create_time);
  EXPECT_EQ(after.epoch, 2u);
  EXPECT_EQ(after.steps, 20u);
  EXPECT_EQ(after.durable_seq, 20u);
  EXPECT_EQ(after.durability, Durability::kEveryStep);
  EXPECT_EQ(engine_->Stats().sessions_restored, 1u);
  Step("a", 21);
  EXPECT_THAT(StoredReplies("a"), ElementsAre(18, 19, 20, 21));
}

// Whatever the moment: what was acknowledged is there, and repeats of what was not go on exactly.
TEST_F(DurabilityTest, ACrashAtAnyMomentLosesNothingThatWasAcknowledged) {
  options_.sessions.replay_ring = 32;
  StartWith(Durability::kEveryStep);
  std::mt19937 random(20261125);
  FakeModelRun truth(SmallSpec());
  std::vector<std::vector<float>> outputs;
  NewSession("a");
  uint64_t acknowledged = 0;
  for (int crash = 0; crash < 60; ++crash) {
    auto session = engine_->RestoreSession("m", "a", false);
    ASSERT_TRUE(session.ok()) << session.status();
    const uint64_t last = engine_->Describe(**session).last_seq;
    ASSERT_GE(last, acknowledged);
    std::vector<std::unique_ptr<Job>> jobs;
    for (uint64_t seq = acknowledged + 1; seq <= acknowledged + 8; ++seq) {
      jobs.push_back(MakeStep(*session, &sink_, static_cast<float>(seq), 1, seq));
      if (seq > outputs.size()) outputs.push_back(truth.Run(jobs.back()->input));
      sink_.Forget(&jobs.back()->work);
    }
    if (random() % 3 == 0) store_control_->Block();
    for (const auto& job : jobs) engine_->Submit(&job->work);
    const size_t wait_for = random() % 4;
    if (random() % 2 == 0 && wait_for < jobs.size()) {
      for (size_t i = 0; i < wait_for; ++i) {
        store_control_->Release();
        if (!sink_.Wait(&jobs[i]->work).ok()) break;
      }
    }
    std::thread unblock([&] { store_control_->Unblock(); });
    Crash();
    unblock.join();
    for (size_t i = 0; i < jobs.size(); ++i) {
      const absl::Status status = sink_.Wait(&jobs[i]->work);
      if (!status.ok()) break;
      ++acknowledged;
      ASSERT_THAT(jobs[i]->output, ElementsAreArray(outputs[acknowledged - 1])) << "seq " << acknowledged;
    }
  }
  EXPECT_GT(acknowledged, 0u);
}

TEST_F(DurabilityTest, ResetAndNewStatesAreSafeWhenTheyAreAnswered) {
  StartWith(Durability::kEveryStep);
  NewSession("a");
  Step("a", 1);
  Step("a", 2);
  ASSERT_TRUE(engine_->ResetSession("m", "a", std::nullopt).ok());
  EXPECT_EQ(StoredSeq("a"), 0u);
  EXPECT_THAT(StoredReplies("a"), ElementsAre());
  const std::vector<float> first = Step("a", 1);
  UpdateSessionParams update;
  update.labels.emplace()["k"] = "v";
  update.state = StateValues{{9, 9, 9}, {8, 8, 8}};
  ASSERT_TRUE(engine_->UpdateSession("m", "a", update).ok());
  Crash();
  const SessionInfo info = *engine_->GetSession("m", "a", true);
  EXPECT_EQ(info.labels, *update.labels);
  EXPECT_THAT(info.state->c, ElementsAre(8, 8, 8));
  bool replayed = false;
  EXPECT_THAT(Step("a", 1, &replayed), ElementsAreArray(first));
  EXPECT_TRUE(replayed);

  store_control_->Fail(StoreUnavailable("down", absl::Milliseconds(1)));
  EXPECT_EQ(Shown(engine_->ResetSession("m", "a", std::nullopt).status()), "UNAVAILABLE / STORE_UNAVAILABLE");
}

TEST_F(DurabilityTest, WhatEndsIsGoneInTheStore) {
  StartWith(Durability::kEveryStep);
  NewSession("deleted");
  NewSession("ended");
  ASSERT_TRUE(engine_->DeleteSession("m", "deleted").ok());
  auto job = MakeStep(*engine_->FindSession("m", "ended", false), &sink_, 1, 1, 1);
  job->work.end_session = true;
  ASSERT_TRUE(Run(job.get()).ok());
  EXPECT_EQ(Sessions(), 0u);

  CreateSessionParams params;
  params.model = "m";
  params.id = "expired";
  params.idle_ttl = absl::Seconds(5);
  ASSERT_TRUE(engine_->CreateSession(params).ok());
  clock_.Advance(absl::Seconds(6));
  engine_->ExpireSessions();
  while (Sessions() != 0) std::this_thread::yield();
  for (const char* id : {"deleted", "ended", "expired"}) {
    EXPECT_EQ(Shown(engine_->RestoreSession("m", id, false).status()), "NOT_FOUND / SESSION_NOT_FOUND") << id;
  }
  EXPECT_EQ(Metadata(engine_->RestoreSession("m", "expired", false).status(), "last_event"), "EXPIRED");
}

TEST_F(DurabilityTest, AStepThatEndsItsSessionMayBeRepeatedWhenTheStoreFailed) {
  StartWith(Durability::kEveryStep);
  const std::shared_ptr<Session> session = NewSession("a");
  store_control_->Fail(StoreUnavailable("down", absl::Milliseconds(1)));
  auto job = MakeStep(session, &sink_, 1, 1, 1);
  job->work.end_session = true;
  EXPECT_FALSE(Run(job.get()).ok());
  EXPECT_FALSE(engine_->DeleteSession("m", "a").ok());
  EXPECT_TRUE(engine_->FindSession("m", "a", false).ok());
  store_control_->Fail(absl::OkStatus());
  ASSERT_TRUE(Run(job.get()).ok());
  EXPECT_TRUE(job->work.replayed);
  EXPECT_EQ(Sessions(), 0u);
  EXPECT_FALSE(engine_->FindSession("m", "a", false).ok());
}

TEST_F(DurabilityTest, WhatExpiredInTheStoreIsNotBroughtBack) {
  StartWith(Durability::kEveryStep);
  CreateSessionParams params;
  params.model = "m";
  params.id = "a";
  params.idle_ttl = absl::Seconds(5);
  ASSERT_TRUE(engine_->CreateSession(params).ok());
  Crash();
  clock_.Advance(absl::Seconds(6));
  const absl::Status gone = engine_->RestoreSession("m", "a", false).status();
  EXPECT_EQ(Shown(gone), "NOT_FOUND / SESSION_NOT_FOUND");
  EXPECT_EQ(Metadata(gone, "last_event"), "EXPIRED");
}

TEST_F(DurabilityTest, PeriodicHoldsBackOnlyWhatGoesBeyond) {
  options_.durability.checkpoint_steps = 4;
  options_.durability.checkpoint_interval = absl::Hours(1);
  StartWith(Durability::kPeriodic);
  const std::shared_ptr<Session> session = NewSession("a");
  store_control_->Block();
  for (uint64_t seq = 1; seq <= 4; ++seq) Step("a", seq);  // answered, though nothing is written
  EXPECT_EQ(StoredSeq("a"), 0u);
  auto fifth = MakeStep(session, &sink_, 5, 1, 5);
  sink_.Forget(&fifth->work);  // of a step before, at this address
  engine_->Submit(&fifth->work);
  while (engine_->Describe(*session).last_seq != 5) std::this_thread::yield();
  EXPECT_FALSE(sink_.Ended(&fifth->work).has_value());
  store_control_->Unblock();
  EXPECT_TRUE(sink_.Wait(&fifth->work).ok());
  EXPECT_EQ(fifth->work.result_durable_seq, 5u);
  EXPECT_EQ(StoredSeq("a"), 5u);
}

TEST_F(DurabilityTest, PeriodicSavesAfterItsInterval) {
  options_.durability.checkpoint_steps = 1000;
  options_.durability.checkpoint_interval = absl::Seconds(10);
  StartWith(Durability::kPeriodic);
  const std::shared_ptr<Session> session = NewSession("a");
  Step("a", 1);
  Step("a", 2);
  EXPECT_EQ(StoredSeq("a"), 0u);
  clock_.Advance(absl::Seconds(11));
  while (engine_->Describe(*session).durable_seq != 2) std::this_thread::yield();
  EXPECT_EQ(StoredSeq("a"), 2u);
  // And after a failure by itself.
  store_control_->Fail(StoreUnavailable("down", absl::Milliseconds(1)));
  const uint64_t failures = engine_->Stats().checkpoint_failures;
  Step("a", 3);
  clock_.Advance(absl::Seconds(11));
  while (engine_->Stats().checkpoint_failures == failures) std::this_thread::yield();
  store_control_->Fail(absl::OkStatus());
  while (engine_->Describe(*session).durable_seq != 3) {
    clock_.Advance(absl::Seconds(1));
    std::this_thread::yield();
  }
}

TEST_F(DurabilityTest, PeriodicLosesAtMostWhatWasAgreed) {
  options_.durability.checkpoint_steps = 5;
  options_.durability.checkpoint_interval = absl::Hours(1);
  StartWith(Durability::kPeriodic);
  NewSession("a");
  std::mt19937 random(7);
  uint64_t last = 0;
  for (int crash = 0; crash < 20; ++crash) {
    for (uint64_t steps = random() % 23; steps > 0; --steps) Step("a", ++last);
    Crash();
    const uint64_t stored = engine_->GetSession("m", "a", false)->last_seq;
    EXPECT_LE(stored, last);
    EXPECT_LE(last - stored, 5u);
    last = stored;
  }
}

TEST_F(DurabilityTest, NoneIsNotSavedUnlessAsked) {
  StartWith(Durability::kNone);
  NewSession("a");
  Step("a", 1);
  EXPECT_EQ(Sessions(), 0u);
  EXPECT_EQ(engine_->CheckpointSession("m", "a")->durable_seq, 1u);
  Step("a", 2);
  EXPECT_EQ(engine_->GetSession("m", "a", false)->durable_seq, 1u);
  Crash();
  EXPECT_EQ(engine_->GetSession("m", "a", false)->last_seq, 1u);
  Step("a", 2);
  Crash();
  EXPECT_EQ(engine_->GetSession("m", "a", false)->last_seq, 1u);
}

TEST_F(DurabilityTest, DurabilityMayChange) {
  StartWith(Durability::kNone);
  NewSession("a");
  Step("a", 1);
  UpdateSessionParams update;
  update.durability = Durability::kEveryStep;
  EXPECT_EQ(engine_->UpdateSession("m", "a", update)->durable_seq, 1u);
  EXPECT_THAT(StoredReplies("a"), ElementsAre(1));
  Step("a", 2);
  EXPECT_EQ(StoredSeq("a"), 2u);
  update.durability = Durability::kNone;
  ASSERT_TRUE(engine_->UpdateSession("m", "a", update).ok());
  EXPECT_EQ(Sessions(), 0u);
  Step("a", 3);
  EXPECT_EQ(Sessions(), 0u);
}

TEST_F(DurabilityTest, WithoutAStoreThereIsNone) {
  options_.store = nullptr;
  Start();
  AddSmall();
  CreateSessionParams params;
  params.model = "m";
  params.durability = Durability::kPeriodic;
  EXPECT_EQ(Shown(CreateError(params)), "FAILED_PRECONDITION / NO_STORE");
  NewSession("a");
  UpdateSessionParams update;
  update.durability = Durability::kEveryStep;
  EXPECT_EQ(Shown(engine_->UpdateSession("m", "a", update).status()), "FAILED_PRECONDITION / NO_STORE");
  EXPECT_EQ(Shown(engine_->CheckpointSession("m", "a").status()), "FAILED_PRECONDITION / NO_STORE");
}

TEST_F(DurabilityTest, AStoreThatIsDownIsAnErrorOfWhatNeedsIt) {
  StartWith(Durability::kNone);
  NewSession("a");
  store_control_->Fail(StoreUnavailable("down", absl::Milliseconds(1)));
  Step("a", 1);  // needs none
  EXPECT_EQ(Shown(engine_->RestoreSession("m", "b", true).status()), "UNAVAILABLE / STORE_UNAVAILABLE");
  EXPECT_EQ(Shown(engine_->GetSession("m", "b", false).status()), "UNAVAILABLE / STORE_UNAVAILABLE");
  EXPECT_EQ(Shown(engine_->CheckpointSession("m", "a").status()), "UNAVAILABLE / STORE_UNAVAILABLE");
  CreateSessionParams params;
  params.model = "m";
  params.id = "b";
  EXPECT_EQ(Shown(CreateError(params)), "UNAVAILABLE / STORE_UNAVAILABLE");
  store_control_->Fail(absl::OkStatus());
  EXPECT_TRUE(engine_->CreateSession(params).ok());
}

}  // namespace
}  // namespace lstmd
