// SPDX-License-Identifier: Apache-2.0
//
// What a server says of calls in its log: failures and slow requests, with their trace; and its level.
#include <regex>
#include <sstream>

#include "gmock/gmock.h"
#include "lstmd/v1/admin_service.grpc.pb.h"
#include "server/logging.h"
#include "spdlog/sinks/ostream_sink.h"
#include "spdlog/spdlog.h"
#include "tests/integration/raw_call.h"
#include "tests/integration/stream_client.h"

namespace lstmd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

using LogLinesTest = ServerTest;

TEST_F(LogLinesTest, TheLogLevelIsChangedByARpc) {
  StartFake();
  const auto admin = v1::AdminService::NewStub(NewChannel());
  const auto set = [&](const std::string& level, v1::LogLevel* answer) {
    v1::SetLogLevelRequest request;
    request.set_level(level);
    return admin->SetLogLevel(Context().get(), request, answer);
  };
  v1::LogLevel answer;
  EXPECT_TRUE(set("error", &answer).ok());
  EXPECT_EQ(answer.level(), "error");
  const WireError error = Decode(set("loud", &answer));
  EXPECT_EQ(Shown(error), "INVALID_ARGUMENT / LOG_LEVEL at level");
  EXPECT_TRUE(admin->GetLogLevel(Context().get(), v1::GetLogLevelRequest(), &answer).ok());
  EXPECT_EQ(answer.level(), "error");
  EXPECT_TRUE(set("warn", &answer).ok());
}

// Lines of this process's log, while it lives.
class Lines {
 public:
  Lines() {
    auto logger = std::make_shared<spdlog::logger>("lines", std::make_shared<spdlog::sinks::ostream_sink_mt>(text_));
    logger->set_pattern("%v");
    logger->set_level(spdlog::level::debug);
    spdlog::set_default_logger(logger);
  }
  ~Lines() { EXPECT_TRUE(server::SetUpLogging("warn", "text").ok()); }
  std::string text() const { return text_.str(); }

 private:
  std::ostringstream text_;
};

constexpr char kTraceparent[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
constexpr char kTraceFields[] = "trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7";

TEST_F(LogLinesTest, WhatClientsMakeLibrariesSayIsLimited) {
  StartFake();
  ASSERT_TRUE(server::SetUpLogging("warn", "text").ok());
  const Lines lines;
  const std::shared_ptr<grpc::Channel> channel = NewChannel();
  for (int i = 0; i < 200; ++i) {
    RawCall call(channel, "/lstmd.v1.SessionService/GetSession");
    call.Write("\x0a\x02\xff\xfe", true);  // a name that is not UTF-8
    EXPECT_FALSE(call.Read().has_value());
  }
  server_.reset();  // no thread logs any more
  const std::string text = lines.text();
  int said = 0;
  for (size_t at = text.find("protobuf: "); at != text.npos; at = text.find("protobuf: ", at + 1)) ++said;
  EXPECT_GE(said, 1);
  EXPECT_LE(said, 40);  // ten in ten seconds, on a machine that is slow
  EXPECT_THAT(text, HasSubstr("invalid UTF-8"));
}

TEST_F(LogLinesTest, FailuresNameTheTrace) {
  StartFake();
  const Lines lines;
  const auto context = Context();
  context->AddMetadata("traceparent", kTraceparent);
  v1::StepRequest request;
  *request.add_items() = Item(SessionName("m", "none"), MakeTensor({3}, {1, 2, 3}));
  v1::StepResponse response;
  EXPECT_FALSE(inference_->Step(context.get(), request, &response).ok());
  const auto control = Context();
  control->AddMetadata("traceparent", kTraceparent);
  v1::GetSessionRequest get;
  get.set_name(SessionName("m", "none"));
  v1::Session session;
  EXPECT_FALSE(sessions_->GetSession(control.get(), get, &session).ok());
  server_.reset();  // no thread logs any more
  EXPECT_THAT(lines.text(), AllOf(HasSubstr("Step failed: NOT_FOUND SESSION_NOT_FOUND"),
                                  HasSubstr("GetSession failed: NOT_FOUND SESSION_NOT_FOUND")));
  std::istringstream all(lines.text());
  int named = 0;
  for (std::string line; std::getline(all, line);) {
    if (line.find("SESSION_NOT_FOUND") == line.npos) continue;
    EXPECT_THAT(line, HasSubstr(kTraceFields));
    ++named;
  }
  EXPECT_EQ(named, 2);
}

TEST_F(LogLinesTest, SlowRequestsAreLoggedWithTheTimeOfEachPart) {
  options_.slow_request = absl::Nanoseconds(1);  // all of them
  StartFake();
  const Lines lines;
  Create("m", "a");
  const auto context = Context();
  context->AddMetadata("traceparent", kTraceparent);
  v1::StepRequest request;
  *request.add_items() = Item(SessionName("m", "a"), MakeTensor({3}, {1, 2, 3}));
  v1::StepResponse response;
  EXPECT_TRUE(inference_->Step(context.get(), request, &response).ok());
  grpc::ClientContext streaming;
  streaming.AddMetadata("traceparent", kTraceparent);
  {
    std::unique_ptr<Stream> stream = OpenStream(&streaming);
    ASSERT_TRUE(stream->Write(BindFrame({SessionName("m", "a")})));
    ASSERT_TRUE(stream->Write(StepFrame(1, {0}, MakeTensor({1, 3}, {1, 2, 3}))));
    v1::StreamStepsResponse frame;
    while (frame.results_size() == 0) ASSERT_TRUE(stream->Read(&frame));
    stream->WritesDone();
    while (stream->Read(&frame)) {
    }
    EXPECT_TRUE(stream->Finish().ok());
  }
  server_.reset();
  const std::string text = lines.text();
  for (const char* const rpc : {"Step", "StreamSteps"}) {
    const std::regex line(std::string(rpc) +
                          R"( was slow: [\d.]+ ms queue_ms=[\d.]+ compute_ms=[\d.]+ reply_ms=[\d.]+ other_ms=[\d.]+ )"
                          R"(batch=1 items=1 subject=models/m/sessions/a )" +
                          kTraceFields);
    EXPECT_TRUE(std::regex_search(text, line)) << text;
  }
}

}  // namespace
}  // namespace lstmd
