// SPDX-License-Identifier: Apache-2.0
//
// What an operator sees of a server: metrics, probes, the status page's data, statistics.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <regex>
#include <sstream>

#include "engine/errors.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/integration/monitor_fixture.h"
#include "tests/integration/stream_client.h"

namespace lstmd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST_F(MonitorTest, MetricsCountWhatWasDone) {
  StartCpu();
  Create("m", "a");
  for (uint64_t seq = 1; seq <= 5; ++seq) Step(SessionName("m", "a"), {1, 2, 3}, seq);
  Step(SessionName("m", "a"), {1, 2, 3}, 5);
  v1::StepRequest gap;
  *gap.add_items() = Item(SessionName("m", "a"), MakeTensor({3}, {1, 2, 3}));
  gap.mutable_items(0)->set_seq(9);
  v1::StepResponse response;
  EXPECT_EQ(Decode(StepStatus(gap, &response)).reason, "STEP_GAP");
  v1::RunSequencesRequest run;
  run.set_model("models/bi");
  *run.add_sequences()->mutable_input() = MakeTensor({4, 3}, std::vector<float>(12, 0.5f));
  v1::RunSequencesResponse ran;
  EXPECT_TRUE(RunStatus(run, &ran).ok());

  const std::string m = R"({model="m",version="1")";
  EXPECT_EQ(Metric("lstmd_steps_total" + m + R"(,outcome="ok"})"), 5);
  EXPECT_EQ(Metric("lstmd_steps_total" + m + R"(,outcome="replayed"})"), 1);
  EXPECT_EQ(Metric("lstmd_steps_total" + m + R"(,outcome="out_of_range"})"), 1);
  EXPECT_EQ(Metric("lstmd_time_steps_total" + m + "}"), 5);
  EXPECT_EQ(Metric("lstmd_queue_duration_seconds_count" + m + "}"), 5);
  EXPECT_EQ(Metric("lstmd_compute_duration_seconds_bucket" + m + R"(,le="+Inf"})"), 5);
  EXPECT_EQ(WaitForMetric("lstmd_reply_duration_seconds_count" + m + "}", 6), 6);
  EXPECT_EQ(WaitForMetric("lstmd_answer_duration_seconds_count" + m + "}", 6), 6);
  EXPECT_EQ(Metric("lstmd_batch_rows_count" + m + "}"), 5);
  EXPECT_EQ(Metric("lstmd_sessions" + m + "}"), 1);
  EXPECT_EQ(Metric(R"(lstmd_session_states{residency="device"})"), 1);
  EXPECT_EQ(Metric(R"(lstmd_session_states{residency="disk"})"), 0);
  EXPECT_EQ(Metric("lstmd_sessions_created_total" + m + "}"), 1);
  EXPECT_GT(Metric("lstmd_memory_bytes" + m + R"(,kind="weights"})"), 0);
  EXPECT_GT(Metric("lstmd_memory_bytes" + m + R"(,kind="states"})"), 0);
  EXPECT_GT(Metric("lstmd_memory_bytes" + m + R"(,kind="replays"})"), 0);
  EXPECT_EQ(Metric("lstmd_sequences_total{model=\"bi\",version=\"1\",outcome=\"ok\"}"), 1);
  EXPECT_EQ(Metric("lstmd_time_steps_total{model=\"bi\",version=\"1\"}"), 4);
  EXPECT_EQ(Metric("lstmd_model_ready{model=\"wide\",version=\"1\",device=\"cpu\"}"), 1);
  EXPECT_EQ(Metric("lstmd_device_healthy{device=\"cpu\",backend=\"cpu\"}"), 1);
  EXPECT_EQ(Metric("lstmd_ready"), 1);
  EXPECT_EQ(Metric("lstmd_draining"), 0);
  EXPECT_GT(Metric("process_resident_memory_bytes"), 1e6);
  EXPECT_GT(Metric("process_cpu_seconds_total"), 0);
  EXPECT_GT(Metric("process_open_fds"), 3);
  EXPECT_GE(Metric("lstmd_failures_total{rpc=\"Step\",code=\"OUT_OF_RANGE\",reason=\"STEP_GAP\"}"), 1);
  EXPECT_GE(Metric("lstmd_requests_total{rpc=\"Step\",code=\"OK\"}"), 5);
  EXPECT_GE(Metric("lstmd_requests_total{rpc=\"CreateSession\",code=\"OK\"}"), 1);
  EXPECT_GE(Metric("lstmd_request_duration_seconds_count{rpc=\"Step\"}"), 7);
}

// Buckets rise to the count, and each metric has its type and help once.
TEST_F(MonitorTest, TheExpositionIsWellFormed) {
  StartCpu();
  Create("m", "a");
  for (int i = 0; i < 20; ++i) Step(SessionName("m", "a"), {1, 2, 3});
  std::istringstream lines(Body("/metrics"));
  std::map<std::string, int> helps;
  std::map<std::string, std::pair<double, double>> series;  // of buckets: last bound and count
  int buckets = 0;
  const std::regex bucket(R"re((\w+)_bucket\{(.*),?le="([^"]+)"\} (\S+))re");
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("# HELP ", 0) == 0) ++helps[line.substr(7, line.find(' ', 7) - 7)];
    std::smatch match;
    if (!std::regex_match(line, match, bucket)) continue;
    ++buckets;
    auto& [bound, count] = series[match[1].str() + match[2].str()];
    const double next = match[3] == "+Inf" ? HUGE_VAL : std::stod(match[3]);
    EXPECT_GT(next, bound) << line;
    EXPECT_GE(std::stod(match[4]), count) << line;
    bound = next;
    count = std::stod(match[4]);
  }
  EXPECT_GT(buckets, 100);
  for (const auto& [name, count] : helps) EXPECT_EQ(count, 1) << name;
#define METRIC(name, type, labels, help) EXPECT_EQ(helps.count(name), 1u) << name;
#include "server/monitor/metrics.inc"
#undef METRIC
}

TEST_F(MonitorTest, NamesFromOutsideAreNeverLabels) {
  StartFake();
  v1::StepRequest request;
  *request.add_items() = Item("models/evil-model/sessions/evil-session", MakeTensor({3}, {1, 2, 3}));
  v1::StepResponse response;
  EXPECT_FALSE(StepStatus(request, &response).ok());
  Create("m", "evil-session");
  Step(SessionName("m", "evil-session"), {1, 2, 3});
  v1::LoadModelRequest load;
  load.set_name("models/evil-model");
  v1::Model model;
  EXPECT_FALSE(models_->LoadModel(Context().get(), load, &model).ok());
  EXPECT_THAT(Body("/metrics"), Not(HasSubstr("evil")));
  EXPECT_THAT(Body("/status.json"), Not(HasSubstr("evil")));
}

TEST_F(MonitorTest, StreamsAreCounted) {
  StartFake();
  const std::string open = "lstmd_open_streams{rpc=\"StreamSteps\"}";
  const std::string m = R"({model="m",version="1")";
  {
    StreamClient stream(inference_.get());
    ASSERT_TRUE(stream.Write(BindFrame({SessionName("m", "a"), SessionName("m", "b")})));
    stream.ReadAnswers(2);
    EXPECT_EQ(Metric(open), 1);
    ASSERT_TRUE(stream.Write(StepFrame(1, {0, 1}, MakeTensor({2, 3}, {1, 2, 3, 4, 5, 6}))));
    stream.ReadAnswers(4);
    ASSERT_TRUE(stream.Write(StepFrame(2, {7}, MakeTensor({1, 3}, {1, 2, 3}))));
    stream.ReadAnswers(5);
    EXPECT_EQ(WaitForMetric("lstmd_answer_duration_seconds_count" + m + "}", 2), 2);
    EXPECT_EQ(Metric("lstmd_reply_duration_seconds_count" + m + "}"), 2);
    EXPECT_GE(Metric("lstmd_failures_total{rpc=\"StreamSteps\",code=\"INVALID_ARGUMENT\",reason=\"HANDLE_UNBOUND\"}"),
              1);
    EXPECT_TRUE(stream.WritesDone());
    EXPECT_TRUE(stream.Finish().ok());
  }
  EXPECT_EQ(WaitForMetric(open, 0), 0);
  EXPECT_GE(Metric("lstmd_stream_messages_total{rpc=\"StreamSteps\",direction=\"in\"}"), 3);
  EXPECT_GE(Metric("lstmd_requests_total{rpc=\"StreamSteps\",code=\"OK\"}"), 1);
}

TEST_F(MonitorTest, WhatWaitsIsSeen) {
  StartFake();
  Create("m", "a");
  control_->Block();
  StreamClient stream(inference_.get());
  ASSERT_TRUE(stream.Write(BindFrame({SessionName("m", "a")})));
  stream.ReadAnswers(1);
  for (uint64_t id = 1; id <= 3; ++id) ASSERT_TRUE(stream.Write(StepFrame(id, {0}, MakeTensor({1, 3}, {1, 2, 3}))));
  const std::string queued = R"(lstmd_queued_work{model="m",version="1"})";
  EXPECT_EQ(WaitForMetric(queued, 3), 3);
  control_->Unblock();
  stream.ReadAnswers(4);
  EXPECT_EQ(WaitForMetric(queued, 0), 0);
}

TEST_F(MonitorTest, ProbesSayWhatOperatorsNeed) {
  StartFake();
  EXPECT_EQ(Body("/healthz"), "ok\n");
  EXPECT_EQ(Body("/readyz"), "ready\n");
  control_->Block();
  Create("m", "a");
  StreamClient stream(inference_.get());
  ASSERT_TRUE(stream.Write(BindFrame({SessionName("m", "a")})));
  stream.ReadAnswers(1);
  ASSERT_TRUE(stream.Write(StepFrame(1, {0}, MakeTensor({1, 3}, {1, 2, 3}))));
  control_->WaitUntilBlocked();
  std::thread drain([&] { server_->Drain(absl::Now() + absl::Minutes(1)); });
  while (!stream.go_away) ASSERT_TRUE(stream.ReadFrame());
  EXPECT_EQ(Body("/readyz", 503), "not ready: the server is draining\n");
  EXPECT_EQ(Body("/healthz"), "ok\n");
  EXPECT_EQ(Metric("lstmd_draining"), 1);
  EXPECT_EQ(Metric("lstmd_ready"), 0);
  control_->Unblock();
  drain.join();
}

TEST_F(MonitorTest, ThePageAndItsDataAreServedAndNothingElse) {
  StartFake();
  const httplib::Result page = Fetch("/");
  EXPECT_THAT(page->body, StartsWith("<!doctype html>"));
  EXPECT_THAT(page->get_header_value("Content-Type"), StartsWith("text/html"));
  EXPECT_THAT(page->get_header_value("Content-Security-Policy"), HasSubstr("default-src 'self'"));
  const std::regex link(R"re((?:src|href)="(/[\w.]+)")re");
  int links = 0;
  for (std::sregex_iterator it(page->body.begin(), page->body.end(), link), end; it != end; ++it, ++links) {
    EXPECT_NE(Body((*it)[1]), "") << (*it)[1];
  }
  EXPECT_GE(links, 5);
  EXPECT_FALSE(std::regex_search(page->body, std::regex("https?://"))) << "loads from elsewhere";
  const auto json = nlohmann::json::parse(Body("/status.json"));
  EXPECT_EQ(json["models"].size(), 3u);
  EXPECT_EQ(json["models"][0]["model"]["name"], "models/bi");
  EXPECT_TRUE(json["not_ready"].empty());
  EXPECT_TRUE(json["history"].is_array());
  EXPECT_THAT(Body("/status.json?since=x", 400), HasSubstr("since"));
  for (const char* const path : {"/nothing", "/../status.js", "/status.js/", "/etc/passwd", "/%2e%2e/etc/passwd"}) {
    EXPECT_THAT(Body(path, 404), StartsWith("404")) << path;
  }
}

// Pages that stay open, and connections that say nothing, as a port scan leaves them.
TEST_F(MonitorTest, IdleConnectionsDoNotKeepTheProbesOut) {
  StartFake();
  const std::string address = server_->metrics_address();
  const int port = std::stoi(address.substr(address.rfind(':') + 1));
  std::vector<std::unique_ptr<httplib::Client>> pages;
  for (int i = 0; i < 20; ++i) {
    pages.push_back(std::make_unique<httplib::Client>("127.0.0.1", port));
    pages.back()->set_keep_alive(true);
    const httplib::Result result = pages.back()->Get("/status.json");
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status, 200);
  }
  std::vector<int> silent;
  for (int i = 0; i < 20; ++i) {
    silent.push_back(socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(connect(silent.back(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  }
  EXPECT_EQ(Body("/healthz"), "ok\n");
  for (const int one : silent) close(one);
}

TEST_F(MonitorTest, AnAddressThatIsTakenIsAnErrorUnlessItIsOnlyTheDefault) {
  StartFake();
  server::ServerOptions options;
  options.listen = {"127.0.0.1:0"};
  options.metrics_listen = server_->metrics_address();
  const auto start = [&] {
    std::vector<std::unique_ptr<Backend>> backends;
    backends.push_back(std::make_unique<FakeBackend>(std::make_shared<FakeControl>()));
    return server::Server::Start(options, *Engine::Create(EngineOptions(), std::move(backends)));
  };
  const auto refused = start();
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(GetCause(refused.status()).reason, "LISTEN");
  options.metrics_optional = true;
  const auto without = start();
  ASSERT_TRUE(without.ok()) << without.status();
  EXPECT_EQ((*without)->metrics_address(), "");
}

TEST_F(MonitorTest, StatsTellTheLoadAndTheHistory) {
  StartCpu();
  UseAdmin();
  Create("m", "a");
  v1::ServerStats stats;
  // The next point of the history covers these steps: one is taken every second.
  for (int i = 0; i < 100'000 && stats.recent().steps_per_second() == 0; ++i) {
    Step(SessionName("m", "a"), {1, 2, 3});
    stats = Stats(true);
  }
  EXPECT_GT(stats.recent().steps_per_second(), 0);
  EXPECT_GT(stats.recent().p99_seconds(), 0);
  EXPECT_GE(stats.recent().p99_seconds(), stats.recent().p50_seconds());
  EXPECT_GE(stats.recent().batch_rows(), 1);
  ASSERT_GT(stats.history_size(), 0);
  const v1::StatsPoint& last = stats.history(stats.history_size() - 1);
  ASSERT_EQ(last.busiest_size(), 1);
  EXPECT_EQ(last.busiest(0).model(), "models/m");
  ASSERT_EQ(stats.models_size(), 3);
  const v1::ModelStats& m = stats.models(1);
  EXPECT_EQ(m.model().name(), "models/m");
  EXPECT_EQ(m.model().sessions(), 1u);
  EXPECT_GT(m.recent().steps_per_second(), 0);
  EXPECT_GT(m.queue_seconds().buckets_size(), 0);
  EXPECT_EQ(stats.models(0).recent().steps_per_second(), 0);
  EXPECT_EQ(stats.devices_size(), 1);
  EXPECT_EQ(Stats().models(1).queue_seconds().buckets_size(), 0) << "not asked for";
}

}  // namespace
}  // namespace lstmd
