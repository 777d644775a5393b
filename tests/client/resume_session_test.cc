// SPDX-License-Identifier: Apache-2.0
//
// The parts of a resumable stream that need no server: what one session keeps and sends, what errors mean, back-off.
#include "client/resume_session.h"

#include <string>
#include <vector>

#include "client/backoff.h"
#include "client/error.h"
#include "client/recovery.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"
#include "tests/client/fake_lstmd.h"

namespace lstmd::client {
namespace {

class ResumeSessionTest : public testing::Test {
 protected:
  v1::Session Server(uint64_t last_seq, uint64_t durable_seq = 0) {
    v1::Session session;
    session.set_name("models/m/sessions/s");
    session.set_uid(uid_);
    session.set_last_seq(last_seq);
    session.set_durable_seq(durable_seq);
    session.set_durability(durability_);
    return session;
  }
  void Append(int count) {
    auto steps = std::make_shared<SentSteps>();
    for (int i = 0; i < count; ++i) steps_.Append(steps, static_cast<uint32_t>(i), absl::InfiniteFuture());
  }
  // Numbers of all that is sent now.
  std::vector<uint64_t> Sent() {
    std::vector<uint64_t> seqs;
    while (const auto step = steps_.NextToSend(&counts_)) seqs.push_back(step->seq);
    return seqs;
  }
  // Numbers of what `seq` being answered delivers.
  std::vector<uint64_t> Answer(uint64_t seq, bool replayed = false) {
    Delivery answer;
    answer.result.seq = seq;
    answer.result.replayed = replayed;
    std::vector<Delivery> deliveries;
    status_ = steps_.Answer(std::move(answer), &counts_, &deliveries);
    std::vector<uint64_t> seqs;
    for (const Delivery& delivery : deliveries) seqs.push_back(delivery.result.seq);
    return seqs;
  }

  using Seqs = std::vector<uint64_t>;
  std::string uid_ = "one";
  v1::Session::Durability durability_ = v1::Session::NONE;
  ResumeSession steps_{4, 3};
  ResumeCounts counts_;
  absl::Status status_;
};

TEST_F(ResumeSessionTest, NumbersFollowTheServers) {
  ASSERT_TRUE(steps_.Resume(Server(41), &counts_).ok());
  Append(2);
  EXPECT_EQ(Sent(), (Seqs{42, 43}));
  EXPECT_TRUE(steps_.in_flight());
  EXPECT_EQ(Answer(42), (Seqs{42}));
  EXPECT_EQ(Answer(43), (Seqs{43}));
  EXPECT_FALSE(steps_.in_flight());
  EXPECT_TRUE(steps_.idle());
  EXPECT_EQ(steps_.kept(), 0u);
}

TEST_F(ResumeSessionTest, WindowBoundsWhatIsSent) {
  ASSERT_TRUE(steps_.Resume(Server(0), &counts_).ok());
  Append(6);
  EXPECT_EQ(Sent(), (Seqs{1, 2, 3, 4}));
  EXPECT_EQ(Answer(2), (Seqs{})) << "step 1 is not answered";
  EXPECT_TRUE(steps_.has_gap());
  EXPECT_EQ(Sent(), (Seqs{})) << "the oldest unanswered step bounds the window";
  EXPECT_EQ(Answer(1), (Seqs{1, 2}));
  EXPECT_EQ(Sent(), (Seqs{5, 6}));
}

TEST_F(ResumeSessionTest, AnswersThatComeTwiceAreDropped) {
  ASSERT_TRUE(steps_.Resume(Server(0), &counts_).ok());
  Append(2);
  Sent();
  EXPECT_EQ(Answer(1), (Seqs{1}));
  EXPECT_EQ(Answer(1), (Seqs{}));
  EXPECT_TRUE(status_.ok());
  EXPECT_EQ(counts_.duplicates, 1u);
  Answer(3);
  EXPECT_EQ(status_.code(), absl::StatusCode::kInternal) << "it was never sent";
}

TEST_F(ResumeSessionTest, ResumesWhatWasNotAnswered) {
  ASSERT_TRUE(steps_.Resume(Server(0), &counts_).ok());
  Append(4);
  Sent();
  Answer(1);
  Answer(3);
  // The server has applied up to 3; the answer to 2 was lost, 4 never arrived.
  ASSERT_TRUE(steps_.Resume(Server(3), &counts_).ok());
  EXPECT_EQ(Sent(), (Seqs{2, 4})) << "3 was answered";
  EXPECT_EQ(counts_.resends, 2u);
  EXPECT_EQ(Answer(2, /*replayed=*/true), (Seqs{2, 3}));
  EXPECT_EQ(Answer(4), (Seqs{4}));
}

TEST_F(ResumeSessionTest, SendsAgainFromAFailure) {
  ASSERT_TRUE(steps_.Resume(Server(0), &counts_).ok());
  Append(4);
  Sent();
  steps_.Rewind(3);
  EXPECT_EQ(Sent(), (Seqs{3, 4}));
  Answer(1);
  steps_.RewindUnanswered();
  EXPECT_EQ(Sent(), (Seqs{2, 3, 4}));
}

TEST_F(ResumeSessionTest, PeriodicDurabilityReplaysWhatTheServerLost) {
  durability_ = v1::Session::PERIODIC;
  ASSERT_TRUE(steps_.Resume(Server(0), &counts_).ok());
  Append(4);
  Sent();
  for (uint64_t seq = 1; seq <= 4; ++seq) Answer(seq);
  steps_.Durable(2);
  EXPECT_EQ(steps_.kept(), 2u);
  Append(1);
  EXPECT_EQ(Sent(), (Seqs{5}));
  ASSERT_TRUE(steps_.Resume(Server(2, 2), &counts_).ok());
  EXPECT_EQ(counts_.replays, 2u);
  EXPECT_EQ(Sent(), (Seqs{3, 4, 5}));
  EXPECT_EQ(Answer(3), (Seqs{})) << "the caller has it";
  EXPECT_EQ(Answer(4), (Seqs{}));
  EXPECT_EQ(Answer(5), (Seqs{5}));
  EXPECT_EQ(counts_.duplicates, 0u);
}

TEST_F(ResumeSessionTest, LosesMoreThanIsKept) {
  durability_ = v1::Session::PERIODIC;
  ASSERT_TRUE(steps_.Resume(Server(0), &counts_).ok());
  Append(4);
  Sent();
  for (uint64_t seq = 1; seq <= 4; ++seq) Answer(seq);
  EXPECT_EQ(steps_.kept(), 3u) << "max_replay";
  EXPECT_EQ(steps_.Resume(Server(0), &counts_).code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(steps_.Resume(Server(1), &counts_).ok());
}

TEST_F(ResumeSessionTest, NoticesOthers) {
  ASSERT_TRUE(steps_.Resume(Server(5), &counts_).ok());
  Append(1);
  Sent();
  Answer(6, /*replayed=*/true);
  EXPECT_EQ(status_.code(), absl::StatusCode::kAborted) << "somebody else took step 6";
  EXPECT_EQ(steps_.Resume(Server(7), &counts_).code(), absl::StatusCode::kAborted) << "and step 7";
  EXPECT_EQ(steps_.Resume(Server(0), &counts_).code(), absl::StatusCode::kDataLoss);
  uid_ = "two";
  EXPECT_EQ(steps_.Resume(Server(6), &counts_).code(), absl::StatusCode::kAborted);
}

TEST_F(ResumeSessionTest, NoticesAReset) {
  durability_ = v1::Session::EVERY_STEP;
  ASSERT_TRUE(steps_.Resume(Server(5, 5), &counts_).ok());
  EXPECT_EQ(steps_.Resume(Server(0), &counts_).code(), absl::StatusCode::kAborted);
}

TEST_F(ResumeSessionTest, FailTakesOutWhatWasNotDelivered) {
  ASSERT_TRUE(steps_.Resume(Server(0), &counts_).ok());
  Append(3);
  Sent();
  Answer(1);
  Answer(3);
  std::vector<Delivery> deliveries;
  steps_.Fail(absl::AbortedError("over"), &deliveries);
  ASSERT_EQ(deliveries.size(), 2u);
  for (const Delivery& delivery : deliveries) EXPECT_EQ(delivery.result.status.code(), absl::StatusCode::kAborted);
  EXPECT_TRUE(steps_.idle());
  EXPECT_FALSE(steps_.in_flight());
}

TEST(RecoveryTest, WhatErrorsMean) {
  using Code = absl::StatusCode;
  const struct {
    Code code;
    const char* reason;
    bool pinned;
    Recovery want;
  } cases[] = {
      {Code::kUnavailable, "", false, Recovery::kMove},
      {Code::kUnavailable, "DRAINING", false, Recovery::kMove},
      {Code::kUnavailable, "SESSION_MOVED", false, Recovery::kMove},
      {Code::kUnavailable, "STORE_UNAVAILABLE", false, Recovery::kResend},
      {Code::kUnavailable, "MODEL_LOADING", false, Recovery::kResend},
      {Code::kResourceExhausted, "STORE_FULL", false, Recovery::kResend},
      {Code::kResourceExhausted, "SESSION_LIMIT", false, Recovery::kFail},
      {Code::kAborted, "SESSION_FENCED", false, Recovery::kRebind},
      {Code::kAborted, "SESSION_FENCED", true, Recovery::kFail},
      {Code::kOutOfRange, "STEP_GAP", false, Recovery::kRebind},
      {Code::kInternal, "DEVICE_ERROR", false, Recovery::kResend},
      {Code::kInternal, "", false, Recovery::kMove},
      {Code::kInvalidArgument, "TENSOR_SHAPE", false, Recovery::kFail},
      {Code::kNotFound, "SESSION_NOT_FOUND", false, Recovery::kFail},
      {Code::kAlreadyExists, "STEP_REPLAY_EXPIRED", false, Recovery::kFail},
      {Code::kUnauthenticated, "", false, Recovery::kFail},
      {Code::kUnimplemented, "", false, Recovery::kFail},
  };
  for (const auto& c : cases) {
    const absl::Status status =
        *c.reason == '\0' ? absl::Status(c.code, "of the connection") : FromProto(FakeError(c.code, c.reason));
    EXPECT_EQ(Judge(status, c.pinned).recovery, c.want) << status << " pinned " << c.pinned;
  }
  const Verdict full =
      Judge(FromProto(FakeError(Code::kResourceExhausted, "QUEUE_FULL", {}, absl::Milliseconds(7))), false);
  EXPECT_EQ(full.recovery, Recovery::kResend);
  EXPECT_EQ(full.retry_after, absl::Milliseconds(7));
  EXPECT_EQ(Judge(FromProto(FakeError(Code::kUnavailable, "SESSION_MOVED", {{"owner_address", "b:1"}})), false).address,
            "b:1");
  EXPECT_EQ(Judge(absl::OkStatus(), false).recovery, Recovery::kMove) << "a stream that ended too early";
}

TEST(BackoffTest, GrowsToItsBound) {
  BackoffOptions options;
  options.initial = absl::Milliseconds(10);
  options.max = absl::Milliseconds(50);
  options.multiplier = 2;
  options.jitter = 0.5;
  EXPECT_EQ(BackoffDelay(options, 0, absl::ZeroDuration(), 0), absl::Milliseconds(10));
  EXPECT_EQ(BackoffDelay(options, 2, absl::ZeroDuration(), 0), absl::Milliseconds(40));
  EXPECT_EQ(BackoffDelay(options, 100000, absl::ZeroDuration(), 0), absl::Milliseconds(50));
  EXPECT_EQ(BackoffDelay(options, 1, absl::ZeroDuration(), 0.5), absl::Milliseconds(15)) << "jitter shortens";
  EXPECT_EQ(BackoffDelay(options, 0, absl::Seconds(1), 0), absl::Seconds(1)) << "RetryInfo";
  EXPECT_EQ(BackoffDelay(options, 0, absl::Seconds(1), 0.5), absl::Milliseconds(1250)) << "and is never cut short";
}

}  // namespace
}  // namespace lstmd::client
