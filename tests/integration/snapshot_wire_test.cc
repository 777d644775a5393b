// SPDX-License-Identifier: Apache-2.0
//
// Forks, and snapshots from server to server, with streams under way. On the CPU a session that goes on elsewhere puts
// out the same bits.
#include <thread>

#include "gmock/gmock.h"
#include "tests/integration/stream_client.h"

namespace lstmd {
namespace {

std::vector<float> InputAt(uint64_t seq) {
  const auto value = static_cast<float>(seq % 17);
  return {value / 17, 1 - value / 9, value / 5 - 1};
}

class SnapshotWireTest : public ServerTest {
 protected:
  v1::SessionSnapshot Export(const std::string& name) {
    v1::ExportSessionRequest request;
    request.set_name(name);
    v1::SessionSnapshot snapshot;
    const grpc::Status status = sessions_->ExportSession(Context().get(), request, &snapshot);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return snapshot;
  }
  v1::Session Import(const v1::SessionSnapshot& snapshot, const std::string& id, bool replace = false) {
    v1::ImportSessionRequest request;
    request.set_parent("models/m");
    request.set_session_id(id);
    request.mutable_snapshot()->set_data(snapshot.data());
    request.set_replace(replace);
    v1::Session session;
    const grpc::Status status = sessions_->ImportSession(Context().get(), request, &session);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return session;
  }
  v1::Session Fork(const std::string& name, const std::string& id) {
    v1::ForkSessionRequest request;
    request.set_name(name);
    request.set_session_id(id);
    v1::Session session;
    const grpc::Status status = sessions_->ForkSession(Context().get(), request, &session);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return session;
  }
};

// Snapshots and forks are taken at moments of their own while a stream steps the session as fast as it goes.
TEST_F(SnapshotWireTest, TakenInFlightTheyGoOnToTheSameBits) {
  constexpr uint64_t kSteps = 3000;
  options_.engine.scheduler.max_queued_per_session = kSteps;  // turns that snapshots take hold steps up
  StartCpu();
  const std::string name = SessionName("m", "a");
  StreamClient stream(inference_.get());
  ASSERT_TRUE(stream.Write(BindFrame({name})));
  stream.ReadAnswers(1);
  std::vector<v1::SessionSnapshot> snapshots;
  std::vector<v1::Session> forks;
  std::thread taker([&] {
    for (int k = 0; k < 10; ++k) {
      snapshots.push_back(Export(name));
      forks.push_back(Fork(name, "fork" + std::to_string(k)));
    }
  });
  std::thread writer([&] {
    for (uint64_t seq = 1; seq <= kSteps; ++seq) {
      v1::StreamStepsRequest frame = StepFrame(seq, {0}, MakeTensor({1, 3}, InputAt(seq)));
      frame.mutable_steps(0)->add_seqs(seq);
      ASSERT_TRUE(stream.Write(frame));
    }
  });
  stream.ReadAnswers(1 + kSteps);
  writer.join();
  taker.join();
  stream.WritesDone();
  EXPECT_TRUE(stream.Finish().ok());
  ASSERT_TRUE(stream.failures.empty()) << stream.failures[0].DebugString();
  const std::vector<StreamResult>& outputs = stream.results[0];
  ASSERT_EQ(outputs.size(), kSteps);

  const auto goes_on = [&](const std::string& at, uint64_t last_seq) {
    for (uint64_t seq = last_seq + 1; seq <= std::min(last_seq + 5, kSteps); ++seq) {
      EXPECT_EQ(Step(at, InputAt(seq), seq), outputs[seq - 1].output) << at << " step " << seq;
    }
  };
  for (size_t k = 0; k < snapshots.size(); ++k) {
    goes_on(forks[k].name(), forks[k].last_seq());
    const v1::Session imported = Import(snapshots[k], "");
    EXPECT_EQ(imported.last_seq(), snapshots[k].last_seq());
    EXPECT_EQ(imported.epoch(), 2u);
    // A repeat of a step from before the export: the same bytes, no second step.
    if (imported.last_seq() != 0) {
      EXPECT_EQ(Step(imported.name(), InputAt(imported.last_seq()), imported.last_seq()),
                outputs[imported.last_seq() - 1].output);
    }
    goes_on(imported.name(), imported.last_seq());
  }
}

TEST_F(SnapshotWireTest, AReplacedSessionStaysBoundAndFencesOldEpochs) {
  StartCpu();
  const std::string name = SessionName("m", "a");
  StreamClient stream(inference_.get());
  v1::StreamStepsRequest bind = BindFrame({name, name});
  bind.mutable_binds(1)->set_epoch(1);
  ASSERT_TRUE(stream.Write(bind));
  stream.ReadAnswers(2);
  const std::vector<float> first = Step(name, InputAt(1), 1);
  const v1::SessionSnapshot snapshot = Export(name);
  const std::vector<float> second = Step(name, InputAt(2), 2);
  const v1::Session replaced = Import(snapshot, "a", /*replace=*/true);
  EXPECT_EQ(replaced.uid(), stream.bounds[0].session().uid());
  EXPECT_EQ(replaced.epoch(), 2u);
  EXPECT_EQ(replaced.last_seq(), 1u);
  ASSERT_TRUE(stream.Write(StepFrame(1, {0}, MakeTensor({1, 3}, InputAt(2)))));
  ASSERT_TRUE(stream.Write(StepFrame(2, {1}, MakeTensor({1, 3}, InputAt(3)))));
  stream.ReadAnswers(4);
  ASSERT_EQ(stream.results[0].size(), 1u);
  EXPECT_EQ(stream.results[0][0].output, second);
  ASSERT_EQ(stream.failures.size(), 1u);
  EXPECT_EQ(Shown(Decode(stream.failures[0].error())), "ABORTED / SESSION_FENCED at epoch");
  EXPECT_NE(first, second);
}

TEST_F(SnapshotWireTest, ASnapshotMovesToAnotherServer) {
  StartCpu();
  const std::string name = Create("m", "a").name();
  for (uint64_t seq = 1; seq <= 5; ++seq) Step(name, InputAt(seq), seq);
  const v1::SessionSnapshot snapshot = Export(name);
  EXPECT_EQ(snapshot.session(), name);
  EXPECT_EQ(snapshot.steps(), 5u);
  const std::vector<float> fifth = Step(name, InputAt(5), 5);
  const std::vector<float> sixth = Step(name, InputAt(6), 6);
  server_.reset();
  StartCpu();  // the same models, as another process would have them
  const v1::Session there = Import(snapshot, "b");
  EXPECT_EQ(Step(there.name(), InputAt(5), 5), fifth);
  EXPECT_EQ(Step(there.name(), InputAt(6), 6), sixth);
}

}  // namespace
}  // namespace lstmd
