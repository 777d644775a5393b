// SPDX-License-Identifier: Apache-2.0
//
// Counts of calls and failures, traces, and the lines that say so.
#include "server/telemetry.h"

#include <sstream>
#include <thread>

#include "engine/errors.h"
#include "gmock/gmock.h"
#include "grpcpp/server_context.h"
#include "nlohmann/json.hpp"
#include "server/logging.h"
#include "server/slow_log.h"
#include "server/trace_context.h"
#include "spdlog/sinks/ostream_sink.h"
#include "spdlog/spdlog.h"

namespace lstmd::server {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kTrace[] = "4bf92f3577b34da6a3ce929d0e0e4736";
constexpr char kSpan[] = "00f067aa0ba902b7";

TEST(TraceContextTest, WellFormedOnesAreTaken) {
  for (const char* const value : {
           "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
           "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
           "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
           "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-will-be-like",
       }) {
    const TraceContext trace = ParseTraceparent(value);
    EXPECT_EQ(trace.trace_id, kTrace) << value;
    EXPECT_EQ(trace.span_id, kSpan) << value;
  }
}

TEST(TraceContextTest, OthersAreNone) {
  for (const char* const value : {
           "",
           "00",
           "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
           "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-",
           "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
           "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
           "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
           "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
           "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
           "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
           "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
           "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
           "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
           "00-4bf92f3577b34da6a3ce929d0e0e473-000f067aa0ba902b7-01",
           "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n",
       }) {
    EXPECT_TRUE(ParseTraceparent(value).empty()) << value;
  }
}

TEST(TelemetryTest, FailuresAreCountedByCallCodeAndReason) {
  Telemetry telemetry;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&telemetry] {
      for (int i = 0; i < 1000; ++i) {
        telemetry.CountFailure("Step", absl::StatusCode::kNotFound, "SESSION_NOT_FOUND");
        if (i % 2 == 0) telemetry.CountFailure("Step", absl::StatusCode::kNotFound, "MODEL_NOT_FOUND");
        telemetry.Rpc(i % 2 == 0 ? "Step" : "StreamSteps").Ended(absl::StatusCode::kOk);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::vector<FailureStats> failures = telemetry.Failures();
  ASSERT_EQ(failures.size(), 2u);
  EXPECT_EQ(failures[0].reason, "SESSION_NOT_FOUND");
  EXPECT_EQ(failures[0].code, "NOT_FOUND");
  EXPECT_EQ(failures[0].count, 4000u);
  EXPECT_EQ(failures[1].count, 2000u);
  const std::vector<RpcStats> rpcs = telemetry.Rpcs();
  ASSERT_EQ(rpcs.size(), 2u);
  EXPECT_EQ(rpcs[0].rpc, "Step");
  EXPECT_EQ(rpcs[0].counters->calls[0].value(), 2000u);
  EXPECT_EQ(rpcs[1].counters->calls[0].value(), 2000u);
}

// However many reasons there are, the table does not grow without end, and no failure is lost.
TEST(TelemetryTest, TheTableIsBounded) {
  Telemetry telemetry;
  telemetry.CountFailure("Step", absl::StatusCode::kInternal, "OTHER");
  for (int i = 0; i < 10'000; ++i) {
    telemetry.CountFailure("Step", absl::StatusCode::kInternal, "R" + std::to_string(i));
  }
  const std::vector<FailureStats> failures = telemetry.Failures();
  EXPECT_LE(failures.size(), 256u);
  uint64_t sum = 0;
  for (const FailureStats& failure : failures) sum += failure.count;
  EXPECT_EQ(sum, 10'001u);
  EXPECT_EQ(failures[0].reason, "OTHER");
}

// The default logger writes into a string meanwhile.
class LogTest : public ::testing::Test {
 protected:
  void Log(const char* format) {
    ASSERT_TRUE(SetUpLogging("debug", format).ok());
    auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(lines_);
    auto logger = std::make_shared<spdlog::logger>("test", sink);
    if (std::string(format) == "json") {
      logger->set_formatter(MakeJsonFormatter());
    } else {
      logger->set_pattern("%l %v");
    }
    logger->set_level(spdlog::level::debug);
    spdlog::set_default_logger(logger);
  }
  ~LogTest() override { EXPECT_TRUE(SetUpLogging("warn", "text").ok()); }

  std::ostringstream lines_;
};

TEST_F(LogTest, FieldsStandBehindTheMessageInTextAndAsMembersInJson) {
  const LogFields fields = {{"rpc", "Step", true}, {"trace_id", kTrace}};
  Log("text");
  LogLine(spdlog::level::warn, "Step was slow", fields);
  EXPECT_EQ(lines_.str(), std::string("warning Step was slow trace_id=") + kTrace + "\n");
  lines_.str("");
  Log("json");
  LogLine(spdlog::level::warn, "Step was slow", fields);
  spdlog::warn("no fields");
  std::istringstream lines(lines_.str());
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  const auto json = nlohmann::json::parse(line);
  EXPECT_EQ(json["message"], "Step was slow");
  EXPECT_EQ(json["rpc"], "Step");
  EXPECT_EQ(json["trace_id"], kTrace);
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_FALSE(nlohmann::json::parse(line).contains("rpc")) << "fields of the line before";
}

TEST_F(LogTest, AFailureIsOneLineWithItsReason) {
  Log("text");
  LogFailure(Plane::kData, "Step", NotFound("SESSION_NOT_FOUND", "there is no session 'a'").Field("items[0].session"));
  EXPECT_EQ(lines_.str(),
            "debug Step failed: NOT_FOUND SESSION_NOT_FOUND at items[0].session: there is no session 'a'\n");
}

TEST_F(LogTest, TheLevelCanBeChanged) {
  Log("text");
  EXPECT_TRUE(SetLogLevel("error").ok());
  EXPECT_EQ(LogLevel(), "error");
  spdlog::warn("not seen");
  EXPECT_EQ(SetLogLevel("loud").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(LogLevel(), "error");
  EXPECT_TRUE(SetLogLevel("warn").ok());
  EXPECT_EQ(LogLevel(), "warn");
  spdlog::warn("seen");
  EXPECT_THAT(lines_.str(), AllOf(HasSubstr("warning seen"), Not(HasSubstr("not seen"))));
}

TEST_F(LogTest, SlowRequestsAreFewLinesAndNoneIsForgotten) {
  Log("text");
  SlowLog log(absl::Milliseconds(10));
  EXPECT_TRUE(log.IsSlow(absl::Milliseconds(10)));
  EXPECT_FALSE(log.IsSlow(absl::Milliseconds(9)));
  EXPECT_FALSE(SlowLog(absl::ZeroDuration()).IsSlow(absl::Hours(1)));
  grpc::CallbackServerContext call;
  RequestTimes times;
  times.received = absl::FromUnixSeconds(1'700'000'000);
  times.ended = times.received + absl::Milliseconds(19);
  times.written = times.received + absl::Milliseconds(20);
  times.timing.queue = absl::Milliseconds(12);
  times.timing.compute = absl::Milliseconds(5);
  times.timing.batch_size = 7;
  times.subject = "models/m/sessions/a";
  times.items = 3;
  const uint64_t before = Telemetry::Get().Rpc("Step").slow.value();
  for (int i = 0; i < 25; ++i) log.Report("Step", times, call);
  const std::string first = lines_.str();
  EXPECT_EQ(std::count(first.begin(), first.end(), '\n'), 10);
  EXPECT_THAT(first, HasSubstr("Step was slow: 20.000 ms queue_ms=12.000 compute_ms=5.000 reply_ms=1.000 "
                               "other_ms=2.000 batch=7 items=3 subject=models/m/sessions/a\n"));
  lines_.str("");
  times.written += absl::Seconds(1);
  log.Report("Step", times, call);
  EXPECT_THAT(lines_.str(), HasSubstr("left_out=15"));
  EXPECT_EQ(Telemetry::Get().Rpc("Step").slow.value() - before, 26u);
}

}  // namespace
}  // namespace lstmd::server
