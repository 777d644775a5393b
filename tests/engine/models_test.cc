// SPDX-License-Identifier: Apache-2.0
//
// Models: load, versions, unload while serving, lists.
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/engine/fixture.h"

namespace lstmd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ModelsTest : public EngineTest {
 protected:
  void SetUp() override { Start(); }

  absl::Status AddError(const std::string& name, int64_t version, const ModelSpec& spec = SmallSpec(),
                        const std::string& device = "") {
    return engine_->AddModel(name, version, spec, SomeWeights(spec), device).status();
  }
  int64_t DefaultVersion(const std::string& name) {
    const auto model = engine_->FindModel(name, 0);
    return model.ok() ? VersionOf(**model) : 0;
  }
  std::string FindError(const std::string& name, int64_t version) {
    return Shown(engine_->FindModel(name, version).status());
  }
};

TEST_F(ModelsTest, AModelSaysWhatItIs) {
  ModelSpec spec = SmallSpec();
  spec.num_layers = 2;
  const auto info = engine_->AddModel("m", 3, spec, SomeWeights(spec));
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->name, "m");
  EXPECT_EQ(info->version, 3);
  EXPECT_EQ(info->state, ModelState::kReady);
  EXPECT_EQ(info->spec.num_layers, 2u);
  EXPECT_EQ(info->device, "fake");
  EXPECT_EQ(info->weights_sha256.size(), 64u);
  EXPECT_EQ(info->parameters, 12u * (2 + 3 + 1) + 12u * (3 + 3 + 1));
  EXPECT_EQ(info->weight_bytes, 4096u);
  EXPECT_EQ(info->state_bytes_per_session, 48u);
  EXPECT_EQ(info->load_time, clock_.Now());
  EXPECT_TRUE(info->default_version);
  NewSession("a");
  EXPECT_EQ(engine_->GetModel("m", 0)->sessions, 1u);
}

TEST_F(ModelsTest, TheHighestReadyVersionIsTheDefault) {
  AddSmall("m", 2);
  AddSmall("m", 10);
  AddSmall("m", 1);
  EXPECT_EQ(DefaultVersion("m"), 10);
  const auto session = NewSession("a");
  EXPECT_EQ(VersionOf(ModelOf(*session)), 10);
  EXPECT_FALSE(engine_->GetModel("m", 2)->default_version);
  ASSERT_TRUE(engine_->UnloadModel("m", 10, true).ok());
  EXPECT_EQ(DefaultVersion("m"), 2);
  EXPECT_EQ(FindError("m", 10), "NOT_FOUND / MODEL_NOT_FOUND");
  EXPECT_EQ(FindError("other", 0), "NOT_FOUND / MODEL_NOT_FOUND");
}

TEST_F(ModelsTest, BadRequestsAreRefused) {
  AddSmall("m", 1);
  EXPECT_EQ(Shown(AddError("m", 1)), "ALREADY_EXISTS / MODEL_EXISTS");
  EXPECT_EQ(Shown(AddError("../m", 1)), "INVALID_ARGUMENT / MODEL_NAME");
  EXPECT_EQ(Shown(AddError("m", -1)), "INVALID_ARGUMENT / MODEL_VERSION");
  EXPECT_EQ(Shown(AddError("m", 0)), "INVALID_ARGUMENT / MODEL_VERSION");
  const absl::Status device = AddError("m", 2, SmallSpec(), "cuda:7");
  EXPECT_EQ(Shown(device), "INVALID_ARGUMENT / DEVICE");
  EXPECT_EQ(GetCause(device).field, "device");
  EXPECT_THAT(std::string(device.message()), HasSubstr("fake"));
  ModelSpec spec = SmallSpec();
  spec.hidden_size = 0;
  EXPECT_EQ(Shown(AddError("m", 2, spec)), "INVALID_ARGUMENT / MODEL_SPEC");
  EXPECT_EQ(Shown(engine_->AddModel("m", 2, SmallSpec(), Weights()).status()), "INVALID_ARGUMENT / MODEL_WEIGHTS");
  EXPECT_EQ(Shown(engine_->LoadModel("m", 2, "").status()), "NOT_FOUND / MODEL_NOT_FOUND") << "no repository";
  EXPECT_EQ(Shown(engine_->UnloadModel("n", 0, true)), "NOT_FOUND / MODEL_NOT_FOUND");
  EXPECT_EQ(engine_->ListModels(0, "")->items.size(), 1u) << "none of them left a trace";
}

TEST_F(ModelsTest, AFailedLoadIsKeptAndMayBeTriedAgain) {
  ModelSpec spec = SmallSpec();
  spec.precision = Precision::kF16;
  EXPECT_EQ(Shown(AddError("m", 1, spec)), "UNIMPLEMENTED / UNSUPPORTED_BY_DEVICE");
  control_->FailLoad(ResourceExhausted("DEVICE_MEMORY", "full"));
  EXPECT_EQ(Shown(AddError("n", 1)), "RESOURCE_EXHAUSTED / DEVICE_MEMORY");
  const auto page = engine_->ListModels(0, "");
  ASSERT_EQ(page->items.size(), 2u);
  EXPECT_EQ(page->items[0].state, ModelState::kFailed);
  EXPECT_THAT(page->items[0].error, HasSubstr("f16"));
  EXPECT_EQ(page->items[1].error, "full");
  EXPECT_EQ(FindError("n", 1), "NOT_FOUND / MODEL_NOT_FOUND");
  AddSmall("n", 1);
  EXPECT_EQ(DefaultVersion("n"), 1);
}

TEST_F(ModelsTest, LoadingHoldsUpNobody) {
  AddSmall("m", 1);
  const auto session = NewSession("a");
  control_->BlockLoads(true);
  std::thread loader([&] { AddSmall("m", 2); });
  control_->WaitUntilLoading();
  EXPECT_EQ(engine_->GetModel("m", 2)->state, ModelState::kLoading);
  EXPECT_EQ(FindError("m", 2), "UNAVAILABLE / MODEL_LOADING");
  EXPECT_EQ(Shown(AddError("m", 2)), "ALREADY_EXISTS / MODEL_EXISTS");
  EXPECT_EQ(DefaultVersion("m"), 1);
  const auto job = MakeStep(session, &sink_, 1);
  EXPECT_EQ(Shown(Run(job.get())), "OK");
  control_->BlockLoads(false);
  loader.join();
  EXPECT_EQ(DefaultVersion("m"), 2);
}

TEST_F(ModelsTest, UnloadKeepsSessionsUnlessForced) {
  AddSmall("m", 1);
  const auto session = NewSession("a");
  NewSession("b");
  const absl::Status status = engine_->UnloadModel("m", 0, false);
  EXPECT_EQ(Shown(status), "FAILED_PRECONDITION / MODEL_IN_USE");
  EXPECT_EQ(Metadata(status, "sessions"), "2");
  const auto job = MakeStep(session, &sink_, 1);
  EXPECT_EQ(Shown(Run(job.get())), "OK");

  ASSERT_TRUE(engine_->UnloadModel("m", 1, true).ok());
  EXPECT_EQ(Metadata(Run(job.get()), "last_event"), "UNLOADED");
  EXPECT_EQ(Metadata(engine_->FindSession("m", "b", false).status(), "last_event"), "UNLOADED");
  EXPECT_EQ(engine_->Stats().sessions, 0u);
  EXPECT_EQ(engine_->Stats().models, 0u);
  AddSmall("m", 1);
  NewSession("a");
}

TEST_F(ModelsTest, NoVersionIsUnloadedWhileOneIsInUse) {
  AddSmall("m", 1);
  AddSmall("m", 2);
  NewSession("a");
  EXPECT_EQ(Shown(engine_->UnloadModel("m", 0, false)), "FAILED_PRECONDITION / MODEL_IN_USE");
  EXPECT_EQ(engine_->Stats().models, 2u);
}

TEST_F(ModelsTest, UnloadAnswersWhatWasAccepted) {
  AddSmall("m", 1);
  const auto session = NewSession("a");
  const auto model = *engine_->FindModel("m", 1);
  control_->Block();
  const auto running = MakeStep(session, &sink_, 1), waiting = MakeStep(session, &sink_, 2);
  const auto sequence = MakeSequence(model, &sink_, 1, 50);
  engine_->SubmitAll({&running->work, &waiting->work, &sequence->work});
  control_->WaitUntilBlocked();
  std::thread unloader([&] { EXPECT_TRUE(engine_->UnloadModel("m", 1, true).ok()); });
  while (engine_->FindSession("m", "a", false).ok()) std::this_thread::yield();
  EXPECT_EQ(engine_->GetModel("m", 1)->state, ModelState::kUnloading);
  EXPECT_EQ(Shown(AddError("m", 1)), "ALREADY_EXISTS / MODEL_EXISTS");
  const auto late = MakeSequence(model, &sink_, 1, 2);
  EXPECT_EQ(Shown(Run(late.get())), "NOT_FOUND / MODEL_NOT_FOUND");
  control_->Unblock();
  unloader.join();
  for (const Job* job : {running.get(), waiting.get(), sequence.get()}) {
    EXPECT_EQ(Shown(sink_.Wait(&job->work)), "OK");
  }
  EXPECT_EQ(Shown(engine_->GetModel("m", 1).status()), "NOT_FOUND / MODEL_NOT_FOUND");
}

TEST_F(ModelsTest, ModelsTakeTurns) {
  AddSmall("m");
  AddSmall("n");
  options_.scheduler.max_batch_size = 256;
  control_->Block();
  std::vector<std::unique_ptr<Job>> jobs;
  std::vector<Work*> work;
  for (const char* name : {"m", "n"}) {
    for (int k = 0; k < 3; ++k) {  // three calls each, since the time steps of a session follow each other
      jobs.push_back(MakeStep(k == 0 ? NewSession("a", name) : *engine_->FindSession(name, "a", false), &sink_, 1));
      work.push_back(&jobs.back()->work);
    }
  }
  engine_->SubmitAll(work);
  control_->Unblock();
  sink_.WaitForEnds(6);
  std::vector<const DeviceModel*> models;
  for (const FakeCall& call : control_->calls()) models.push_back(call.model);
  ASSERT_EQ(models.size(), 6u);
  EXPECT_THAT(models, ElementsAre(models[0], models[1], models[0], models[1], models[0], models[1]));
  EXPECT_NE(models[0], models[1]);
}

class RepositoryTest : public ModelsTest {
 protected:
  void SetUp() override {
    root_ = ::testing::TempDir() + "/lstmd_models_test";
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_ + "/good/1");
    std::filesystem::create_directories(root_ + "/good/2");
    std::filesystem::create_directories(root_ + "/broken/4");
    std::ofstream(root_ + "/broken/4/model.safetensors") << "not one";
    options_.repository = root_;
    Start();
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  std::string root_;
};

TEST_F(RepositoryTest, ListsMergeFilesAndLoadedModels) {
  AddSmall("good", 2);
  AddSmall("zebra", 1);
  const auto ready = engine_->LoadRepository();
  ASSERT_TRUE(ready.ok()) << ready.status();
  EXPECT_EQ(*ready, 1) << "good/2 is there, broken/4 fails and stops nobody";
  std::vector<std::string> seen;
  std::string token;
  do {
    const auto page = engine_->ListModels(1, token);
    ASSERT_TRUE(page.ok()) << page.status();
    ASSERT_EQ(page->items.size(), 1u);
    const ModelInfo& info = page->items[0];
    seen.push_back(absl::StrCat(info.name, "/", info.version, " ", static_cast<int>(info.state)));
    token = page->next_token;
    if (info.name == "good" && info.version == 1) {
      ASSERT_TRUE(engine_->UnloadModel("good", 2, false).ok());
    }
  } while (!token.empty());
  EXPECT_THAT(seen, ElementsAre("broken/4 4", "good/1 0", "good/2 0", "zebra/1 2"));
  EXPECT_EQ(Shown(engine_->ListModels(1, "junk").status()), "INVALID_ARGUMENT / PAGE_TOKEN");
  EXPECT_EQ(engine_->GetModel("good", 1)->state, ModelState::kAvailable);
  EXPECT_NE(engine_->GetModel("broken", 4)->error, "");
}

TEST_F(RepositoryTest, LoadsSayWhatIsWrong) {
  EXPECT_EQ(Shown(engine_->LoadModel("broken", 0, "").status()), "INVALID_ARGUMENT / MODEL_FILE");
  EXPECT_EQ(Shown(engine_->LoadModel("broken", 5, "").status()), "NOT_FOUND / MODEL_NOT_FOUND");
  EXPECT_EQ(Shown(engine_->LoadModel("nobody", 0, "").status()), "NOT_FOUND / MODEL_NOT_FOUND");
  EXPECT_EQ(Shown(engine_->LoadModel("good", 1, "cuda:9").status()), "INVALID_ARGUMENT / DEVICE");
  EXPECT_EQ(Shown(engine_->LoadModel("..", 1, "").status()), "INVALID_ARGUMENT / MODEL_NAME");
}

}  // namespace
}  // namespace lstmd
