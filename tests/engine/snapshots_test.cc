// SPDX-License-Identifier: Apache-2.0
//
// Sessions out of and into an engine.
#include "tests/engine/fixture.h"

namespace lstmd {
namespace {

using ::testing::ElementsAreArray;

class SnapshotsTest : public EngineTest {
 protected:
  SnapshotsTest() {
    Start();
    AddSmall();
  }

  std::vector<float> Step(const std::string& id, float seed, uint64_t seq, bool* replayed = nullptr) {
    auto session = engine_->FindSession("m", id, false);
    EXPECT_TRUE(session.ok()) << session.status();
    auto job = MakeStep(*session, &sink_, seed, 1, seq);
    EXPECT_TRUE(Run(job.get()).ok());
    if (replayed != nullptr) *replayed = job->work.replayed;
    return job->output;
  }

  Snapshot Export(const std::string& id) {
    auto snapshot = engine_->ExportSession("m", id);
    EXPECT_TRUE(snapshot.ok()) << snapshot.status();
    return *std::move(snapshot);
  }

  absl::Status Import(Snapshot snapshot, const std::string& id, bool replace = false) {
    ImportSessionParams params;
    params.model = "m";
    params.id = id;
    params.snapshot = std::move(snapshot);
    params.replace = replace;
    return engine_->ImportSession(params).status();
  }
};

TEST_F(SnapshotsTest, AnImportedSessionGoesOnAsTheOneItIsOf) {
  NewSession("a");
  Step("a", 1, 1);
  const std::vector<float> second = Step("a", 2, 2);
  ASSERT_TRUE(Import(Export("a"), "b").ok());
  bool replayed = false;
  EXPECT_THAT(Step("b", 2, 2, &replayed), ElementsAreArray(second));
  EXPECT_TRUE(replayed);
  EXPECT_THAT(Step("b", 3, 3), ElementsAreArray(Step("a", 3, 3)));
  const SessionInfo a = *engine_->GetSession("m", "a", false);
  const SessionInfo b = *engine_->GetSession("m", "b", false);
  EXPECT_EQ(b.last_seq, 3u);
  EXPECT_EQ(b.steps, 3u);
  EXPECT_EQ(b.epoch, a.epoch + 1);
  EXPECT_NE(b.uid, a.uid);
}

TEST_F(SnapshotsTest, ASnapshotIsTakenBetweenTwoSteps) {
  const std::shared_ptr<Session> session = NewSession("a");
  control_->Block();
  auto job = MakeStep(session, &sink_, 1, 1, 1);
  engine_->Submit(&job->work);
  control_->WaitUntilBlocked();
  absl::StatusOr<Snapshot> snapshot;
  std::thread exporter([&] { snapshot = engine_->ExportSession("m", "a"); });
  control_->Unblock();
  exporter.join();
  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  // Whether before or after the step, all of it is of one moment.
  FakeModelRun run(SmallSpec());
  if (snapshot->last_seq == 1) run.Run(job->input);
  EXPECT_THAT(snapshot->h, ElementsAreArray(run.h));
  EXPECT_THAT(snapshot->c, ElementsAreArray(run.c));
  EXPECT_EQ(snapshot->replies.size(), snapshot->last_seq);
  EXPECT_EQ(snapshot->steps, snapshot->last_seq);
  EXPECT_TRUE(sink_.Wait(&job->work).ok());
}

TEST_F(SnapshotsTest, ReplaceGoesBackInTheNextEpoch) {
  const std::shared_ptr<Session> session = NewSession("a");
  Step("a", 1, 1);
  const Snapshot snapshot = Export("a");
  const std::vector<float> second = Step("a", 2, 2);
  EXPECT_EQ(Shown(Import(snapshot, "a")), "ALREADY_EXISTS / SESSION_EXISTS");
  ASSERT_TRUE(Import(snapshot, "a", true).ok());
  EXPECT_EQ(engine_->GetSession("m", "a", false)->epoch, 2u);
  EXPECT_EQ(*engine_->FindSession("m", "a", false), session);
  EXPECT_THAT(Step("a", 2, 2), ElementsAreArray(second));
}

TEST_F(SnapshotsTest, LabelsAndLifeComeAlong) {
  CreateSessionParams params;
  params.model = "m";
  params.id = "a";
  params.labels = {{"k", "v"}};
  params.idle_ttl = absl::Minutes(7);
  ASSERT_TRUE(engine_->CreateSession(params).ok());
  ASSERT_TRUE(Import(Export("a"), "b").ok());
  const SessionInfo info = *engine_->GetSession("m", "b", false);
  EXPECT_EQ(info.labels, params.labels);
  EXPECT_EQ(info.idle_ttl, absl::Minutes(7));
}

TEST_F(SnapshotsTest, WhatDoesNotFitIsRefused) {
  NewSession("a");
  Step("a", 1, 1);
  Step("a", 1, 2);
  const Snapshot good = Export("a");
  Snapshot bad = good;
  bad.weights_sha256 = "other";
  EXPECT_EQ(Shown(Import(bad, "b")), "FAILED_PRECONDITION / WEIGHTS_MISMATCH");
  bad = good;
  bad.h.push_back(0);
  EXPECT_EQ(Shown(Import(bad, "b")), "INVALID_ARGUMENT / SNAPSHOT_FORMAT");
  bad = good;
  bad.c.pop_back();
  EXPECT_EQ(Shown(Import(bad, "b")), "INVALID_ARGUMENT / SNAPSHOT_FORMAT");
  bad = good;
  bad.replies[0].h_size = 1;  // a replay would copy more than the session's state
  EXPECT_EQ(Shown(Import(bad, "b")), "INVALID_ARGUMENT / SNAPSHOT_FORMAT");
  bad = good;
  bad.replies.pop_back();
  EXPECT_EQ(Shown(Import(bad, "b")), "INVALID_ARGUMENT / SNAPSHOT_FORMAT");
  bad = good;
  bad.last_seq = 5;
  EXPECT_EQ(Shown(Import(bad, "b")), "INVALID_ARGUMENT / SNAPSHOT_FORMAT");
  EXPECT_EQ(Shown(Import(good, "-b")), "INVALID_ARGUMENT / SESSION_ID");
  EXPECT_EQ(Shown(engine_->GetSession("m", "b", false).status()), "NOT_FOUND / SESSION_NOT_FOUND");
  EXPECT_EQ(engine_->Stats().sessions, 1u);
}

TEST_F(SnapshotsTest, AFailingDeviceLeavesNothing) {
  NewSession("a");
  const Snapshot snapshot = Export("a");
  const int64_t slots = control_->live_slots();
  control_->FailPool(Internal("DEVICE_ERROR", "no"));
  EXPECT_EQ(Shown(Import(snapshot, "b")), "INTERNAL / DEVICE_ERROR");
  EXPECT_EQ(control_->live_slots(), slots);
  EXPECT_EQ(engine_->Stats().sessions, 1u);
}

}  // namespace
}  // namespace lstmd
