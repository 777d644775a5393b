// SPDX-License-Identifier: Apache-2.0
//
// Forks: copies of a session that go their own way.
#include <string>

#include "tests/engine/fixture.h"

namespace lstmd {
namespace {

class ForkTest : public EngineTest {
 protected:
  void SetUp() override {
    options_.sessions.max_sessions = 4;
    Start();
    AddSmall();
  }
  std::vector<float> StepIt(const std::string& id, float seed, uint64_t seq = 0) {
    const auto session = engine_->FindSession("m", id, false);
    EXPECT_TRUE(session.ok()) << session.status();
    auto step = MakeStep(*session, &sink_, seed, 1, seq);
    EXPECT_TRUE(Run(step.get()).ok());
    sink_.Forget(&step->work);
    return step->output;
  }
  absl::StatusOr<SessionInfo> Fork(const std::string& from, const std::string& to) {
    ForkSessionParams params;
    params.model = "m";
    params.id = from;
    params.new_id = to;
    return engine_->ForkSession(params);
  }
};

TEST_F(ForkTest, ACopyGoesOnFromThereAndTheTwoAreIndependent) {
  CreateSessionParams params;
  params.model = "m";
  params.id = "a";
  params.labels = {{"k", "v"}};
  params.idle_ttl = absl::Minutes(3);
  const auto a = engine_->CreateSession(params);
  ASSERT_TRUE(a.ok()) << a.status();
  StepIt("a", 1, 1);
  StepIt("a", 2, 2);
  clock_.Advance(absl::Seconds(1));
  const auto b = Fork("a", "b");
  ASSERT_TRUE(b.ok()) << b.status();
  EXPECT_NE(b->uid, a->uid);
  EXPECT_EQ(b->last_seq, 2u);
  EXPECT_EQ(b->steps, 2u);
  EXPECT_EQ(b->epoch, 1u);
  EXPECT_EQ(b->create_time, clock_.Now());
  EXPECT_EQ(b->labels, params.labels);
  EXPECT_EQ(b->idle_ttl, absl::Minutes(3));
  EXPECT_EQ(StateOf("b").h, StateOf("a").h);
  EXPECT_EQ(StepIt("b", 3, 3), StepIt("a", 3, 3));
  StepIt("b", 9);
  EXPECT_NE(StateOf("b").c, StateOf("a").c);
  // No step of the copy was answered before the fork.
  auto repeat = MakeStep(*engine_->FindSession("m", "b", false), &sink_, 2, 1, 2);
  EXPECT_EQ(Shown(Run(repeat.get())), "ALREADY_EXISTS / STEP_REPLAY_EXPIRED");
}

TEST_F(ForkTest, ItIsMadeBetweenTwoStepsWhileOthersRun) {
  const auto a = NewSession("a");
  control_->Block();
  auto first = MakeStep(a, &sink_, 1, 1, 1);
  auto second = MakeStep(a, &sink_, 2, 1, 2);
  engine_->Submit(&first->work);
  engine_->Submit(&second->work);
  control_->WaitUntilBlocked();
  absl::StatusOr<SessionInfo> fork = absl::UnknownError("");
  std::thread forker([&] { fork = Fork("a", "b"); });
  control_->Unblock();
  forker.join();
  ASSERT_TRUE(fork.ok()) << fork.status();
  ASSERT_TRUE(sink_.Wait(&first->work).ok());
  ASSERT_TRUE(sink_.Wait(&second->work).ok());
  EXPECT_EQ(fork->last_seq, 2u) << "after what was accepted before";
  EXPECT_EQ(StateOf("b").h, StateOf("a").h);
}

TEST_F(ForkTest, SettingsMayBeGiven) {
  NewSession("a");
  ForkSessionParams params;
  params.model = "m";
  params.id = "a";
  params.settings.labels = std::map<std::string, std::string>{{"of", "a"}};
  params.settings.idle_ttl = absl::Minutes(1);
  params.settings.expire_time = clock_.Now() + absl::Hours(1);
  const auto fork = engine_->ForkSession(params);
  ASSERT_TRUE(fork.ok()) << fork.status();
  EXPECT_TRUE(IsValidSessionId(fork->id));
  EXPECT_EQ(fork->labels.at("of"), "a");
  EXPECT_EQ(fork->idle_ttl, absl::Minutes(1));
  EXPECT_EQ(fork->expire_time, clock_.Now() + absl::Hours(1));
  params.settings.expire_time = clock_.Now();
  EXPECT_EQ(Shown(engine_->ForkSession(params).status()), "INVALID_ARGUMENT / EXPIRE_TIME");
}

TEST_F(ForkTest, WhatFailsLeavesNothing) {
  NewSession("a");
  EXPECT_EQ(Shown(Fork("none", "b").status()), "NOT_FOUND / SESSION_NOT_FOUND");
  EXPECT_EQ(Shown(Fork("a", "a").status()), "ALREADY_EXISTS / SESSION_EXISTS");
  EXPECT_EQ(Shown(Fork("a", "/").status()), "INVALID_ARGUMENT / SESSION_ID");
  control_->FailPool(absl::InternalError("no"));
  EXPECT_FALSE(Fork("a", "b").ok());
  EXPECT_EQ(engine_->Stats().sessions, 1u);
  EXPECT_EQ(control_->live_slots(), 1);
  for (const char* id : {"b", "c", "d"}) ASSERT_TRUE(Fork("a", id).ok());
  EXPECT_EQ(Shown(Fork("a", "e").status()), "RESOURCE_EXHAUSTED / SESSION_LIMIT");
  EXPECT_EQ(control_->live_slots(), 4);
}

}  // namespace
}  // namespace lstmd
