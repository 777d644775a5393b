// SPDX-License-Identifier: Apache-2.0
//
// Logs go to stderr through spdlog's default logger: text for people, or one JSON object per line for machines.
#ifndef LSTMD_SERVER_LOGGING_H_
#define LSTMD_SERVER_LOGGING_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "spdlog/formatter.h"

namespace lstmd::server {

// Sets up the default logger and sends gRPC's own log through it. level: trace, debug, info, warn, error, off; format:
// text, json. INVALID_ARGUMENT / FLAG for other words.
absl::Status SetUpLogging(const std::string& level, const std::string& format);

// {"time": …, "level": …, "message": …}: valid JSON whatever bytes the message has.
std::unique_ptr<spdlog::formatter> MakeJsonFormatter();

// One line for a failed call: at debug for the data plane's expected failures (a client in error could flood the log),
// at info for the control plane's, at error for the server's own.
enum class Plane { kData, kControl };
void LogFailure(Plane plane, std::string_view rpc, const absl::Status& status);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_LOGGING_H_
