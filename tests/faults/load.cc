// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/load.h"

#include <chrono>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/error.h"
#include "gtest/gtest.h"

namespace lstmd {
namespace {

constexpr char kModel[] = "sunspots";
// Longest time without a single result. Restarts take a second or two on a machine that does other things too.
constexpr std::chrono::seconds kStall(60);

client::ResumeOptions Resume() {
  client::ResumeOptions options;
  options.resend_after = absl::Milliseconds(400);
  options.backoff.max = absl::Milliseconds(300);
  return options;
}

}  // namespace

FaultLoad::FaultLoad(const FaultLoadOptions& options) : options_(options), sessions_(options.sessions) {}

FaultLoad::~FaultLoad() { streams_.clear(); }

float FaultLoad::Input(uint32_t session, uint64_t step) {
  // Any sequence will do that has no period and differs between sessions.
  uint64_t x = (uint64_t{session} + 1) * 0x9e3779b97f4a7c15 + step * 0xbf58476d1ce4e5b9;
  x ^= x >> 31;
  x *= 0x94d049bb133111eb;
  x ^= x >> 29;
  return static_cast<float>(x >> 40) / static_cast<float>(1 << 23) - 1;
}

std::string FaultLoad::SessionOf(uint32_t session) const {
  return client::SessionName(kModel, absl::StrCat(options_.prefix, session));
}

absl::Status FaultLoad::Start() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = false;
  }
  if (client_ == nullptr) {
    client::ClientOptions connect;
    connect.connect_timeout = absl::Seconds(20);
    connect.wait_for_server = true;
    absl::StatusOr<std::unique_ptr<client::Client>> client = client::Client::Connect(options_.addresses, connect);
    if (!client.ok()) return client.status();
    client_ = *std::move(client);
    client::BindOptions bind;
    bind.create_if_missing = true;
    for (uint32_t i = 0; i < options_.streams; ++i) {
      streams_.push_back(client_->OpenResumableStream(Resume()));
      std::vector<std::string> names;
      for (uint32_t s = i; s < options_.sessions; s += options_.streams) names.push_back(SessionOf(s));
      const absl::StatusOr<std::vector<client::Binding>> bindings = streams_.back()->BindAll(names, bind);
      if (!bindings.ok()) return bindings.status();
      for (size_t k = 0; k < bindings->size(); ++k) {
        Session& session = sessions_[i + k * options_.streams];
        session.handle = (*bindings)[k].handle;
        session.stream = streams_.back().get();
      }
    }
  }
  for (uint32_t depth = 0; depth < options_.depth; ++depth) {
    for (uint32_t s = 0; s < options_.sessions; ++s) SendNext(s);
  }
  return absl::OkStatus();
}

void FaultLoad::SendNext(uint32_t s) {
  Session& session = sessions_[s];
  std::lock_guard<std::mutex> in_order(session.sending);
  float input;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_ || !error_.ok()) return;
    input = Input(s, session.sent++);
    ++in_flight_;
  }
  client::Steps steps;
  steps.handles = absl::MakeConstSpan(&session.handle, 1);
  steps.input = absl::MakeConstSpan(&input, 1);
  const absl::Status sent =
      session.stream->TrySend(steps, [this, s](const client::StepResult& result) { OnResult(s, result); });
  if (sent.ok()) return;
  std::lock_guard<std::mutex> lock(mutex_);
  --in_flight_;
  error_ = sent;
  changed_.notify_all();
}

void FaultLoad::OnResult(uint32_t s, const client::StepResult& result) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    Session& session = sessions_[s];
    --in_flight_;
    ++results_;
    changed_.notify_all();
    if (!result.status.ok()) {
      if (error_.ok()) {
        error_ = absl::Status(result.status.code(), absl::StrCat(SessionOf(s), ": ", client::Describe(result.status)));
      }
      return;
    }
    session.outputs.push_back(result.output[0]);
    if (result.seq != session.outputs.size() && error_.ok()) {
      error_ = absl::DataLossError(
          absl::StrCat(SessionOf(s), ": step ", session.outputs.size(), " was answered as ", result.seq));
    }
  }
  SendNext(s);
}

template <typename Done>
absl::Status FaultLoad::Wait(std::unique_lock<std::mutex>* lock, Done done) {
  uint64_t seen = results_;
  auto deadline = std::chrono::steady_clock::now() + kStall;
  while (error_.ok() && !done()) {
    if (changed_.wait_until(*lock, deadline) != std::cv_status::timeout) {
      if (results_ != seen) deadline = std::chrono::steady_clock::now() + kStall;
      seen = results_;
      continue;
    }
    error_ = absl::DeadlineExceededError(
        absl::StrCat("no result for a minute, ", in_flight_, " steps in flight, ", results_, " results"));
  }
  return error_;
}

uint64_t FaultLoad::results() {
  std::lock_guard<std::mutex> lock(mutex_);
  return results_;
}

absl::Status FaultLoad::WaitForResults(uint64_t results) {
  std::unique_lock<std::mutex> lock(mutex_);
  return Wait(&lock, [&] { return results_ >= results; });
}

absl::Status FaultLoad::Stop() {
  std::unique_lock<std::mutex> lock(mutex_);
  stopping_ = true;
  return Wait(&lock, [&] { return in_flight_ == 0; });
}

uint64_t FaultLoad::StepsOf(uint32_t session) {
  std::lock_guard<std::mutex> lock(mutex_);
  return sessions_[session].outputs.size();
}

client::ResumeStats FaultLoad::stats() const {
  client::ResumeStats sum;
  for (const auto& stream : streams_) {
    const client::ResumeStats stats = stream->stats();
    sum.connects += stats.connects;
    sum.breaks += stats.breaks;
    sum.go_aways += stats.go_aways;
    sum.binds += stats.binds;
    sum.resends += stats.resends;
    sum.replays += stats.replays;
    sum.duplicates += stats.duplicates;
    sum.max_replay = std::max(sum.max_replay, stats.max_replay);
  }
  return sum;
}

void FaultLoad::ExpectUndisturbed(const std::string& address) {
  absl::StatusOr<std::unique_ptr<client::Client>> client = client::Client::Connect(address);
  ASSERT_TRUE(client.ok()) << client.status();
  client::StreamOptions few;
  few.max_in_flight = 256;  // of a few sessions, in the end: below what may wait in a server
  const std::unique_ptr<client::Stream> stream = (*client)->OpenStream(few);
  std::vector<std::string> names;
  for (uint32_t s = 0; s < options_.sessions; ++s) {
    names.push_back(client::SessionName(kModel, absl::StrCat("undisturbed-", options_.prefix, s)));
  }
  client::BindOptions bind;
  bind.create_if_missing = true;
  const absl::StatusOr<std::vector<client::Binding>> bindings = stream->BindAll(names, bind);
  ASSERT_TRUE(bindings.ok()) << bindings.status();
  std::vector<std::vector<float>> outputs(options_.sessions);
  bool more = true;
  for (uint64_t step = 0; more; ++step) {
    more = false;
    for (uint32_t s = 0; s < options_.sessions; ++s) {
      if (step >= sessions_[s].outputs.size()) continue;
      more = true;
      const float input = Input(s, step);
      client::Steps steps;
      steps.handles = absl::MakeConstSpan(&(*bindings)[s].handle, 1);
      steps.input = absl::MakeConstSpan(&input, 1);
      const absl::Status sent = stream->Send(steps, [&outputs, s](const client::StepResult& result) {
        EXPECT_TRUE(result.status.ok()) << result.status;
        if (result.status.ok()) outputs[s].push_back(result.output[0]);
      });
      ASSERT_TRUE(sent.ok()) << sent;
    }
  }
  const absl::Status finished = stream->Finish();
  ASSERT_TRUE(finished.ok()) << finished;
  uint64_t steps = 0;
  for (uint32_t s = 0; s < options_.sessions; ++s) {
    const std::vector<float>& got = sessions_[s].outputs;
    ASSERT_EQ(got.size(), outputs[s].size()) << names[s];
    ASSERT_EQ(got.size(), sessions_[s].sent) << names[s];
    steps += got.size();
    if (got.empty() || std::memcmp(got.data(), outputs[s].data(), got.size() * sizeof(float)) == 0) continue;
    size_t at = 0;
    while (std::memcmp(&got[at], &outputs[s][at], sizeof(float)) == 0) ++at;
    FAIL() << names[s] << ": step " << at + 1 << " of " << got.size() << " is " << got[at] << ", undisturbed it is "
           << outputs[s][at];
  }
  EXPECT_GT(steps, 0u);
}

}  // namespace lstmd
