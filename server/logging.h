// SPDX-License-Identifier: Apache-2.0
//
// Logs go to stderr through spdlog's default logger: text for people, or one JSON object per line for machines.
#ifndef LSTMD_SERVER_LOGGING_H_
#define LSTMD_SERVER_LOGGING_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "grpcpp/server_context.h"
#include "spdlog/common.h"
#include "spdlog/formatter.h"

namespace lstmd::server {

// Sets up the default logger and sends gRPC's own log through it. level: trace, debug, info, warn, error, off; format:
// text, json. INVALID_ARGUMENT / FLAG for other words.
absl::Status SetUpLogging(const std::string& level, const std::string& format);

// {"time": …, "level": …, "message": …} and the fields of LogLine: valid JSON whatever bytes the message has.
std::unique_ptr<spdlog::formatter> MakeJsonFormatter();

// A fact for machines: in text behind the message as name=value, unless the message says it already; in JSON a member
// of its own.
struct LogField {
  std::string_view name;
  std::string value;
  bool in_message = false;
};
using LogFields = std::vector<LogField>;
// trace_id and span_id, of a call that has them.
void AddTrace(const grpc::ServerContextBase& call, LogFields* fields);
void LogLine(spdlog::level::level_enum level, std::string_view message, absl::Span<const LogField> fields);

// "debug" …, as --log-level and SetLogLevel have it.
std::string LogLevel();
// From now on, for the whole process. INVALID_ARGUMENT / LOG_LEVEL for another word than SetUpLogging takes.
absl::Status SetLogLevel(std::string_view level);

// Counts a failed call, or item of a call, in Telemetry, and says so in one line: at debug for the data plane's
// expected failures (a client in error could flood the log), at info for the control plane's, at error for the server's
// own. With `call`, whose trace is then named; it is only looked at where there is a line.
enum class Plane { kData, kControl };
void LogFailure(Plane plane, std::string_view rpc, const absl::Status& status,
                const grpc::ServerContextBase* call = nullptr);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_LOGGING_H_
