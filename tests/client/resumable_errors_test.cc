// SPDX-License-Identifier: Apache-2.0
//
// What a resumable stream cannot mend: the caller hears it once, of that session alone, in time.
#include <atomic>

#include "tests/client/resumable_fixture.h"

namespace lstmd::client {
namespace {

class ResumableErrorsTest : public ResumableStreamTest {
 protected:
  // Three steps of "s" fail with `code`, and one that is sent after them; "t" goes on.
  void ExpectSessionEnds(uint32_t s, uint32_t t, absl::StatusCode code) {
    Futures futures;
    SendAll(s, 3, &futures);
    for (auto& future : futures) EXPECT_EQ(future.get().status().code(), code);
    futures.clear();
    SendAll(s, 1, &futures);
    EXPECT_EQ(futures[0].get().status().code(), code) << "until it is bound again";
    const float input = 5;
    EXPECT_TRUE(stream_->Step(t, absl::MakeConstSpan(&input, 1)).ok());
  }
};

TEST_F(ResumableErrorsTest, ErrorsOfTheServerEndOneSession) {
  Make("s");
  Make("t");
  std::atomic<bool> refuse{true};
  a_.refuse_step = [&](const std::string& name, uint64_t) {
    return refuse && name == SessionName("m", "s") ? FakeError(absl::StatusCode::kNotFound, "SESSION_NOT_FOUND")
                                                   : google::rpc::Status();
  };
  Open();
  const uint32_t s = Bind("s");
  ExpectSessionEnds(s, Bind("t"), absl::StatusCode::kNotFound);
  // Bound again it goes on, with the numbers of the server.
  EXPECT_TRUE(stream_->Unbind(s).ok());
  refuse = false;
  const float input = 5;
  EXPECT_EQ(*stream_->Step(Bind("s"), absl::MakeConstSpan(&input, 1)), std::vector<float>{5});
  EXPECT_EQ(stream_->Finish().code(), absl::StatusCode::kNotFound) << "the first error of any session";
}

TEST_F(ResumableErrorsTest, ALostSessionIsNotMadeAnew) {
  Make("t");
  BindOptions create;
  create.create_if_missing = true;
  Open();
  const uint32_t s = Bind("s", create);
  const uint32_t t = Bind("t");
  a_.fault = [&, broken = false](const std::string&, uint64_t) mutable {
    if (std::exchange(broken, true)) return Fault::kNone;
    store_->sessions.erase(SessionName("m", "s"));
    return Fault::kBreakBefore;
  };
  ExpectSessionEnds(s, t, absl::StatusCode::kNotFound);
}

TEST_F(ResumableErrorsTest, AnotherSessionOfTheNameIsNotTakenForIt) {
  Make("s");
  Make("t");
  Open();
  const uint32_t s = Bind("s");
  const uint32_t t = Bind("t");
  a_.fault = [&, broken = false](const std::string&, uint64_t) mutable {
    if (std::exchange(broken, true)) return Fault::kNone;
    Make("s");
    return Fault::kBreakBefore;
  };
  ExpectSessionEnds(s, t, absl::StatusCode::kAborted);
}

TEST_F(ResumableErrorsTest, SomebodyElsesStepsAreNoticed) {
  FakeSession& session = Make("s");
  Make("t");
  Open();
  const uint32_t s = Bind("s");
  const uint32_t t = Bind("t");
  {
    std::lock_guard<std::mutex> lock(store_->mutex);
    session.last_seq = 1;
    session.outputs[1] = 77;
  }
  ExpectSessionEnds(s, t, absl::StatusCode::kAborted);
}

TEST_F(ResumableErrorsTest, APinnedEpochIsKept) {
  FakeSession& session = Make("s");
  Make("t");
  Open();
  BindOptions pinned;
  pinned.epoch = 1;
  const uint32_t s = Bind("s", pinned);
  const uint32_t t = Bind("t");
  {
    std::lock_guard<std::mutex> lock(store_->mutex);
    ++session.epoch;
  }
  ExpectSessionEnds(s, t, absl::StatusCode::kAborted);
  EXPECT_EQ(GetDetails(stream_->Bind(SessionName("m", "s"), pinned).status()).reason, "SESSION_FENCED");
}

TEST_F(ResumableErrorsTest, MoreLostThanKeptIsDataLoss) {
  FakeSession& session = Make("s", v1::Session::PERIODIC);
  options_.max_replay = 4;
  Open();
  const uint32_t s = Bind("s");
  Futures futures;
  SendAll(s, 10, &futures);
  for (auto& future : futures) EXPECT_TRUE(future.get().ok());
  Meet();
  a_.fault = [&, broken = false](const std::string&, uint64_t) mutable {
    if (std::exchange(broken, true)) return Fault::kNone;
    store_->Restore(&session, 5);
    return Fault::kBreakBefore;
  };
  futures.clear();
  SendAll(s, 1, &futures);
  EXPECT_EQ(futures[0].get().status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(ResumableErrorsTest, TheDeadlineHolds) {
  Make("s");
  options_.timeout = absl::Seconds(1);  // also of the Bind that must succeed first
  a_.fault = [](const std::string&, uint64_t) { return Fault::kDropReply; };
  Open();
  const uint32_t s = Bind("s");
  Futures futures;
  SendAll(s, 3, &futures);
  for (auto& future : futures) EXPECT_EQ(future.get().status().code(), absl::StatusCode::kDeadlineExceeded);
  {
    std::lock_guard<std::mutex> lock(store_->mutex);
    a_.answer_bind = [](const v1::Bind&) { return false; };
  }
  EXPECT_EQ(stream_->Bind(SessionName("m", "s")).status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(ResumableErrorsTest, AttemptsAreBounded) {
  Make("s");
  options_.max_attempts = 5;
  std::atomic<int> attempts{0};
  a_.refuse_step = [&](const std::string&, uint64_t) {
    ++attempts;
    return FakeError(absl::StatusCode::kResourceExhausted, "QUEUE_FULL", {}, absl::Microseconds(10));
  };
  Open();
  const float input = 1;
  const absl::Status status = stream_->Step(Bind("s"), absl::MakeConstSpan(&input, 1)).status();
  EXPECT_EQ(GetDetails(status).reason, "QUEUE_FULL") << "the last error is the answer";
  EXPECT_EQ(attempts, 5);
}

TEST_F(ResumableErrorsTest, NoServerAtAll) {
  options_.max_attempts = 3;
  std::string address;
  {
    FakeLstmd gone(store_);
    address = gone.address();
  }
  Client client(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()), ClientOptions());
  stream_ = client.OpenResumableStream(options_);
  EXPECT_EQ(stream_->Bind(SessionName("m", "s")).status().code(), absl::StatusCode::kUnavailable);
  stream_.reset();
}

TEST_F(ResumableErrorsTest, WrongCalls) {
  Make("s");
  Open();
  const uint32_t s = Bind("s");
  EXPECT_FALSE(stream_->Bind(SessionName("m", "none")).ok());
  const float input[] = {1, 2};
  const uint64_t seq = 1;
  Steps steps;
  steps.handles = absl::MakeConstSpan(&s, 1);
  const auto never = [](const StepResult&) { ADD_FAILURE(); };
  steps.input = input;
  EXPECT_EQ(stream_->Send(steps, never).code(), absl::StatusCode::kInvalidArgument) << "input size";
  steps.input = absl::MakeConstSpan(input, 1);
  steps.seqs = absl::MakeConstSpan(&seq, 1);
  EXPECT_EQ(stream_->Send(steps, never).code(), absl::StatusCode::kInvalidArgument) << "numbers";
  steps.seqs = {};
  const uint32_t unknown = 999;
  steps.handles = absl::MakeConstSpan(&unknown, 1);
  EXPECT_EQ(stream_->Send(steps, never).code(), absl::StatusCode::kInvalidArgument) << "handle";
  steps.handles = {};
  EXPECT_EQ(stream_->Send(steps, never).code(), absl::StatusCode::kInvalidArgument) << "none";
  EXPECT_TRUE(stream_->Finish().ok() == false) << "the bind failed";
  steps.handles = absl::MakeConstSpan(&s, 1);
  EXPECT_EQ(stream_->Send(steps, never).code(), absl::StatusCode::kFailedPrecondition) << "finished";
}

TEST_F(ResumableErrorsTest, CancelAnswersAll) {
  Make("s");
  a_.fault = [](const std::string&, uint64_t) { return Fault::kDropReply; };
  Open();
  Futures futures;
  SendAll(Bind("s"), 30, &futures);
  stream_->Cancel();
  for (auto& future : futures) EXPECT_EQ(future.get().status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(stream_->Finish().code(), absl::StatusCode::kCancelled);
  stream_.reset();
  stream_ = client_->OpenResumableStream(options_);
  futures.clear();
  SendAll(Bind("s"), 30, &futures);
  stream_.reset();  // does the same
  for (auto& future : futures) EXPECT_EQ(future.get().status().code(), absl::StatusCode::kCancelled);
}

TEST_F(ResumableErrorsTest, CallbacksMaySendButNotWait) {
  FakeSession& session = Make("s");
  options_.max_in_flight = 2;
  Open();
  const uint32_t s = Bind("s");
  std::promise<void> over;
  int left = 50;
  std::function<void(const StepResult&)> again = [&](const StepResult& result) {
    EXPECT_TRUE(result.status.ok()) << result.status;
    EXPECT_EQ(stream_->Finish().code(), absl::StatusCode::kFailedPrecondition);
    const float input = 1;
    EXPECT_FALSE(stream_->Step(s, absl::MakeConstSpan(&input, 1)).ok());
    if (--left == 0) return over.set_value();
    Steps steps;
    steps.handles = absl::MakeConstSpan(&s, 1);
    steps.input = absl::MakeConstSpan(&input, 1);
    EXPECT_TRUE(stream_->Send(steps, again).ok());
  };
  Steps steps;
  const float input = 1;
  steps.handles = absl::MakeConstSpan(&s, 1);
  steps.input = absl::MakeConstSpan(&input, 1);
  ASSERT_TRUE(stream_->Send(steps, again).ok());
  over.get_future().wait();
  EXPECT_TRUE(stream_->Finish().ok());
  Meet();
  EXPECT_EQ(session.applied, 50u);
}

// --- Unary steps ---

class UnaryRetryTest : public ResumableStreamTest {
 protected:
  absl::StatusOr<StepOutput> Step(uint64_t seq) {
    ClientOptions options;
    options.retry.backoff.initial = absl::ZeroDuration();
    absl::StatusOr<std::unique_ptr<Client>> client = Client::Connect(a_.address() + "," + b_.address(), options);
    if (!client.ok()) return client.status();
    StepOptions step;
    step.seq = seq;
    Meet();
    absl::StatusOr<StepOutput> output = (*client)->OpenSession(SessionName("m", "s")).Step(Array{{1}, {2}}, step);
    Meet();
    return output;
  }
};

TEST_F(UnaryRetryTest, ANumberedStepIsTakenOnce) {
  for (const Fault fault : {Fault::kBreakBefore, Fault::kBreakAfter}) {
    FakeSession& session = Make("s");
    int left = 3;
    a_.fault = b_.fault = [&](const std::string&, uint64_t) { return --left >= 0 ? fault : Fault::kNone; };
    const absl::StatusOr<StepOutput> output = Step(1);
    ASSERT_TRUE(output.ok()) << output.status();
    EXPECT_EQ(output->output.values, std::vector<float>{2});
    EXPECT_EQ(output->replayed, fault == Fault::kBreakAfter);
    EXPECT_EQ(session.applied, 1u);
  }
}

TEST_F(UnaryRetryTest, RetryInfoIsHonoured) {
  Make("s");
  int left = 2;
  a_.refuse_step = [&](const std::string&, uint64_t) {
    return --left >= 0 ? FakeError(absl::StatusCode::kResourceExhausted, "QUEUE_FULL", {}, absl::Microseconds(10))
                       : google::rpc::Status();
  };
  EXPECT_TRUE(Step(1).ok());
}

TEST_F(UnaryRetryTest, OthersAreNotSentAgain) {
  Make("s");
  int steps = 0;
  a_.fault = b_.fault = [&](const std::string&, uint64_t) {
    ++steps;
    return Fault::kBreakAfter;
  };
  EXPECT_EQ(Step(0).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(steps, 1) << "without a number a step might be taken twice";
  a_.fault = b_.fault = nullptr;
  steps = 0;
  a_.refuse_step = b_.refuse_step = [&](const std::string&, uint64_t) {
    ++steps;
    return FakeError(absl::StatusCode::kOutOfRange, "STEP_GAP");
  };
  EXPECT_EQ(Step(9).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(steps, 1) << "an answer that stays the same";
}

}  // namespace
}  // namespace lstmd::client
