// SPDX-License-Identifier: Apache-2.0
//
// New versions of a repository on disk, by UpdateWeights and by watching it, seen by clients with streams.
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "server/repository_watcher.h"
#include "tests/integration/stream_client.h"

namespace lstmd {
namespace {

namespace fs = std::filesystem;

class HotWeightsWireTest : public ServerTest {
 protected:
  HotWeightsWireTest() {
    std::string path = testing::TempDir() + "repository-XXXXXX";
    EXPECT_NE(mkdtemp(path.data()), nullptr);
    root_ = path;
    Publish(1);
    options_.engine.repository = root_;
  }
  ~HotWeightsWireTest() override { fs::remove_all(root_); }

  // The sample model, with other weights in other versions.
  static std::string File(int version) {
    std::ifstream file(fs::path(LSTMD_SAMPLE_MODELS) / "sunspots/1/model.safetensors", std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    float last = 0;
    std::memcpy(&last, bytes.data() + bytes.size() - sizeof(last), sizeof(last));
    last += 0.125f * static_cast<float>(version - 1);
    std::memcpy(bytes.data() + bytes.size() - sizeof(last), &last, sizeof(last));
    return bytes;
  }
  fs::path Folder(int version) const { return fs::path(root_) / "sunspots" / std::to_string(version); }
  void Publish(int version) const {
    fs::create_directories(Folder(version));
    if (fs::exists(fs::path(LSTMD_SAMPLE_MODELS) / "sunspots/1/lstm.json")) {
      fs::copy_file(fs::path(LSTMD_SAMPLE_MODELS) / "sunspots/1/lstm.json", Folder(version) / "lstm.json",
                    fs::copy_options::overwrite_existing);
    }
    std::ofstream(Folder(version) / "model.safetensors", std::ios::binary) << File(version);
  }
  void StartOnRepository() {
    StartCpu();
    const auto ready = server_->engine().LoadRepository();
    ASSERT_TRUE(ready.ok()) << ready.status();
    ASSERT_EQ(*ready, 1);
  }
  v1::Model Update(int64_t version, v1::UpdatePolicy policy) {
    v1::UpdateWeightsRequest request;
    request.set_name("models/sunspots");
    request.set_version(version);
    request.set_policy(policy);
    v1::Model model;
    const grpc::Status status = models_->UpdateWeights(Context().get(), request, &model);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return model;
  }
  int64_t DefaultVersion() {
    const auto model = server_->engine().FindModel("sunspots", 0);
    return model.ok() ? VersionOf(**model) : 0;
  }

  std::string root_;
};

TEST_F(HotWeightsWireTest, AStreamGoesOnOverAnUpdate) {
  StartOnRepository();
  const std::string name = SessionName("sunspots", "a");
  StreamClient stream(inference_.get());
  ASSERT_TRUE(stream.Write(BindFrame({name})));
  stream.ReadAnswers(1);
  ASSERT_TRUE(stream.Write(StepFrame(1, {0}, MakeTensor({1, 1}, {0.5f}))));
  stream.ReadAnswers(2);
  const v1::Session before = Get(name, true);

  Publish(2);
  const v1::Model model = Update(0, v1::UPDATE_POLICY_FOLLOW);
  EXPECT_EQ(model.version(), 2);
  EXPECT_EQ(model.state(), v1::Model::READY);
  EXPECT_EQ(model.sessions(), 1u);
  const v1::Session after = Get(name, true);
  EXPECT_EQ(after.model_version(), 2);
  EXPECT_EQ(after.epoch(), before.epoch());
  EXPECT_EQ(after.state().h().data(), before.state().h().data());
  ASSERT_TRUE(stream.Write(StepFrame(2, {0}, MakeTensor({1, 1}, {0.5f}))));
  stream.ReadAnswers(3);
  EXPECT_TRUE(stream.failures.empty());

  // Version 2 from that state, in a session that has never known another.
  v1::CreateSessionRequest create;
  create.set_parent("models/sunspots");
  *create.mutable_initial_state() = before.state();
  v1::Session fresh;
  ASSERT_TRUE(sessions_->CreateSession(Context().get(), create, &fresh).ok());
  EXPECT_EQ(Step(fresh.name(), {0.5f}), stream.results[0][1].output);

  v1::RunSequencesRequest run;
  run.set_model("models/sunspots");
  *run.add_sequences()->mutable_input() = MakeTensor({1, 1}, {0.5f});
  v1::RunSequencesResponse ran;
  ASSERT_TRUE(RunStatus(run, &ran).ok());
  EXPECT_EQ(ran.model_version(), 2);
}

TEST_F(HotWeightsWireTest, PinnedSessionsAndTheRetiredVersionAreSeen) {
  StartOnRepository();
  const std::string name = Create("sunspots", "old").name();
  Publish(2);
  EXPECT_EQ(Update(2, v1::UPDATE_POLICY_UNSPECIFIED).sessions(), 0u) << "pin is the default";
  EXPECT_EQ(Get(name).model_version(), 1);
  v1::GetModelRequest get;
  get.set_name("models/sunspots");
  get.set_version(1);
  v1::Model old;
  ASSERT_TRUE(models_->GetModel(Context().get(), get, &old).ok());
  EXPECT_EQ(old.state(), v1::Model::RETIRED);
  EXPECT_EQ(old.sessions(), 1u);
}

TEST_F(HotWeightsWireTest, TheWatcherServesWhatIsComplete) {
  options_.engine.update_policy = UpdatePolicy::kFollow;
  StartOnRepository();
  const std::string name = Create("sunspots", "a").name();
  server::RepositoryWatcher watcher(&server_->engine(), root_, absl::InfiniteDuration());
  watcher.Look();
  EXPECT_EQ(DefaultVersion(), 1);

  // Being written: it changes from look to look.
  fs::create_directories(Folder(2));
  watcher.Look();
  const std::string bytes = File(2);
  std::ofstream(Folder(2) / "model.safetensors", std::ios::binary) << bytes.substr(0, bytes.size() / 2);
  watcher.Look();
  EXPECT_EQ(DefaultVersion(), 1);
  // Looks complete, is not: an error, and the old one serves on.
  watcher.Look();
  EXPECT_EQ(DefaultVersion(), 1);
  watcher.Look();
  Publish(2);
  watcher.Look();
  EXPECT_EQ(DefaultVersion(), 1) << "it has just changed";
  watcher.Look();
  EXPECT_EQ(DefaultVersion(), 2);
  EXPECT_EQ(Get(name).model_version(), 2);

  // Of two the higher one; a lower one is left alone, as is a model that was unloaded by hand.
  Publish(4);
  Publish(3);
  watcher.Look();
  watcher.Look();
  EXPECT_EQ(DefaultVersion(), 4);
  ASSERT_TRUE(server_->engine().UnloadModel("sunspots", 0, true).ok());
  Publish(5);
  watcher.Look();
  watcher.Look();
  EXPECT_EQ(DefaultVersion(), 0);

  // A name that is new.
  fs::create_directories(fs::path(root_) / "fresh");
  fs::copy(Folder(1), fs::path(root_) / "fresh/1", fs::copy_options::recursive);
  watcher.Look();
  watcher.Look();
  EXPECT_TRUE(server_->engine().FindModel("fresh", 1).ok());
}

TEST_F(HotWeightsWireTest, AServerThatWatchesUpdatesByItself) {
  options_.watch_repository = absl::Milliseconds(20);
  options_.engine.update_policy = UpdatePolicy::kFollow;
  StartOnRepository();
  const std::string name = Create("sunspots", "a").name();
  Publish(2);
  while (Get(name).model_version() != 2) std::this_thread::yield();
  EXPECT_EQ(DefaultVersion(), 2);
}

}  // namespace
}  // namespace lstmd
