// SPDX-License-Identifier: Apache-2.0
//
// Two engines on one store: sessions move from one to the other, and the one that had them before cannot spoil them.
#include "absl/strings/str_cat.h"
#include "tests/engine/durable_fixture.h"

namespace lstmd {
namespace {

using ::testing::ElementsAreArray;

class FencingTest : public DurableTest {
 protected:
  FencingTest() {
    options_.durability.durability = Durability::kEveryStep;
    options_.durability.owner = "a:1";
    Start();
    AddSmall();
    EngineOptions other = options_;
    other.durability.owner = "b:2";
    other.store = std::make_shared<FakeStore>(data_, other_store_control_);
    std::vector<std::unique_ptr<Backend>> backends;
    backends.push_back(std::make_unique<FakeBackend>(other_control_));
    other_ = *Engine::Create(other, std::move(backends));
    EXPECT_TRUE(other_->AddModel("m", 1, SmallSpec(), SomeWeights(SmallSpec())).ok());
  }
  ~FencingTest() override {
    other_control_->Unblock();
    other_.reset();
  }

  absl::Status StepOn(Engine& engine, const std::shared_ptr<Session>& session, uint64_t seq,
                      std::vector<float>* output = nullptr) {
    auto job = MakeStep(session, &sink_, static_cast<float>(seq), 1, seq);
    sink_.Forget(&job->work);
    engine.Submit(&job->work);
    const absl::Status status = sink_.Wait(&job->work);
    if (output != nullptr) *output = job->output;
    return status;
  }
  std::shared_ptr<Session> At(Engine& engine, const std::string& id) {
    auto session = engine.RestoreSession("m", id, false);
    EXPECT_TRUE(session.ok()) << session.status();
    return session.ok() ? *session : nullptr;
  }

  const std::shared_ptr<FakeControl> other_control_ = std::make_shared<FakeControl>();
  const std::shared_ptr<FakeStoreControl> other_store_control_ = std::make_shared<FakeStoreControl>();
  std::unique_ptr<Engine> other_;
};

TEST_F(FencingTest, AnOwnerThatWasReplacedHasNothingSafeAndReachesNothing) {
  const std::shared_ptr<Session> stale = NewSession("s");
  ASSERT_TRUE(StepOn(*engine_, stale, 1).ok());

  // The first server is cut off from the store, and goes on receiving steps.
  store_control_->Fail(StoreUnavailable("cut off", absl::Milliseconds(1)));
  EXPECT_EQ(Shown(StepOn(*engine_, stale, 2)), "UNAVAILABLE / STORE_UNAVAILABLE");
  const std::shared_ptr<Session> taken = At(*other_, "s");
  ASSERT_NE(taken, nullptr);
  std::vector<float> second;
  ASSERT_TRUE(StepOn(*other_, taken, 2, &second).ok());
  ASSERT_TRUE(StepOn(*other_, taken, 3).ok());
  for (const uint64_t seq : {3, 2, 3}) {
    EXPECT_EQ(Shown(StepOn(*engine_, stale, seq)), "UNAVAILABLE / STORE_UNAVAILABLE");
  }
  EXPECT_EQ(StoredSeq("s"), 3u);
  EXPECT_EQ(Stored("s").epoch, 2u);

  // The cut heals: the store itself refuses it.
  store_control_->Fail(absl::OkStatus());
  for (uint64_t seq = 2; seq < 6; ++seq) {
    const absl::Status refused = StepOn(*engine_, stale, seq);
    EXPECT_EQ(Shown(refused), "UNAVAILABLE / SESSION_MOVED");
    EXPECT_EQ(Metadata(refused, "owner_address"), "b:2");
  }
  EXPECT_EQ(StoredSeq("s"), 3u);
  EXPECT_EQ(Stored("s").epoch, 2u);
  EXPECT_EQ(Shown(engine_->ResetSession("m", "s", std::nullopt).status()), "UNAVAILABLE / SESSION_MOVED");
  EXPECT_EQ(Shown(engine_->DeleteSession("m", "s")), "UNAVAILABLE / SESSION_MOVED");

  // A repeat of what the first server had applied was never acknowledged there; here it is what it is here.
  std::vector<float> again;
  ASSERT_TRUE(StepOn(*other_, taken, 2, &again).ok());
  EXPECT_THAT(again, ElementsAreArray(second));
}

TEST_F(FencingTest, ResetsOfAStaleOwnerDoNotOutrunTheEpoch) {
  const std::shared_ptr<Session> stale = NewSession("s");
  const std::shared_ptr<Session> taken = At(*other_, "s");
  ASSERT_TRUE(StepOn(*other_, taken, 1).ok());
  store_control_->Fail(StoreUnavailable("cut off", absl::Milliseconds(1)));
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(engine_->ResetSession("m", "s", std::nullopt).ok());
  EXPECT_GT(engine_->Describe(*stale).epoch, other_->Describe(*taken).epoch);
  store_control_->Fail(absl::OkStatus());
  EXPECT_EQ(Shown(StepOn(*engine_, stale, 1)), "UNAVAILABLE / SESSION_MOVED");
  EXPECT_EQ(StoredSeq("s"), 1u);
}

// A client that moved away and came back is ahead of the copy that stayed here.
TEST_F(FencingTest, AStepAheadOfAStaleCopyFindsOutThatItMoved) {
  const std::shared_ptr<Session> stale = NewSession("s");
  ASSERT_TRUE(StepOn(*engine_, stale, 1).ok());
  EXPECT_EQ(Shown(StepOn(*engine_, stale, 3)), "OUT_OF_RANGE / STEP_GAP") << "ours, so the gap is one";
  ASSERT_TRUE(StepOn(*engine_, stale, 2).ok());
  const std::shared_ptr<Session> taken = At(*other_, "s");
  for (uint64_t seq = 3; seq <= 5; ++seq) ASSERT_TRUE(StepOn(*other_, taken, seq).ok());
  EXPECT_EQ(Shown(StepOn(*engine_, stale, 6)), "UNAVAILABLE / SESSION_MOVED");
  EXPECT_EQ(StoredSeq("s"), 5u);
}

TEST_F(FencingTest, AnEpochAheadOfAStaleCopyFindsOutThatItMoved) {
  const std::shared_ptr<Session> stale = NewSession("s");
  ASSERT_TRUE(StepOn(*engine_, stale, 1).ok());
  const std::shared_ptr<Session> taken = At(*other_, "s");
  auto job = MakeStep(stale, &sink_, 2.0f, 1, 2);
  job->work.epoch = other_->Describe(*taken).epoch;
  sink_.Forget(&job->work);
  engine_->Submit(&job->work);
  EXPECT_EQ(Shown(sink_.Wait(&job->work)), "UNAVAILABLE / SESSION_MOVED");
}

TEST_F(FencingTest, WhatWaitsBehindAFencedStepIsToldSo) {
  const std::shared_ptr<Session> stale = NewSession("s");
  ASSERT_NE(At(*other_, "s"), nullptr);
  control_->Block();
  std::vector<std::unique_ptr<Job>> jobs;
  for (uint64_t seq = 1; seq <= 3; ++seq) jobs.push_back(MakeStep(stale, &sink_, 1, 1, seq));
  for (const auto& job : jobs) {
    sink_.Forget(&job->work);
    engine_->Submit(&job->work);
  }
  control_->Unblock();
  for (const auto& job : jobs) EXPECT_EQ(Shown(sink_.Wait(&job->work)), "UNAVAILABLE / SESSION_MOVED");
}

TEST_F(FencingTest, AFencedServerSaysWhereForAWhileAndThenTakesItBack) {
  const std::shared_ptr<Session> stale = NewSession("s");
  const std::shared_ptr<Session> taken = At(*other_, "s");
  EXPECT_FALSE(StepOn(*engine_, stale, 1).ok());
  const absl::Status moved = engine_->RestoreSession("m", "s", true).status();
  EXPECT_EQ(Shown(moved), "UNAVAILABLE / SESSION_MOVED");
  EXPECT_EQ(Metadata(moved, "owner_address"), "b:2");
  clock_.Advance(absl::Seconds(6));
  const std::shared_ptr<Session> back = At(*engine_, "s");
  ASSERT_NE(back, nullptr);
  EXPECT_EQ(engine_->Describe(*back).epoch, 3u);
  ASSERT_TRUE(StepOn(*engine_, back, 1).ok());
  EXPECT_EQ(Shown(StepOn(*other_, taken, 1)), "UNAVAILABLE / SESSION_MOVED");
}

TEST_F(FencingTest, OneThatWasGivenUpIsTakenAtOnce) {
  const std::shared_ptr<Session> stale = NewSession("s");
  ASSERT_NE(At(*other_, "s"), nullptr);
  EXPECT_FALSE(StepOn(*engine_, stale, 1).ok());
  EXPECT_EQ(other_->HandOver(absl::InfiniteFuture()).saved, 1u);
  EXPECT_NE(At(*engine_, "s"), nullptr);
}

TEST_F(FencingTest, OneThatEndedElsewhereIsGone) {
  const std::shared_ptr<Session> stale = NewSession("s");
  ASSERT_NE(At(*other_, "s"), nullptr);
  ASSERT_TRUE(other_->DeleteSession("m", "s").ok());
  EXPECT_EQ(Shown(StepOn(*engine_, stale, 1)), "ABORTED / SESSION_FENCED");
  EXPECT_EQ(Sessions(), 0u);
  EXPECT_EQ(Shown(engine_->RestoreSession("m", "s", false).status()), "NOT_FOUND / SESSION_NOT_FOUND");
  EXPECT_TRUE(engine_->RestoreSession("m", "s", true).ok());
}

TEST_F(FencingTest, NamesAreTakenWhereverTheyAre) {
  NewSession("s");
  CreateSessionParams params;
  params.model = "m";
  params.id = "s";
  EXPECT_EQ(Shown(other_->CreateSession(params).status()), "ALREADY_EXISTS / SESSION_EXISTS");
  EXPECT_EQ(Stored("s").epoch, 1u);  // it stayed where it is
  params.exists_ok = true;
  EXPECT_EQ(other_->CreateSession(params)->epoch, 2u);
}

TEST_F(FencingTest, HandOverSavesEverySessionBehindItsWork) {
  CreateSessionParams params;
  params.model = "m";
  std::vector<std::shared_ptr<Session>> sessions;
  for (const Durability durability : {Durability::kNone, Durability::kPeriodic, Durability::kEveryStep}) {
    params.id = std::string(Name(durability));
    params.durability = durability;
    ASSERT_TRUE(engine_->CreateSession(params).ok());
    sessions.push_back(*engine_->FindSession("m", params.id, false));
    ASSERT_TRUE(StepOn(*engine_, sessions.back(), 1).ok());
  }
  control_->Block();
  std::vector<std::unique_ptr<Job>> before, after;
  for (const auto& session : sessions) {
    before.push_back(MakeStep(session, &sink_, 2, 1, 2));
    sink_.Forget(&before.back()->work);
    engine_->Submit(&before.back()->work);
  }
  control_->WaitUntilBlocked();
  Handover handover;
  std::thread drain([&] { handover = engine_->HandOver(absl::InfiniteFuture()); });
  while (!absl::IsUnavailable(CreateError(params))) std::this_thread::yield();  // before: the name is taken
  control_->Unblock();
  drain.join();
  EXPECT_EQ(handover.saved, 3u);
  EXPECT_EQ(handover.left, 0u);
  for (const auto& job : before) EXPECT_TRUE(sink_.Wait(&job->work).ok());
  for (const auto& session : sessions) {
    EXPECT_EQ(Shown(StepOn(*engine_, session, 3)), "UNAVAILABLE / DRAINING");
    const std::shared_ptr<Session> there = At(*other_, IdOf(*session));
    ASSERT_NE(there, nullptr);
    EXPECT_EQ(other_->Describe(*there).last_seq, 2u);
    EXPECT_TRUE(StepOn(*other_, there, 3).ok());
  }
  EXPECT_EQ(engine_->Stats().sessions, 0u);
  // One that is lost with its server is in the store only to be moved.
  EXPECT_EQ(Sessions(), 2u);
}

// Such a session is taken out of the store before it stands among the living: a drain at that moment must not miss it.
TEST_F(FencingTest, HandOverWaitsForOneThatIsOnItsWayIn) {
  CreateSessionParams params;
  params.model = "m";
  params.id = "s";
  params.durability = Durability::kNone;
  ASSERT_TRUE(engine_->CreateSession(params).ok());
  ASSERT_TRUE(StepOn(*engine_, *engine_->FindSession("m", "s", false), 1).ok());
  ASSERT_EQ(engine_->HandOver(absl::InfiniteFuture()).saved, 1u);

  other_store_control_->Block();
  std::thread restore([&] { At(*other_, "s"); });
  other_store_control_->WaitUntilBlocked();
  Handover handover;
  std::thread drain([&] { handover = other_->HandOver(absl::InfiniteFuture()); });
  params.id = "another";
  while (!absl::IsUnavailable(other_->CreateSession(params).status())) std::this_thread::yield();
  other_store_control_->Unblock();
  restore.join();
  drain.join();
  EXPECT_GE(handover.saved, 1u);
  EXPECT_EQ(handover.left, 0u);
  EXPECT_EQ(StoredSeq("s"), 1u);
}

TEST_F(FencingTest, HandOverWithoutAStoreThatAnswersLeavesThemWhereTheyAre) {
  const std::shared_ptr<Session> session = NewSession("s");
  store_control_->Fail(StoreUnavailable("down", absl::Milliseconds(1)));
  const Handover handover = engine_->HandOver(absl::InfiniteFuture());
  EXPECT_EQ(handover.saved, 0u);
  EXPECT_EQ(handover.left, 1u);
  EXPECT_EQ(Shown(handover.error), "UNAVAILABLE / STORE_UNAVAILABLE");
  store_control_->Fail(absl::OkStatus());
  EXPECT_TRUE(StepOn(*engine_, session, 1).ok());
  EXPECT_EQ(engine_->HandOver(absl::InfiniteFuture()).saved, 1u);
}

TEST_F(FencingTest, ASessionOfOtherWeightsStaysWhereItIs) {
  NewSession("s");
  ASSERT_TRUE(other_->UnloadModel("m", 1, true).ok());
  EXPECT_EQ(Shown(other_->RestoreSession("m", "s", false).status()), "NOT_FOUND / MODEL_NOT_FOUND");
  ModelSpec wide = SmallSpec();
  wide.hidden_size = 4;
  ASSERT_TRUE(other_->AddModel("m", 1, wide, SomeWeights(wide)).ok());
  EXPECT_FALSE(other_->RestoreSession("m", "s", false).ok());
  EXPECT_EQ(Stored("s").epoch, 1u);
}

TEST_F(FencingTest, ManyThreadsRestoreASessionOnce) {
  NewSession("s");
  Crash();
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([this] { EXPECT_TRUE(engine_->RestoreSession("m", "s", true).ok()); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Stored("s").epoch, 2u);
  EXPECT_EQ(engine_->Stats().sessions, 1u);
}

}  // namespace
}  // namespace lstmd
