// SPDX-License-Identifier: Apache-2.0
//
// Each thing that can go wrong under a resumable stream, one at a time: the caller does not notice.
#include "client/resumable_stream.h"

#include "tests/client/resumable_fixture.h"

namespace lstmd::client {
namespace {

// True the first time it is asked about `seq`.
class Once {
 public:
  explicit Once(std::set<uint64_t> seqs) : open_(std::move(seqs)) {}
  bool operator()(uint64_t seq) { return open_.erase(seq) != 0; }

 private:
  std::set<uint64_t> open_;
};

TEST_F(ResumableStreamTest, StepsAreNumberedFromTheServersLast) {
  FakeSession& session = Make("s");
  session.last_seq = 7;
  session.outputs[7] = session.state = 4;
  Open();
  const uint32_t handle = Bind("s");
  const float input = 1;
  EXPECT_EQ(*stream_->Step(handle, absl::MakeConstSpan(&input, 1)), std::vector<float>{3});
  Meet();
  EXPECT_EQ(session.last_seq, 8u);
  EXPECT_TRUE(stream_->Finish().ok());
  const ResumeStats stats = stream_->stats();
  EXPECT_EQ(stats.connects, 1u);
  EXPECT_EQ(stats.binds, 1u);
  EXPECT_EQ(stats.resends + stats.replays + stats.duplicates + stats.breaks, 0u);
}

// One row for each way in which a step, or its answer, is lost. 60 steps in flight behind each other; faults at three.
TEST_F(ResumableStreamTest, FaultsOfStepsAreNotNoticed) {
  for (const Fault fault : {Fault::kDropReply, Fault::kDuplicateReply, Fault::kBreakBefore, Fault::kBreakAfter}) {
    SCOPED_TRACE(static_cast<int>(fault));
    FakeSession& session = Make("s");
    a_.fault = [&, once = Once({1, 20, 60})](const std::string&, uint64_t seq) mutable {
      return once(seq) ? fault : Fault::kNone;
    };
    // Only the answer to the last step cannot be missed otherwise than by waiting for it.
    options_.resend_after = fault == Fault::kDropReply ? absl::Milliseconds(20) : absl::Minutes(1);
    Open();
    inputs_.clear();
    Futures futures;
    SendAll(Bind("s"), 60, &futures);
    ExpectUndisturbed(&futures, session);
    EXPECT_TRUE(stream_->Finish().ok());
    EXPECT_EQ(session.applied, 60u);
    const ResumeStats stats = stream_->stats();
    const bool breaks = fault == Fault::kBreakBefore || fault == Fault::kBreakAfter;
    if (fault != Fault::kDropReply) {
      EXPECT_EQ(stats.breaks, breaks ? 3u : 0u);
      EXPECT_EQ(stats.binds, breaks ? 4u : 1u);
    }
    if (fault == Fault::kDuplicateReply) {
      EXPECT_EQ(stats.duplicates, 3u);
    } else {
      EXPECT_GE(stats.resends, 3u);
    }
  }
}

// Errors of the server that pass: refused steps and all behind them are sent again, in order.
TEST_F(ResumableStreamTest, RefusedStepsAreSentAgain) {
  const google::rpc::Status errors[] = {
      FakeError(absl::StatusCode::kResourceExhausted, "QUEUE_FULL", {}, absl::Milliseconds(1)),
      FakeError(absl::StatusCode::kUnavailable, "STORE_UNAVAILABLE", {}, absl::Milliseconds(1)),
      FakeError(absl::StatusCode::kResourceExhausted, "STORE_FULL"),
      FakeError(absl::StatusCode::kInternal, "DEVICE_ERROR"),
      FakeError(absl::StatusCode::kUnavailable, "DRAINING"),
      FakeError(absl::StatusCode::kUnavailable, "SESSION_MOVED", {{"owner_address", b_.address()}}),
      FakeError(absl::StatusCode::kAborted, "SESSION_FENCED"),
  };
  for (const google::rpc::Status& error : errors) {
    SCOPED_TRACE(error.message());
    FakeSession& session = Make("s");
    a_.refuse_step = [&, once = Once({1, 2, 30, 31, 40})](const std::string&, uint64_t seq) mutable {
      return once(seq) ? error : google::rpc::Status();
    };
    Open();
    inputs_.clear();
    Futures futures;
    SendAll(Bind("s"), 40, &futures);
    ExpectUndisturbed(&futures, session);
    EXPECT_EQ(session.applied, 40u);
    EXPECT_TRUE(stream_->Finish().ok());
  }
}

TEST_F(ResumableStreamTest, BindsAreSentAgain) {
  options_.resend_after = absl::Milliseconds(20);
  Make("s");
  int binds = 0;
  a_.refuse_bind = [&](const v1::Bind&) {
    return ++binds == 1 ? FakeError(absl::StatusCode::kUnavailable, "MODEL_LOADING") : google::rpc::Status();
  };
  a_.answer_bind = [&](const v1::Bind&) { return binds > 2; };
  Open();
  const float input = 3;
  EXPECT_EQ(*stream_->Step(Bind("s"), absl::MakeConstSpan(&input, 1)), std::vector<float>{3});
  EXPECT_GE(binds, 3);
}

TEST_F(ResumableStreamTest, GoAwayMovesToTheAddressItNames) {
  FakeSession& session = Make("s");
  Open();
  const uint32_t handle = Bind("s");
  bool gone = false;
  a_.after_frame = [&](v1::StreamStepsResponse* response) {
    if (std::exchange(gone, true)) return;
    response->mutable_go_away()->set_new_address(b_.address());
  };
  int after = 0;
  a_.fault = [&](const std::string&, uint64_t) {
    if (gone) ++after;
    return Fault::kNone;
  };
  Futures futures;
  SendAll(handle, 1, &futures);
  futures[0].wait();
  SendAll(handle, 40, &futures);
  ExpectUndisturbed(&futures, session);
  EXPECT_TRUE(stream_->Finish().ok());
  std::lock_guard<std::mutex> lock(store_->mutex);
  EXPECT_LE(after, 16) << "what was in flight is all that came after it";
  EXPECT_EQ(stream_->stats().go_aways, 1u);
  EXPECT_EQ(stream_->stats().connects, 2u);
}

TEST_F(ResumableStreamTest, GoAwayWithoutAnAddressMovesToTheNext) {
  FakeSession& session = Make("s");
  Open(/*two=*/true);
  const uint32_t handle = Bind("s");
  a_.greeting = [] {  // also to those who come later
    v1::StreamStepsResponse response;
    response.mutable_go_away();
    return response;
  };
  a_.after_frame = [](v1::StreamStepsResponse* response) { response->mutable_go_away(); };
  int on_b = 0;
  b_.fault = [&](const std::string&, uint64_t) {
    ++on_b;
    return Fault::kNone;
  };
  Futures futures;
  SendAll(handle, 50, &futures);
  ExpectUndisturbed(&futures, session);
  EXPECT_TRUE(stream_->Finish().ok());
  EXPECT_GT(on_b, 0);
}

TEST_F(ResumableStreamTest, AServerThatIsNotThereIsPassedOver) {
  Make("s");
  std::unique_ptr<Client> client;
  {
    FakeLstmd gone(store_);
    absl::StatusOr<std::unique_ptr<Client>> connected = Client::Connect(gone.address() + "," + b_.address());
    ASSERT_TRUE(connected.ok()) << connected.status();
    client = *std::move(connected);
  }
  stream_ = client->OpenResumableStream(options_);
  const float input = 2;
  EXPECT_EQ(*stream_->Step(Bind("s"), absl::MakeConstSpan(&input, 1)), std::vector<float>{2});
  EXPECT_TRUE(client->GetServerInfo().ok()) << "unary calls go there too";
  stream_.reset();
}

TEST_F(ResumableStreamTest, ASessionThatAnotherServerHasIsFound) {
  FakeSession& session = Make("s");
  a_.refuse_bind = [](const v1::Bind&) { return FakeError(absl::StatusCode::kNotFound, "SESSION_NOT_FOUND"); };
  Open(/*two=*/true);
  Futures futures;
  SendAll(Bind("s"), 5, &futures);
  ExpectUndisturbed(&futures, session);
}

// A crash under periodic durability: the server is back at its checkpoint, and the caller hears nothing of it.
TEST_F(ResumableStreamTest, LostStepsAreReplayed) {
  FakeSession& session = Make("s", v1::Session::PERIODIC);
  Open();
  const uint32_t handle = Bind("s");
  Futures futures;
  for (const int answered : {24, 28}) {
    a_.fault = nullptr;
    SendAll(handle, answered, &futures);
    futures.back().wait();
    Meet();
    a_.fault = [&, crashed = false](const std::string&, uint64_t seq) mutable {
      if (std::exchange(crashed, true)) return Fault::kNone;
      session.durable_seq = seq - 1 - seq % 10;
      store_->Restore(&session, session.durable_seq);
      return Fault::kBreakBefore;
    };
    SendAll(handle, 3, &futures);
    futures.back().wait();
    Meet();
  }
  ExpectUndisturbed(&futures, session);
  EXPECT_TRUE(stream_->Finish().ok());
  const ResumeStats stats = stream_->stats();
  EXPECT_EQ(stats.replays, 5u + 6u) << "steps 20 to 24 and 50 to 55";
  EXPECT_EQ(stats.max_replay, 6u);
  EXPECT_EQ(stats.breaks, 2u);
}

// The owner changes under a live stream, without a break: a gap shows it.
TEST_F(ResumableStreamTest, ARestoreUnderALiveStreamIsNoticed) {
  FakeSession& session = Make("s", v1::Session::PERIODIC);
  a_.fault = [&, once = Once({20})](const std::string&, uint64_t seq) mutable {
    if (once(seq)) {
      session.durable_seq = 15;
      store_->Restore(&session, 15);
    }
    return Fault::kNone;
  };
  Open();
  Futures futures;
  SendAll(Bind("s"), 40, &futures);
  ExpectUndisturbed(&futures, session);
  EXPECT_EQ(stream_->stats().breaks, 0u);
  EXPECT_EQ(stream_->stats().max_replay, 4u);
}

// A server that owned the session once answers from its memory, until it has to look at the store.
TEST_F(ResumableStreamTest, AStaleOwnerIsNotBelieved) {
  FakeSession& session = Make("s", v1::Session::EVERY_STEP);
  session.epoch = 3;
  Open(/*two=*/true);
  const uint32_t handle = Bind("s");
  Futures futures;
  SendAll(handle, 10, &futures);
  futures.back().wait();
  Meet();
  int checkpoints = 0;
  b_.spoil_bound = [&](v1::Session* bound) {
    if (checkpoints > 0) return;
    bound->set_epoch(2);
    bound->set_last_seq(4);
    bound->set_durable_seq(4);
  };
  b_.checkpoint = [&](const std::string&) {
    ++checkpoints;
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "moved");
  };
  a_.refuse_step = [](const std::string&, uint64_t) { return FakeError(absl::StatusCode::kUnavailable, "DRAINING"); };
  SendAll(handle, 10, &futures);
  ExpectUndisturbed(&futures, session);
  EXPECT_TRUE(stream_->Finish().ok());
  EXPECT_EQ(checkpoints, 1);
}

TEST_F(ResumableStreamTest, DeletesSurviveToo) {
  Make("s");
  Make("t");
  Open();
  const uint32_t s = Bind("s");
  const uint32_t t = Bind("t");
  a_.fault = [once = Once({2})](const std::string&, uint64_t seq) mutable {
    return once(seq) ? Fault::kBreakAfter : Fault::kNone;
  };
  Futures futures;
  SendAll(s, 3, &futures);
  EXPECT_TRUE(stream_->Unbind(s, /*delete_session=*/true).ok());
  EXPECT_TRUE(stream_->Unbind(t).ok());
  EXPECT_FALSE(stream_->Unbind(t).ok());
  const float input = 0;
  EXPECT_EQ(stream_->Step(t, absl::MakeConstSpan(&input, 1)).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(stream_->Finish().ok());
  for (auto& future : futures) EXPECT_TRUE(future.get().ok());
  Meet();
  EXPECT_EQ(store_->sessions.count(SessionName("m", "s")), 0u);
  EXPECT_EQ(store_->sessions.count(SessionName("m", "t")), 1u);
}

// Many sessions in one message, whose sessions fail each on its own: order is kept for each.
TEST_F(ResumableStreamTest, SessionsFailOnTheirOwn) {
  constexpr uint32_t kSessions = 20;
  constexpr int kRounds = 30;
  std::vector<std::string> names;
  for (uint32_t i = 0; i < kSessions; ++i) names.push_back(SessionName("m", std::to_string(i)));
  std::map<std::string, Once> once;
  for (uint32_t i = 0; i < kSessions; ++i) once.emplace(names[i], Once({i % 5 + 1, i + 1}));
  a_.refuse_step = [&](const std::string& name, uint64_t seq) {
    return once.at(name)(seq)
               ? FakeError(absl::StatusCode::kResourceExhausted, "QUEUE_FULL", {}, absl::Microseconds(50))
               : google::rpc::Status();
  };
  Open();
  BindOptions create;
  create.create_if_missing = true;
  const absl::StatusOr<std::vector<Binding>> bindings = stream_->BindAll(names, create);
  ASSERT_TRUE(bindings.ok()) << bindings.status();
  std::vector<uint32_t> handles;
  for (const Binding& binding : *bindings) handles.push_back(binding.handle);
  std::vector<std::vector<float>> outputs(kSessions);
  for (int round = 0; round < kRounds; ++round) {
    std::vector<float> input(kSessions);
    for (uint32_t i = 0; i < kSessions; ++i) input[i] = static_cast<float>(i) + static_cast<float>(round);
    Steps steps;
    steps.handles = handles;
    steps.input = input;
    const absl::Status sent = stream_->Send(steps, [&](const StepResult& result) {
      EXPECT_TRUE(result.status.ok()) << result.status;
      EXPECT_EQ(result.handle, handles[result.index]);
      if (result.status.ok()) outputs[result.index].push_back(result.output[0]);
    });
    ASSERT_TRUE(sent.ok()) << sent;
  }
  EXPECT_TRUE(stream_->Finish().ok());
  Meet();
  for (uint32_t i = 0; i < kSessions; ++i) {
    ASSERT_EQ(outputs[i].size(), static_cast<size_t>(kRounds));
    float state = 0;
    for (int round = 0; round < kRounds; ++round) {
      state = state / 2 + static_cast<float>(i) + static_cast<float>(round);
      ASSERT_EQ(outputs[i][static_cast<size_t>(round)], state) << "session " << i << " round " << round;
    }
  }
}

}  // namespace
}  // namespace lstmd::client
