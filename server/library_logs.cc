// SPDX-License-Identifier: Apache-2.0
#include "server/library_logs.h"

#include <string>
#include <string_view>

#include "absl/time/clock.h"
#include "google/protobuf/stubs/logging.h"
#include "grpc/support/log.h"
#include "server/errors.h"
#include "spdlog/spdlog.h"

namespace lstmd::server {
namespace {

constexpr uint64_t kLines = 10;
constexpr absl::Duration kInterval = absl::Seconds(10);

void Write(LineLimiter& limiter, spdlog::level::level_enum level, const char* library, std::string_view message) {
  if (!spdlog::should_log(level)) return;
  uint64_t left_out = 0;
  if (level >= spdlog::level::warn) {
    const std::optional<uint64_t> passed = limiter.Pass(absl::Now());
    if (!passed) return;
    left_out = *passed;
  }
  const std::string line = Printable(message, 1024);
  if (left_out == 0) {
    spdlog::log(level, "{}: {}", library, line);
  } else {
    spdlog::log(level, "{}: {} ({} lines before were left out)", library, line, left_out);
  }
}

void LogFromGrpc(gpr_log_func_args* args) {
  static auto* const limiter = new LineLimiter(kLines, kInterval);
  // gRPC calls error what is a client's doing, such as a connection that breaks.
  const auto level = args->severity == GPR_LOG_SEVERITY_ERROR  ? spdlog::level::warn
                     : args->severity == GPR_LOG_SEVERITY_INFO ? spdlog::level::debug
                                                               : spdlog::level::trace;
  Write(*limiter, level, "grpc", args->message);
}

void LogFromProtobuf(google::protobuf::LogLevel level, const char* /*file*/, int /*line*/, const std::string& message) {
  static auto* const limiter = new LineLimiter(kLines, kInterval);
  // What it calls an error is a message of a client's, such as one with text that is not UTF-8.
  Write(*limiter, level >= google::protobuf::LOGLEVEL_WARNING ? spdlog::level::warn : spdlog::level::debug, "protobuf",
        message);
}

}  // namespace

std::optional<uint64_t> LineLimiter::Pass(absl::Time now) {
  MutexLock lock(&mutex_);
  if (now - begin_ >= interval_) {
    begin_ = now;
    passed_ = 0;
  }
  if (passed_ == most_) {
    ++left_out_;
    return std::nullopt;
  }
  ++passed_;
  const uint64_t left_out = left_out_;
  left_out_ = 0;
  return left_out;
}

void CatchLibraryLogs() {
  gpr_set_log_function(LogFromGrpc);
  google::protobuf::SetLogHandler(LogFromProtobuf);
}

}  // namespace lstmd::server
