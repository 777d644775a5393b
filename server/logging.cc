// SPDX-License-Identifier: Apache-2.0
#include "server/logging.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "engine/errors.h"
#include "grpc/support/log.h"
#include "nlohmann/json.hpp"
#include "server/errors.h"
#include "spdlog/sinks/stdout_color_sinks.h"
#include "spdlog/spdlog.h"

namespace lstmd::server {
namespace {

class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const auto level = spdlog::level::to_string_view(message.level);
    const nlohmann::ordered_json json = {
        {"time", absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::FromChrono(message.time), absl::UTCTimeZone())},
        {"level", std::string(level.data(), level.size())},
        {"message", std::string(message.payload.data(), message.payload.size())},
    };
    const std::string line = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    out.append(line.data(), line.data() + line.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonFormatter>(); }
};

void LogFromGrpc(gpr_log_func_args* args) {
  // gRPC calls error what is a client's doing, such as a connection that breaks.
  const auto level = args->severity == GPR_LOG_SEVERITY_ERROR  ? spdlog::level::warn
                     : args->severity == GPR_LOG_SEVERITY_INFO ? spdlog::level::debug
                                                               : spdlog::level::trace;
  spdlog::log(level, "grpc: {}", args->message);
}

bool IsOurs(absl::StatusCode code) {
  return code == absl::StatusCode::kInternal || code == absl::StatusCode::kUnknown ||
         code == absl::StatusCode::kDataLoss;
}

}  // namespace

std::unique_ptr<spdlog::formatter> MakeJsonFormatter() { return std::make_unique<JsonFormatter>(); }

absl::Status SetUpLogging(const std::string& level, const std::string& format) {
  const auto parsed = spdlog::level::from_str(level);
  if (parsed == spdlog::level::off && level != "off") {
    return InvalidArgument(
        "FLAG", absl::StrCat("--log-level: got '", Printable(level), "', want trace, debug, info, warn, error or off"));
  }
  if (format != "text" && format != "json") {
    return InvalidArgument("FLAG", absl::StrCat("--log-format: got '", Printable(format), "', want text or json"));
  }
  auto logger = std::make_shared<spdlog::logger>("lstmd", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  if (format == "json") {
    logger->set_formatter(MakeJsonFormatter());
  } else {
    logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %^%-5l%$ %v");
  }
  logger->set_level(parsed);
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
  gpr_set_log_function(LogFromGrpc);
  return absl::OkStatus();
}

void LogFailure(Plane plane, std::string_view rpc, const absl::Status& status) {
  const auto level = IsOurs(status.code())      ? spdlog::level::err
                     : plane == Plane::kControl ? spdlog::level::info
                                                : spdlog::level::debug;
  if (!spdlog::should_log(level)) return;
  const ErrorCause cause = GetCause(status);
  spdlog::log(level, "{} failed: {} {}{}{}: {}", rpc, absl::StatusCodeToString(status.code()), cause.reason,
              cause.field.empty() ? "" : " at ", Printable(cause.field),
              Printable({status.message().data(), status.message().size()}, 1024));
}

}  // namespace lstmd::server
