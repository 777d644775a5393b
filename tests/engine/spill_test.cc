// SPDX-License-Identifier: Apache-2.0
//
// Sessions that leave their device while they are idle, and come back.
#include <stdlib.h>

#include <filesystem>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/engine/durable_fixture.h"

namespace lstmd {
namespace {

using ::testing::ElementsAreArray;

class SpillTest : public DurableTest {
 protected:
  SpillTest() {
    std::string pattern = std::filesystem::temp_directory_path() / "lstmd_spill_XXXXXX";
    if (mkdtemp(pattern.data()) != nullptr) folder_ = pattern;
    options_.store = nullptr;
    options_.spill.max_resident_sessions = 3;
  }
  ~SpillTest() override {
    engine_.reset();
    std::filesystem::remove_all(folder_);
  }
  void StartSpilling() {
    Start();
    AddSmall();
  }
  Residency Where(const std::string& id) { return engine_->GetSession("m", id, false)->residency; }
  absl::Status Create(const std::string& id, bool pinned = false) {
    CreateSessionParams params;
    params.model = "m";
    params.id = id;
    params.pinned = pinned;
    return engine_->CreateSession(params).status();
  }

  std::string folder_;
};

TEST_F(SpillTest, TheLongestIdleLeaveAndComeBackAsTheyWere) {
  StartSpilling();
  std::vector<std::vector<float>> expected;
  for (int i = 0; i < 5; ++i) {
    const std::string id = absl::StrCat("s", i);
    ASSERT_TRUE(Create(id).ok());
    expected.push_back(Step(id, 1));
  }
  EXPECT_EQ(Where("s0"), Residency::kHost);
  EXPECT_EQ(Where("s1"), Residency::kHost);
  EXPECT_EQ(Where("s2"), Residency::kDevice);
  EXPECT_EQ(control_->live_slots(), 3);
  EXPECT_EQ(engine_->Stats().sessions_resident, 3u);
  EXPECT_EQ(engine_->Stats().sessions_on_host, 2u);
  EXPECT_GT(engine_->Stats().spill_host_bytes, 0u);

  // A repeat, from the ring that left with it.
  bool replayed = false;
  EXPECT_THAT(Step("s0", 1, &replayed), ElementsAreArray(expected[0]));
  EXPECT_TRUE(replayed);
  EXPECT_EQ(Where("s0"), Residency::kDevice);
  EXPECT_EQ(Where("s2"), Residency::kHost);  // the longest idle now
  FakeModelRun run(SmallSpec());
  run.Run({1, 1.125f});
  EXPECT_THAT(Step("s0", 2), ElementsAreArray(run.Run({2, 2.125f})));
  EXPECT_EQ(engine_->Stats().spill_restores, 1u);
}

TEST_F(SpillTest, WhatIsDoneToASessionThatIsOut) {
  StartSpilling();
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(Create(absl::StrCat("s", i)).ok());
    Step(absl::StrCat("s", i), 1);
  }
  FakeModelRun run(SmallSpec());
  run.Run({1, 1.125f});
  EXPECT_THAT(engine_->ExportSession("m", "s0")->c, ElementsAreArray(run.c));
  EXPECT_EQ(engine_->ExportSession("m", "s0")->replies.size(), 1u);
  EXPECT_EQ(Where("s0"), Residency::kHost);
  EXPECT_THAT(StateOf("s0").h, ElementsAreArray(run.h));
  UpdateSessionParams update;
  update.state = StateValues{{1, 2, 3}, {4, 5, 6}};
  ASSERT_TRUE(engine_->UpdateSession("m", "s1", update).ok());
  EXPECT_THAT(StateOf("s1").c, ElementsAreArray({4, 5, 6}));
  ASSERT_TRUE(engine_->ResetSession("m", "s2", std::nullopt).ok());
  EXPECT_THAT(StateOf("s2").c, ElementsAreArray({0, 0, 0}));
  const EngineStats before = engine_->Stats();
  ASSERT_TRUE(engine_->DeleteSession("m", "s3").ok());
  EXPECT_EQ(engine_->Stats().sessions_on_host, before.sessions_on_host - 1);
  EXPECT_LT(engine_->Stats().spill_host_bytes, before.spill_host_bytes);
  EXPECT_LE(control_->live_slots(), 3);
}

TEST_F(SpillTest, WhatTheHostHasNoRoomForGoesToDisk) {
  options_.spill.host_bytes = 1;
  options_.spill.folder = folder_;
  StartSpilling();
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(Create(absl::StrCat("s", i)).ok());
    Step(absl::StrCat("s", i), 1);
  }
  const EngineStats stats = engine_->Stats();
  EXPECT_EQ(stats.sessions_resident, 3u);
  EXPECT_GE(stats.sessions_on_disk, 190u);
  EXPECT_EQ(Where("s7"), Residency::kDisk);
  bool replayed = false;
  Step("s7", 1, &replayed);
  EXPECT_TRUE(replayed);
  FakeModelRun run(SmallSpec());
  run.Run({1, 1.125f});
  EXPECT_THAT(Step("s7", 2), ElementsAreArray(run.Run({2, 2.125f})));
  ASSERT_TRUE(engine_->DeleteSession("m", "s8").ok());
  for (int i = 0; i < 200; ++i) {
    if (i != 8) Step(absl::StrCat("s", i), i == 7 ? 3 : 2);
  }
}

TEST_F(SpillTest, WithNowhereToGoNewOnesAreRefused) {
  options_.spill.host_bytes = 1;
  StartSpilling();
  absl::Status status;
  int made = 0;
  while ((status = Create(absl::StrCat("s", made))).ok()) ++made;
  EXPECT_EQ(Shown(status), "RESOURCE_EXHAUSTED / SPILL_MEMORY");
  EXPECT_GE(made, 3);
  EXPECT_LE(made, 5);
  Step("s0", 1);  // one that is here already goes on
}

TEST_F(SpillTest, PinnedOnesStay) {
  StartSpilling();
  ASSERT_TRUE(Create("pinned", true).ok());
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(Create(absl::StrCat("s", i)).ok());
  EXPECT_EQ(Where("pinned"), Residency::kDevice);
  EXPECT_TRUE(engine_->GetSession("m", "pinned", false)->pinned);
  UpdateSessionParams update;
  update.pinned = false;
  ASSERT_TRUE(engine_->UpdateSession("m", "pinned", update).ok());
  for (int i = 10; i < 20; ++i) ASSERT_TRUE(Create(absl::StrCat("s", i)).ok());
  EXPECT_EQ(Where("pinned"), Residency::kHost);
}

TEST_F(SpillTest, OnesAtWorkStay) {
  StartSpilling();
  control_->Block();
  std::vector<std::unique_ptr<Job>> jobs;
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(Create(absl::StrCat("s", i)).ok());
    jobs.push_back(MakeStep(*engine_->FindSession("m", absl::StrCat("s", i), false), &sink_, 1, 1, 1));
    engine_->Submit(&jobs.back()->work);
  }
  // One that was idle until its step came may have left in between, and comes back.
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  while (control_->live_slots() < 6 && absl::Now() < deadline) std::this_thread::yield();
  EXPECT_EQ(control_->live_slots(), 6);  // more than may be, for as long as they work
  control_->Unblock();
  for (const auto& job : jobs) EXPECT_TRUE(sink_.Wait(&job->work).ok());
  ASSERT_TRUE(Create("more").ok());
  EXPECT_EQ(control_->live_slots(), 3);
}

TEST_F(SpillTest, ASessionThatIsOutIsSavedAndHandedOver) {
  options_.store = std::make_shared<FakeStore>(data_, store_control_);
  options_.durability.durability = Durability::kPeriodic;
  StartSpilling();
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(Create(absl::StrCat("s", i)).ok());
    Step(absl::StrCat("s", i), 1);
  }
  EXPECT_EQ(Where("s0"), Residency::kHost);
  EXPECT_EQ(engine_->CheckpointSession("m", "s0")->durable_seq, 1u);
  EXPECT_EQ(Where("s0"), Residency::kHost);
  EXPECT_EQ(engine_->HandOver(absl::InfiniteFuture()).saved, 8u);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(StoredReplies(absl::StrCat("s", i)).size(), 1u);
  Crash();
  for (int i = 0; i < 8; ++i) Step(absl::StrCat("s", i), 2);
  EXPECT_LE(control_->live_slots(), 3);
}

// Many threads on more sessions than there is room for: every output is that of an undisturbed run.
TEST_F(SpillTest, UnderLoadNothingIsMixedUp) {
  options_.spill.host_bytes = 2000;
  options_.spill.folder = folder_;
  StartSpilling();
  constexpr int kThreads = 4, kSessions = 12, kSteps = 60;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([this, t] {
      std::mt19937 random(static_cast<uint32_t>(t));
      std::vector<FakeModelRun> runs(kSessions, FakeModelRun(SmallSpec()));
      std::vector<uint64_t> last(kSessions, 0);
      Recorder sink;
      for (int i = 0; i < kSessions; ++i) ASSERT_TRUE(Create(absl::StrCat("t", t, "-", i)).ok());
      for (int i = 0; i < kSessions * kSteps; ++i) {
        const size_t s = random() % kSessions;
        const std::shared_ptr<Session> session = *engine_->FindSession("m", absl::StrCat("t", t, "-", s), false);
        const uint64_t seq = ++last[s];
        auto job = MakeStep(session, &sink, static_cast<float>(seq + s), 1, seq);
        ASSERT_TRUE(Run(job.get()).ok());
        ASSERT_THAT(job->output, ElementsAreArray(runs[s].Run(job->input)));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(engine_->Stats().spill_restores, 100u);
  EXPECT_GT(engine_->Stats().sessions_on_disk, 0u);
}

}  // namespace
}  // namespace lstmd
