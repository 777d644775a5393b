// SPDX-License-Identifier: Apache-2.0
#include "server/errors.h"

#include "engine/errors.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "nlohmann/json.hpp"
#include "server/logging.h"
#include "spdlog/sinks/ostream_sink.h"
#include "spdlog/spdlog.h"

namespace lstmd::server {
namespace {

google::rpc::Status Details(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  return details;
}

template <typename Message>
Message Find(const google::rpc::Status& status) {
  Message message;
  int found = 0;
  for (const auto& any : status.details()) found += any.UnpackTo(&message) ? 1 : 0;
  EXPECT_EQ(found, 1) << message.GetTypeName();
  return message;
}

TEST(ErrorsTest, OkStaysOk) { EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok()); }

TEST(ErrorsTest, EveryPartOfACauseArrives) {
  const absl::Status status = ResourceExhausted("QUEUE_FULL", "'models/m' has 9 steps waiting")
                                  .Field("items[1].session")
                                  .With("limit", "9")
                                  .RetryAfter(absl::Milliseconds(1500))
                                  .Resource("models/m/sessions/a")
                                  .Quota("models/m");
  const grpc::Status wire = ToGrpcStatus(status);
  EXPECT_EQ(wire.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(wire.error_message(), "'models/m' has 9 steps waiting");
  const google::rpc::Status details = Details(wire);
  EXPECT_EQ(details.code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  const auto info = Find<google::rpc::ErrorInfo>(details);
  EXPECT_EQ(info.reason(), "QUEUE_FULL");
  EXPECT_EQ(info.domain(), "lstmd");
  EXPECT_EQ(info.metadata().at("limit"), "9");
  EXPECT_EQ(Find<google::rpc::BadRequest>(details).field_violations(0).field(), "items[1].session");
  const auto retry = Find<google::rpc::RetryInfo>(details);
  EXPECT_EQ(retry.retry_delay().seconds(), 1);
  EXPECT_EQ(retry.retry_delay().nanos(), 500'000'000);
  const auto resource = Find<google::rpc::ResourceInfo>(details);
  EXPECT_EQ(resource.resource_type(), "session");
  EXPECT_EQ(resource.resource_name(), "models/m/sessions/a");
  EXPECT_EQ(Find<google::rpc::QuotaFailure>(details).violations(0).subject(), "models/m");
}

TEST(ErrorsTest, AForeignStatusHasAReasonToo) {
  const grpc::Status wire = ToGrpcStatus(absl::DataLossError("gone"));
  EXPECT_EQ(wire.error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(Find<google::rpc::ErrorInfo>(Details(wire)).reason(), "UNKNOWN");
}

TEST(ErrorsTest, WhateverANameHoldsTheStatusIsSmallAndValid) {
  const std::string hostile = std::string(100'000, '\xff') + "\n\0\x1b[31m";
  const grpc::Status wire =
      ToGrpcStatus(InvalidArgument("RESOURCE_NAME", hostile).With(hostile, hostile).Resource(hostile).Field(hostile));
  EXPECT_LT(wire.error_message().size(), 1100u);
  EXPECT_LT(wire.error_details().size(), 6000u) << "trailers of 8 KiB must hold it";
  // proto3 strings must be UTF-8 or the message cannot be read.
  EXPECT_EQ(Find<google::rpc::ErrorInfo>(Details(wire)).reason(), "RESOURCE_NAME");
}

TEST(PrintableTest, IsOneShortValidLine) {
  EXPECT_EQ(Printable("plain"), "plain");
  EXPECT_EQ(Printable("h\xc3\xa9llo"), "h\xc3\xa9llo");
  EXPECT_EQ(Printable("a\nb\tc\x7f"), "a?b?c?");
  EXPECT_EQ(Printable("a\xff"), "a\xef\xbf\xbd");
  EXPECT_EQ(Printable("abcdef", 3), "abc…");
  EXPECT_EQ(Printable("ab\xc3\xa9", 3), "ab…") << "no character is cut in two";
  EXPECT_EQ(Printable(std::string("a\0b", 3)), "a?b");
}

TEST(LoggingTest, JsonLinesAreJsonWhateverTheySay) {
  std::ostringstream text;
  auto sink = std::make_shared<spdlog::sinks::ostream_sink_st>(text);
  spdlog::logger logger("test", sink);
  logger.set_formatter(MakeJsonFormatter());
  const std::string messages[] = {"plain", "quote \" backslash \\ newline \n", "bytes \xff\xfe",
                                  std::string("nul \0", 5)};
  for (const std::string& message : messages) logger.info(message);
  std::istringstream lines(text.str());
  size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    ASSERT_TRUE(json.is_object()) << line;
    EXPECT_EQ(json["level"], "info");
    EXPECT_FALSE(json["message"].get<std::string>().empty());
  }
  EXPECT_EQ(count, std::size(messages));
}

TEST(LoggingTest, UnknownWordsAreErrors) {
  EXPECT_EQ(GetCause(SetUpLogging("loud", "text")).reason, "FLAG");
  EXPECT_EQ(GetCause(SetUpLogging("info", "xml")).reason, "FLAG");
  EXPECT_TRUE(SetUpLogging("warn", "json").ok());
  EXPECT_TRUE(SetUpLogging("warn", "text").ok());
}

}  // namespace
}  // namespace lstmd::server
