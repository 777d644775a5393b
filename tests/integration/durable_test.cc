// SPDX-License-Identifier: Apache-2.0
//
// Sessions that outlive their server, over the wire, with the real stores.
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <thread>

#include "absl/time/clock.h"
#include "engine/store/state_store.h"
#include "gmock/gmock.h"
#include "inference/grpc_service.grpc.pb.h"
#include "tests/integration/server_fixture.h"
#include "tests/integration/stream_client.h"
#include "tests/support/redis_process.h"

namespace lstmd {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;

std::vector<float> InputOf(uint64_t seq) { return {static_cast<float>(seq), 0.5f, -0.25f}; }

// A server, and stubs that talk to it.
struct Replica {
  std::unique_ptr<server::Server> server;
  std::unique_ptr<v1::InferenceService::Stub> inference;
  std::unique_ptr<v1::SessionService::Stub> sessions;
  std::unique_ptr<v1::ModelService::Stub> models;
};

class DurableServerTest : public ServerTest {
 protected:
  // A replica on the store; it is the current one. The store is opened anew.
  void StartOn(const std::string& store, const std::string& advertise, Durability durability) {
    auto opened = OpenStore(store);
    ASSERT_TRUE(opened.ok()) << opened.status();
    options_.engine.store = *std::move(opened);
    options_.engine.durability.durability = durability;
    options_.engine.durability.owner = advertise;
    StartCpu();
    options_.engine.store = nullptr;  // the engine's alone
  }
  Replica Take() { return {std::move(server_), std::move(inference_), std::move(sessions_), std::move(models_)}; }
  void Use(Replica replica) {
    server_ = std::move(replica.server);
    inference_ = std::move(replica.inference);
    sessions_ = std::move(replica.sessions);
    models_ = std::move(replica.models);
  }
  // Ends at once: nothing more is written.
  void Crash() { server_.reset(); }

  v1::StepResult StepResult(const std::string& session, uint64_t seq, WireError* error = nullptr) {
    v1::StepRequest request;
    *request.add_items() = Item(session, MakeTensor({3}, InputOf(seq)));
    request.mutable_items(0)->set_seq(seq);
    v1::StepResponse response;
    const grpc::Status status = StepStatus(request, &response);
    if (error != nullptr) {
      *error = Decode(status);
    } else {
      EXPECT_TRUE(status.ok()) << status.error_message();
    }
    return status.ok() ? response.results(0) : v1::StepResult();
  }
  std::vector<float> Undisturbed(uint64_t steps) {
    v1::RunSequencesRequest request;
    request.set_model("models/m");
    std::vector<float> input;
    for (uint64_t seq = 1; seq <= steps; ++seq) {
      for (const float value : InputOf(seq)) input.push_back(value);
    }
    *request.add_sequences()->mutable_input() = MakeTensor({static_cast<int64_t>(steps), 3}, input);
    v1::RunSequencesResponse response;
    EXPECT_TRUE(RunStatus(request, &response).ok());
    return Values(response.results(0).output());
  }
};

std::vector<float> Joined(const std::vector<v1::StepResult>& results) {
  std::vector<float> joined;
  for (const v1::StepResult& result : results) {
    for (const float value : Values(result.output())) joined.push_back(value);
  }
  return joined;
}

class RocksServerTest : public DurableServerTest {
 protected:
  RocksServerTest() {
    std::string pattern = std::filesystem::temp_directory_path() / "lstmd_store_XXXXXX";
    if (mkdtemp(pattern.data()) != nullptr) folder_ = pattern;
    Restart();
  }
  ~RocksServerTest() override {
    server_.reset();
    std::filesystem::remove_all(folder_);
  }
  void Restart(Durability durability = Durability::kEveryStep) {
    Crash();
    StartOn("rocksdb:" + folder_, "here:1", durability);
  }

  std::string folder_;
};

TEST_F(RocksServerTest, EveryWayToASessionFindsItAfterACrash) {
  const std::string name = SessionName("m", "a");
  Create("m", "a");
  std::vector<v1::StepResult> results;
  for (uint64_t seq = 1; seq <= 3; ++seq) results.push_back(StepResult(name, seq));
  EXPECT_EQ(results.back().durable_seq(), 3u);
  const v1::Session before = Get(name, true);
  EXPECT_EQ(before.durability(), v1::Session::EVERY_STEP);
  EXPECT_EQ(before.durable_seq(), 3u);
  const std::vector<float> undisturbed = Undisturbed(9);

  Restart();
  const v1::Session stored = Get(name, true);
  EXPECT_EQ(stored.residency(), v1::Session::STORE);
  EXPECT_EQ(stored.state().SerializeAsString(), before.state().SerializeAsString());
  EXPECT_EQ(stored.uid(), before.uid());
  const v1::StepResult again = StepResult(name, 3);
  EXPECT_TRUE(again.replayed());
  EXPECT_EQ(again.output().data(), results.back().output().data());
  EXPECT_EQ(again.epoch(), 2u);
  EXPECT_EQ(Get(name).residency(), v1::Session::DEVICE);
  results.push_back(StepResult(name, 4));

  Restart();
  {
    StreamClient stream(inference_.get());
    v1::StreamStepsRequest frame = BindFrame({name, SessionName("m", "new")});
    v1::StepBlock& block = *frame.add_steps();
    block.add_handles(0);
    block.add_seqs(5);
    *block.mutable_input() = MakeTensor({1, 3}, InputOf(5));
    ASSERT_TRUE(stream.Write(frame));
    stream.ReadAnswers(3);
    ASSERT_EQ(stream.bounds.size(), 2u);
    EXPECT_EQ(stream.bounds[0].session().last_seq(), 4u);
    EXPECT_EQ(stream.bounds[0].session().durable_seq(), 4u);
    EXPECT_EQ(stream.bounds[0].session().epoch(), 3u);
    ASSERT_EQ(stream.results[0].size(), 1u);
    v1::StepResult& result = results.emplace_back();
    *result.mutable_output() = MakeTensor({2}, stream.results[0][0].output);
    bool durable = false;
    for (const v1::StreamStepsResponse& response : stream.frames) {
      for (const v1::ResultBlock& one : response.results()) durable |= one.durable_seqs_size() == 1;
    }
    EXPECT_TRUE(durable);
  }

  Restart();
  v1::RunSequencesRequest sequences;
  sequences.set_model("models/m");
  v1::Sequence& sequence = *sequences.add_sequences();
  sequence.set_session(name);
  sequence.set_seq(6);
  *sequence.mutable_input() = MakeTensor({1, 3}, InputOf(6));
  v1::RunSequencesResponse ran;
  ASSERT_TRUE(RunStatus(sequences, &ran).ok());
  EXPECT_EQ(ran.results(0).durable_seq(), 6u);
  *results.emplace_back().mutable_output() = ran.results(0).output();

  Restart();
  v1::UpdateSessionRequest update;
  update.mutable_session()->set_name(name);
  (*update.mutable_session()->mutable_labels())["k"] = "v";
  v1::Session updated;
  ASSERT_TRUE(sessions_->UpdateSession(Context().get(), update, &updated).ok());
  results.push_back(StepResult(name, 7));
  std::vector<float> expected(undisturbed.begin(), undisturbed.begin() + 14);
  EXPECT_THAT(Joined(results), ElementsAreArray(expected));

  Restart();
  EXPECT_EQ(Get(name).labels().at("k"), "v");
  v1::DeleteSessionRequest remove;
  remove.set_name(name);
  google::protobuf::Empty empty;
  ASSERT_TRUE(sessions_->DeleteSession(Context().get(), remove, &empty).ok());
  Restart();
  WireError gone;
  StepResult(name, 8, &gone);
  EXPECT_EQ(Shown(gone), "NOT_FOUND / SESSION_NOT_FOUND");
}

TEST_F(RocksServerTest, ASequenceOfTheOpenProtocolGoesOnAfterACrash) {
  const auto infer = [&](uint64_t step, bool start) {
    inference::ModelInferRequest request;
    request.set_model_name("m");
    (*request.mutable_parameters())["sequence_id"].set_int64_param(7);
    (*request.mutable_parameters())["sequence_start"].set_bool_param(start);
    auto& input = *request.add_inputs();
    input.set_name("INPUT");
    input.set_datatype("FP32");
    for (const int64_t dim : {1, 1, 3}) input.add_shape(dim);
    const std::vector<float> values = InputOf(step);
    request.add_raw_input_contents(values.data(), values.size() * sizeof(float));
    const auto stub = inference::GRPCInferenceService::NewStub(NewChannel());
    inference::ModelInferResponse response;
    const grpc::Status status = stub->ModelInfer(Context().get(), request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    std::vector<float> output;
    if (status.ok()) {
      output.resize(response.raw_output_contents(0).size() / sizeof(float));
      std::memcpy(output.data(), response.raw_output_contents(0).data(), output.size() * sizeof(float));
    }
    return output;
  };
  const std::vector<float> undisturbed = Undisturbed(2);
  EXPECT_THAT(infer(1, true), ElementsAre(undisturbed[0], undisturbed[1]));
  Restart();
  EXPECT_THAT(infer(2, false), ElementsAre(undisturbed[2], undisturbed[3]));
  Restart();
  EXPECT_THAT(infer(1, true), ElementsAre(undisturbed[0], undisturbed[1]));  // starts anew
}

TEST_F(RocksServerTest, CheckpointSavesOneThatIsNotSaved) {
  Restart(Durability::kNone);
  const std::string name = SessionName("m", "a");
  Create("m", "a");
  StepResult(name, 1);
  v1::CheckpointSessionRequest checkpoint;
  checkpoint.set_name(name);
  v1::Session saved;
  ASSERT_TRUE(sessions_->CheckpointSession(Context().get(), checkpoint, &saved).ok());
  EXPECT_EQ(saved.durable_seq(), 1u);
  StepResult(name, 2);
  Create("m", "lost");
  Restart(Durability::kNone);
  EXPECT_EQ(Get(name).last_seq(), 1u);
  WireError gone;
  StepResult(SessionName("m", "lost"), 1, &gone);
  EXPECT_EQ(Shown(gone), "NOT_FOUND / SESSION_NOT_FOUND");
}

class SpillServerTest : public DurableServerTest {};

TEST_F(SpillServerTest, IdleSessionsLeaveTheDeviceAndComeBackUnderAStream) {
  options_.engine.spill.max_resident_sessions = 3;
  StartCpu();
  v1::CreateSessionRequest create;
  create.set_parent("models/m");
  create.set_session_id("pinned");
  create.mutable_session()->set_pinned(true);
  v1::Session pinned;
  ASSERT_TRUE(sessions_->CreateSession(Context().get(), create, &pinned).ok());
  EXPECT_TRUE(pinned.pinned());
  std::vector<std::string> names;
  for (int i = 0; i < 10; ++i) names.push_back(SessionName("m", "s" + std::to_string(i)));
  const std::vector<float> undisturbed = Undisturbed(4);
  StreamClient stream(inference_.get());
  ASSERT_TRUE(stream.Write(BindFrame(names)));
  stream.ReadAnswers(names.size());
  for (uint64_t seq = 1; seq <= 4; ++seq) {
    for (uint32_t handle = 0; handle < names.size(); ++handle) {
      ASSERT_TRUE(stream.Write(StepFrame(seq, {handle}, MakeTensor({1, 3}, InputOf(seq)))));
    }
  }
  stream.ReadAnswers(5 * names.size());
  EXPECT_TRUE(stream.failures.empty());
  for (uint32_t handle = 0; handle < names.size(); ++handle) {
    std::vector<float> outputs;
    for (const StreamResult& result : stream.results[handle]) {
      outputs.insert(outputs.end(), result.output.begin(), result.output.end());
    }
    EXPECT_THAT(outputs, ElementsAreArray(undisturbed)) << handle;
  }
  // Ten were at work at once; those above three leave when they are idle, by a thread of its own.
  const absl::Time deadline = absl::Now() + absl::Seconds(60);
  const auto out = [&] {
    return std::count_if(names.begin(), names.end(),
                         [&](const std::string& name) { return Get(name).residency() == v1::Session::HOST; });
  };
  while (out() < 7 && absl::Now() < deadline) std::this_thread::yield();
  EXPECT_GE(out(), 7);
  EXPECT_EQ(Get(SessionName("m", "pinned")).residency(), v1::Session::DEVICE);
  EXPECT_GT(server_->engine().Stats().spill_restores, 0u);
}

class RedisServerTest : public DurableServerTest {
 protected:
  RedisProcess redis_;
};

TEST_F(RedisServerTest, DrainUnderAStreamLeavesEverySessionForTheOther) {
  StartOn(redis_.flag(), "a:1", Durability::kNone);
  Replica first = Take();
  StartOn(redis_.flag(), "b:2", Durability::kNone);
  Replica second = Take();
  Use(std::move(first));
  const std::vector<float> undisturbed = Undisturbed(3);
  const std::string name = SessionName("m", "a");
  StreamClient stream(inference_.get());
  const auto step = [&](uint64_t seq) {
    v1::StreamStepsRequest frame;
    v1::StepBlock& block = *frame.add_steps();
    block.add_handles(0);
    block.add_seqs(seq);
    *block.mutable_input() = MakeTensor({1, 3}, InputOf(seq));
    return stream.Write(frame);
  };
  ASSERT_TRUE(stream.Write(BindFrame({name})));
  ASSERT_TRUE(step(1));
  stream.ReadAnswers(2);
  v1::DrainRequest request;
  request.set_new_address("b:8001");
  v1::DrainResponse response;
  ASSERT_TRUE(models_->Drain(Context().get(), request, &response).ok());
  EXPECT_EQ(response.checkpointed_sessions(), 1u);
  EXPECT_EQ(response.lost_sessions(), 0u);
  ASSERT_TRUE(step(2));
  stream.ReadAnswers(4);
  ASSERT_EQ(stream.events.size(), 1u);
  EXPECT_EQ(stream.events[0].kind(), v1::SessionEvent::MOVED);
  ASSERT_EQ(stream.failures.size(), 1u);
  EXPECT_EQ(Shown(Decode(stream.failures[0].error())), "UNAVAILABLE / DRAINING");
  WireError refused;
  StepResult(name, 2, &refused);
  EXPECT_EQ(Shown(refused), "UNAVAILABLE / DRAINING");
  std::thread end([&] { EXPECT_TRUE(server_->Drain(absl::Now() + absl::Seconds(60))); });
  EXPECT_TRUE(stream.Finish().ok());
  EXPECT_TRUE(stream.go_away);
  EXPECT_EQ(stream.new_address, "b:8001");
  end.join();

  Use(std::move(second));
  EXPECT_EQ(Get(name).residency(), v1::Session::STORE);
  const v1::StepResult two = StepResult(name, 2);
  EXPECT_EQ(two.epoch(), 2u);
  EXPECT_THAT(Values(two.output()), ElementsAre(undisturbed[2], undisturbed[3]));
}

TEST_F(RedisServerTest, TheOwnerBeforeIsFencedAndSaysWhere) {
  StartOn(redis_.flag(), "a:1", Durability::kEveryStep);
  const std::string name = SessionName("m", "a");
  Create("m", "a");
  StepResult(name, 1);
  Replica first = Take();
  StartOn(redis_.flag(), "b:2", Durability::kEveryStep);
  const v1::StepResult two = StepResult(name, 2);
  EXPECT_EQ(two.epoch(), 2u);
  Replica second = Take();
  Use(std::move(first));
  for (uint64_t seq = 2; seq < 5; ++seq) {
    WireError moved;
    StepResult(name, seq, &moved);
    EXPECT_EQ(Shown(moved), "UNAVAILABLE / SESSION_MOVED");
    EXPECT_EQ(moved.metadata["owner_address"], "b:2");
    EXPECT_TRUE(moved.has_retry);
  }
  Use(std::move(second));
  EXPECT_EQ(Get(name).durable_seq(), 2u);
  EXPECT_EQ(StepResult(name, 3).durable_seq(), 3u);
}

TEST_F(RedisServerTest, AnOutageIsAnErrorThatEndsByItself) {
  StartOn(redis_.flag(), "a:1", Durability::kNone);
  Create("m", "memory");
  v1::CreateSessionRequest create;
  create.set_parent("models/m");
  create.set_session_id("safe");
  create.mutable_session()->set_durability(v1::Session::EVERY_STEP);
  v1::Session made;
  ASSERT_TRUE(sessions_->CreateSession(Context().get(), create, &made).ok());
  StepResult(SessionName("m", "safe"), 1);
  redis_.Kill();
  WireError error;
  StepResult(SessionName("m", "safe"), 2, &error);
  EXPECT_EQ(Shown(error), "UNAVAILABLE / STORE_UNAVAILABLE");
  EXPECT_EQ(error.metadata["applied"], "true");
  EXPECT_TRUE(error.has_retry);
  StepResult(SessionName("m", "memory"), 1);  // needs no store
  StepResult(SessionName("m", "unknown"), 1, &error);
  EXPECT_EQ(Shown(error), "UNAVAILABLE / STORE_UNAVAILABLE");
  redis_.Start();
  v1::StepResult result;
  do {
    result = StepResult(SessionName("m", "safe"), 2, &error);
  } while (error.reason == "STORE_UNAVAILABLE");
  EXPECT_EQ(error.code, grpc::StatusCode::OK) << error.message;
  EXPECT_TRUE(result.replayed());
  EXPECT_EQ(result.durable_seq(), 2u);
}

}  // namespace
}  // namespace lstmd
