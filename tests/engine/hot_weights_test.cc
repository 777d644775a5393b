// SPDX-License-Identifier: Apache-2.0
//
// Another version in the place of the one that is served, while sessions live: what changes, what stays, what ends, and
// when the old weights go.
#include <map>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/engine/fixture.h"

namespace lstmd {
namespace {

ModelSpec Learned() {
  ModelSpec spec = SmallSpec();
  spec.learned_initial_state = true;
  return spec;
}

Weights WithInitial(float value) {
  Weights weights = SomeWeights(Learned());
  weights.initial_h = FloatArray(std::vector<float>(3, value));
  weights.initial_c = FloatArray(std::vector<float>(3, value + 1));
  return weights;
}

class HotWeightsTest : public EngineTest {
 protected:
  absl::StatusOr<ModelInfo> Update(int64_t version, UpdatePolicy policy) {
    return engine_->UpdateModel("m", version, SmallSpec(), SomeWeights(SmallSpec()), policy);
  }
  // "1 READY, 2 RETIRED".
  std::string Versions() {
    static const char* const kNames[] = {"AVAILABLE", "LOADING", "READY", "UNLOADING", "FAILED", "RETIRED"};
    std::string text;
    const auto models = engine_->ListModels(0, "");
    EXPECT_TRUE(models.ok());
    for (const ModelInfo& info : models->items) {
      absl::StrAppend(&text, text.empty() ? "" : ", ", info.version, " ", kNames[static_cast<size_t>(info.state)],
                      info.default_version ? " *" : "");
    }
    return text;
  }
  SessionInfo Info(const std::string& id) {
    const auto info = engine_->GetSession("m", id, false);
    EXPECT_TRUE(info.ok()) << info.status();
    return *info;
  }
  std::vector<float> StepIt(const std::string& id, float seed, uint64_t seq = 0) {
    auto step = MakeStep(*engine_->FindSession("m", id, false), &sink_, seed, 1, seq);
    EXPECT_TRUE(Run(step.get()).ok());
    sink_.Forget(&step->work);
    return step->output;
  }
};

TEST_F(HotWeightsTest, FollowLeavesASessionAsItIsOnOtherWeights) {
  Start();
  AddSmall();
  NewSession("a");
  StepIt("a", 1, 1);
  const std::vector<float> second = StepIt("a", 2, 2);
  const SessionInfo before = Info("a");
  const StateValues state = StateOf("a");
  const std::string hash = engine_->ExportSession("m", "a")->weights_sha256;
  Weights weights = SomeWeights(SmallSpec());
  weights.cells[0].bias = FloatArray(std::vector<float>(12, 0.5f));
  const auto info = engine_->UpdateModel("m", 2, SmallSpec(), weights, UpdatePolicy::kFollow);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->version, 2);
  EXPECT_EQ(info->sessions, 1u);
  EXPECT_EQ(Versions(), "2 READY *");
  EXPECT_EQ(control_->live_models(), 1) << "the old weights are gone";

  const SessionInfo after = Info("a");
  EXPECT_EQ(after.model_version, 2);
  EXPECT_EQ(after.uid, before.uid);
  EXPECT_EQ(after.epoch, before.epoch);
  EXPECT_EQ(after.last_seq, 2u);
  EXPECT_EQ(StateOf("a").h, state.h);
  EXPECT_EQ(StateOf("a").c, state.c);
  const auto snapshot = engine_->ExportSession("m", "a");
  EXPECT_EQ(snapshot->model_version, 2);
  EXPECT_EQ(snapshot->weights_sha256, info->weights_sha256);
  EXPECT_NE(snapshot->weights_sha256, hash);
  // A repeat of a step from before is answered as it was.
  EXPECT_EQ(StepIt("a", 2, 2), second);
  EXPECT_EQ(control_->calls().size(), 2u);
  const DeviceModel* const old = control_->calls()[0].model;
  StepIt("a", 3, 3);
  EXPECT_NE(control_->calls()[2].model, old);
  EXPECT_EQ(Shown(engine_->FindModel("m", 1).status()), "NOT_FOUND / MODEL_NOT_FOUND");
}

TEST_F(HotWeightsTest, FollowNeverMixesVersionsInACallAndEndsWhatHasBegun) {
  options_.scheduler.slice_units = 2;
  Start();
  AddSmall();
  const auto a = NewSession("a");
  const auto b = NewSession("b");
  control_->Block();
  // On the device: the first slices of a long step of a and of a sequence. Behind them more steps, and one of b.
  auto long_step = MakeStep(a, &sink_, 1, 6);
  auto sequence = MakeSequence(*engine_->FindModel("m", 0), &sink_, 2, 6);
  engine_->SubmitAll(std::vector<Work*>{&long_step->work, &sequence->work});
  control_->WaitUntilBlocked();
  auto behind = MakeStep(a, &sink_, 3);
  auto beside = MakeStep(b, &sink_, 4);
  engine_->SubmitAll(std::vector<Work*>{&behind->work, &beside->work});
  absl::StatusOr<ModelInfo> updated = absl::UnknownError("");
  std::thread updater([&] { updated = Update(2, UpdatePolicy::kFollow); });
  while (Versions() != "2 READY *") std::this_thread::yield();
  auto after = MakeStep(b, &sink_, 5);
  engine_->Submit(&after->work);
  EXPECT_EQ(control_->live_models(), 2) << "work runs on the old weights yet";
  control_->Unblock();
  updater.join();
  ASSERT_TRUE(updated.ok()) << updated.status();
  for (const Work* work : {&long_step->work, &sequence->work, &behind->work, &beside->work, &after->work}) {
    EXPECT_TRUE(sink_.Wait(work).ok());
  }
  EXPECT_EQ(control_->live_models(), 1);
  EXPECT_EQ(long_step->work.result_version, 1);
  EXPECT_EQ(sequence->work.result_version, 1);
  EXPECT_EQ(beside->work.result_version, 1) << "it was ready before the swap";
  EXPECT_EQ(behind->work.result_version, 2) << "it waited in its session";
  EXPECT_EQ(after->work.result_version, 2);
  // As the fake has it: one stream of time over both.
  FakeModelRun reference(SmallSpec());
  reference.Run(long_step->input);
  EXPECT_EQ(behind->output, reference.Run(behind->input));
}

TEST_F(HotWeightsTest, PinKeepsSessionsUntilTheyEnd) {
  Start();
  AddSmall();
  NewSession("old");
  StepIt("old", 1);
  ASSERT_TRUE(Update(2, UpdatePolicy::kPin).ok());
  EXPECT_EQ(Versions(), "1 RETIRED, 2 READY *");
  EXPECT_EQ(control_->live_models(), 2);
  NewSession("new");
  EXPECT_EQ(Info("old").model_version, 1);
  EXPECT_EQ(Info("new").model_version, 2);
  StepIt("old", 2);
  StepIt("new", 2);
  EXPECT_NE(control_->calls()[1].model, control_->calls()[2].model);
  EXPECT_EQ(control_->calls()[0].model, control_->calls()[1].model);
  CreateSessionParams on_old;
  on_old.model = "m";
  on_old.model_version = 1;
  EXPECT_EQ(Shown(CreateError(on_old)), "NOT_FOUND / MODEL_NOT_FOUND") << "it takes no new ones";
  // A fork is of the same weights.
  ForkSessionParams fork;
  fork.model = "m";
  fork.id = "old";
  fork.new_id = "fork";
  ASSERT_TRUE(engine_->ForkSession(fork).ok());
  EXPECT_EQ(Info("fork").model_version, 1);

  ASSERT_TRUE(engine_->DeleteSession("m", "old").ok());
  engine_->ExpireSessions();
  EXPECT_EQ(Versions(), "1 RETIRED, 2 READY *");
  ASSERT_TRUE(engine_->DeleteSession("m", "fork").ok());
  engine_->ExpireSessions();
  EXPECT_EQ(Versions(), "2 READY *");
  EXPECT_EQ(control_->live_models(), 1);
  StepIt("new", 3);
}

TEST_F(HotWeightsTest, PinWithoutSessionsUnloadsAtOnce) {
  Start();
  AddSmall();
  const auto held = engine_->FindModel("m", 0);
  ASSERT_TRUE(Update(2, UpdatePolicy::kPin).ok());
  EXPECT_EQ(Versions(), "2 READY *");
  // Who has found the old version before is served.
  auto sequence = MakeSequence(*held, &sink_, 1, 3);
  EXPECT_TRUE(Run(sequence.get()).ok());
  EXPECT_EQ(sequence->work.result_version, 1);
}

TEST_F(HotWeightsTest, AnUpdateGoesBackToo) {
  Start();
  AddSmall("m", 3);
  NewSession("a");
  ASSERT_TRUE(Update(2, UpdatePolicy::kFollow).ok());
  EXPECT_EQ(Versions(), "2 READY *");
  EXPECT_EQ(Info("a").model_version, 2);
  ASSERT_TRUE(Update(5, UpdatePolicy::kPin).ok());
  EXPECT_EQ(Versions(), "2 RETIRED, 5 READY *");
  NewSession("b");
  // Taken back into service, with the session that stayed on it.
  const auto back = engine_->UpdateModel("m", 2, UpdatePolicy::kPin);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(Versions(), "2 READY *, 5 RETIRED");
  NewSession("c");
  EXPECT_EQ(Info("c").model_version, 2);
  EXPECT_EQ(Info("b").model_version, 5);
  // Loaded beside by hand, and above: an update makes its version the default all the same.
  AddSmall("m", 9);
  ASSERT_TRUE(Update(4, UpdatePolicy::kPin).ok());
  EXPECT_EQ(Versions(), "2 READY, 4 READY *, 5 RETIRED");
}

TEST_F(HotWeightsTest, WhatFailsChangesNothing) {
  Start();
  EXPECT_EQ(Shown(Update(2, UpdatePolicy::kFollow).status()), "NOT_FOUND / MODEL_NOT_FOUND");
  AddSmall();
  NewSession("a");
  EXPECT_EQ(Shown(Update(1, UpdatePolicy::kFollow).status()), "ALREADY_EXISTS / MODEL_EXISTS");
  ModelSpec wider = SmallSpec();
  wider.hidden_size = 4;
  const auto mismatch = engine_->UpdateModel("m", 2, wider, SomeWeights(wider), UpdatePolicy::kFollow).status();
  EXPECT_EQ(Shown(mismatch), "FAILED_PRECONDITION / SPEC_MISMATCH");
  EXPECT_EQ(Metadata(mismatch, "differs"), "hidden_size 4, not 3; output size 4, not 3");
  ModelSpec clipped = SmallSpec();
  clipped.clip = 3;
  EXPECT_EQ(Shown(engine_->UpdateModel("m", 2, clipped, SomeWeights(clipped), UpdatePolicy::kFollow).status()),
            "FAILED_PRECONDITION / SPEC_MISMATCH");
  control_->FailLoad(absl::ResourceExhaustedError("full"));
  EXPECT_FALSE(Update(2, UpdatePolicy::kFollow).ok());
  control_->FailLoad(absl::ResourceExhaustedError("full"));
  EXPECT_FALSE(Update(3, UpdatePolicy::kPin).ok());
  EXPECT_EQ(Versions(), "1 READY *, 2 FAILED, 3 FAILED");
  EXPECT_EQ(Info("a").model_version, 1);
  StepIt("a", 1);
  EXPECT_EQ(control_->live_models(), 1);
  // Of another shape it can be pinned.
  ASSERT_TRUE(engine_->UpdateModel("m", 2, wider, SomeWeights(wider), UpdatePolicy::kPin).ok());
  EXPECT_EQ(Versions(), "1 RETIRED, 2 READY *, 3 FAILED");
}

TEST_F(HotWeightsTest, UnloadedMeanwhileIsAConflict) {
  Start();
  AddSmall();
  control_->BlockLoads(true);
  absl::StatusOr<ModelInfo> updated = absl::UnknownError("");
  std::thread updater([&] { updated = Update(2, UpdatePolicy::kFollow); });
  control_->WaitUntilLoading();
  ASSERT_TRUE(engine_->UnloadModel("m", 1, false).ok());
  control_->BlockLoads(false);
  updater.join();
  EXPECT_EQ(Shown(updated.status()), "ABORTED / UPDATE_CONFLICT");
  EXPECT_EQ(control_->live_models(), 0);
}

TEST_F(HotWeightsTest, TheInitialStateIsTheNewVersions) {
  Start();
  ASSERT_TRUE(engine_->AddModel("m", 1, Learned(), WithInitial(1)).ok());
  NewSession("a");
  EXPECT_EQ(StateOf("a").h, std::vector<float>(3, 1));
  ASSERT_TRUE(engine_->UpdateModel("m", 2, Learned(), WithInitial(5), UpdatePolicy::kFollow).ok());
  EXPECT_EQ(StateOf("a").h, std::vector<float>(3, 1)) << "its state is its own";
  NewSession("b");
  EXPECT_EQ(StateOf("b").h, std::vector<float>(3, 5));
  EXPECT_EQ(StateOf("b").c, std::vector<float>(3, 6));
  ASSERT_TRUE(engine_->ResetSession("m", "a", std::nullopt).ok());
  EXPECT_EQ(StateOf("a").h, std::vector<float>(3, 5));
  EXPECT_EQ(StateOf("a").c, std::vector<float>(3, 6));
  auto sequence = MakeSequence(*engine_->FindModel("m", 0), &sink_, 1, 2);
  AskForState(sequence.get(), Learned());
  ASSERT_TRUE(Run(sequence.get()).ok());
  FakeModelRun reference(Learned());
  reference.h.assign(3, 5);
  reference.c.assign(3, 6);
  EXPECT_EQ(sequence->output, reference.Run(sequence->input));
  auto empty = MakeSequence(*engine_->FindModel("m", 0), &sink_, 1, 0);
  AskForState(empty.get(), Learned());
  ASSERT_TRUE(Run(empty.get()).ok());
  EXPECT_EQ(empty->final_h, std::vector<float>(3, 5));
}

TEST_F(HotWeightsTest, AVersionThatWasAskedForIsNotReplacedInSilence) {
  Start();
  AddSmall();
  const auto model = engine_->FindModel("m", 1);
  ASSERT_TRUE(Update(2, UpdatePolicy::kFollow).ok());
  auto any = MakeSequence(*model, &sink_, 1, 2);
  EXPECT_TRUE(Run(any.get()).ok());
  EXPECT_EQ(any->work.result_version, 2);
  auto first = MakeSequence(*model, &sink_, 1, 2);
  first->work.want_version = 1;
  EXPECT_EQ(Shown(Run(first.get())), "NOT_FOUND / MODEL_NOT_FOUND");
}

}  // namespace
}  // namespace lstmd
