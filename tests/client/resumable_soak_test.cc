// SPDX-License-Identifier: Apache-2.0
//
// Everything that can go wrong, at random and at the same time. LSTMD_TEST_SEED repeats a run.
#include <cstdlib>
#include <iostream>
#include <random>

#include "tests/client/resumable_fixture.h"

namespace lstmd::client {
namespace {

TEST_F(ResumableStreamTest, RandomFaults) {
  const char* const given = std::getenv("LSTMD_TEST_SEED");
  const uint32_t seed =
      given != nullptr ? static_cast<uint32_t>(std::strtoul(given, nullptr, 10)) : std::random_device()();
  std::cout << "LSTMD_TEST_SEED=" << seed << std::endl;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);  // under the lock of the store
  const auto chance = [&](double p) { return std::uniform_real_distribution<double>(0, 1)(random) < p; };
  constexpr uint32_t kSessions = 12;
  constexpr int kRounds = 250;
  std::vector<std::string> names;
  for (uint32_t i = 0; i < kSessions; ++i) {
    names.push_back(SessionName("m", std::to_string(i)));
    store_->Create(names.back(), i % 2 == 0 ? v1::Session::PERIODIC : v1::Session::EVERY_STEP);
  }
  const std::string a = a_.address();
  const std::string b = b_.address();
  const auto fault = [&](const std::string& name, uint64_t) {
    FakeSession& session = store_->sessions[name];
    if (chance(0.001)) {  // a crash
      for (auto& [other, lost] : store_->sessions) store_->Restore(&lost, lost.durable_seq);
      return Fault::kBreakAfter;
    }
    if (chance(0.02)) session.durable_seq = session.last_seq;
    if (chance(0.02)) return Fault::kDropReply;
    if (chance(0.02)) return Fault::kDuplicateReply;
    if (chance(0.003)) return Fault::kBreakBefore;
    if (chance(0.003)) return Fault::kBreakAfter;
    return Fault::kNone;
  };
  const auto refuse = [&](const std::string&, uint64_t) {
    if (chance(0.01)) return FakeError(absl::StatusCode::kResourceExhausted, "QUEUE_FULL", {}, absl::Microseconds(100));
    if (chance(0.005))
      return FakeError(absl::StatusCode::kUnavailable, "STORE_UNAVAILABLE", {}, absl::Microseconds(100));
    if (chance(0.003)) return FakeError(absl::StatusCode::kAborted, "SESSION_FENCED");
    if (chance(0.003)) {
      return FakeError(absl::StatusCode::kUnavailable, "SESSION_MOVED", {{"owner_address", chance(0.5) ? a : b}});
    }
    return google::rpc::Status();
  };
  const auto refuse_bind = [&](const v1::Bind&) {
    return chance(0.1) ? FakeError(absl::StatusCode::kUnavailable, "STORE_UNAVAILABLE") : google::rpc::Status();
  };
  const auto go_away = [&](v1::StreamStepsResponse* response) {
    if (chance(0.003)) response->mutable_go_away()->set_new_address(chance(0.5) ? a : b);
  };
  for (FakeLstmd* const server : {&a_, &b_}) {
    server->fault = fault;
    server->refuse_step = refuse;
    server->refuse_bind = refuse_bind;
    server->answer_bind = [&](const v1::Bind&) { return !chance(0.05); };
    server->after_frame = go_away;
  }
  options_.resend_after = absl::Milliseconds(5);
  options_.max_attempts = 10000;
  Open(/*two=*/true);
  const absl::StatusOr<std::vector<Binding>> bindings = stream_->BindAll(names);
  ASSERT_TRUE(bindings.ok()) << bindings.status();
  std::vector<uint32_t> handles;
  for (const Binding& binding : *bindings) handles.push_back(binding.handle);
  std::vector<std::vector<float>> outputs(kSessions);
  for (int round = 0; round < kRounds; ++round) {
    std::vector<float> input(kSessions);
    for (uint32_t i = 0; i < kSessions; ++i) input[i] = static_cast<float>((i + 1) * static_cast<uint32_t>(round) % 13);
    Steps steps;
    steps.handles = handles;
    steps.input = input;
    const absl::Status sent = stream_->Send(steps, [&](const StepResult& result) {
      EXPECT_TRUE(result.status.ok()) << result.status;
      if (result.status.ok()) outputs[result.index].push_back(result.output[0]);
    });
    ASSERT_TRUE(sent.ok()) << sent;
  }
  EXPECT_TRUE(stream_->Finish().ok());
  for (uint32_t i = 0; i < kSessions; ++i) {
    ASSERT_EQ(outputs[i].size(), static_cast<size_t>(kRounds)) << "session " << i;
    float state = 0;
    for (int round = 0; round < kRounds; ++round) {
      state = state / 2 + static_cast<float>((i + 1) * static_cast<uint32_t>(round) % 13);
      ASSERT_EQ(outputs[i][static_cast<size_t>(round)], state) << "session " << i << " step " << round + 1;
    }
  }
  const ResumeStats stats = stream_->stats();
  EXPECT_GT(stats.breaks, 0u);
  EXPECT_GT(stats.resends, 0u);
  EXPECT_GT(stats.duplicates, 0u);
  std::cout << "connects " << stats.connects << " breaks " << stats.breaks << " go_aways " << stats.go_aways
            << " binds " << stats.binds << " resends " << stats.resends << " replays " << stats.replays
            << " duplicates " << stats.duplicates << " max_replay " << stats.max_replay << std::endl;
}

}  // namespace
}  // namespace lstmd::client
