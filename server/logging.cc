// SPDX-License-Identifier: Apache-2.0
#include "server/logging.h"

#include <atomic>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "engine/errors.h"
#include "nlohmann/json.hpp"
#include "server/errors.h"
#include "server/library_logs.h"
#include "server/telemetry.h"
#include "server/trace_context.h"
#include "spdlog/sinks/stdout_color_sinks.h"
#include "spdlog/spdlog.h"

namespace lstmd::server {
namespace {

// Of the line that this thread writes. Sinks format in the thread that logs.
thread_local absl::Span<const LogField> line_fields;

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const auto level = spdlog::level::to_string_view(message.level);
    nlohmann::ordered_json json = {
        {"time", absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::FromChrono(message.time), absl::UTCTimeZone())},
        {"level", std::string(level.data(), level.size())},
        {"message", std::string(message.payload.data(), message.payload.size())},
    };
    for (const LogField& field : line_fields) json[std::string(field.name)] = field.value;
    const std::string line = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    out.append(line.data(), line.data() + line.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonFormatter>(); }
};

constexpr char kLevels[] = "trace, debug, info, warn, error or off";
std::atomic<bool> json_lines{false};

std::optional<spdlog::level::level_enum> ParseLevel(const std::string& word) {
  const auto level = spdlog::level::from_str(word);  // off for what it does not know
  if (level == spdlog::level::off && word != "off") return std::nullopt;
  return level;
}

// Of a tenant's quota.
void CountRefusal(const ErrorCause& cause) {
  const std::string tenant(absl::StripPrefix(cause.quota_subject, "tenant:"));
  for (const auto& [key, value] : cause.metadata) {
    if (key == "bound") Telemetry::Get().CountRefusal(tenant, value);
  }
}

bool IsOurs(absl::StatusCode code) {
  return code == absl::StatusCode::kInternal || code == absl::StatusCode::kUnknown ||
         code == absl::StatusCode::kDataLoss;
}

}  // namespace

std::unique_ptr<spdlog::formatter> MakeJsonFormatter() { return std::make_unique<JsonFormatter>(); }

absl::Status SetUpLogging(const std::string& level, const std::string& format) {
  const std::optional<spdlog::level::level_enum> parsed = ParseLevel(level);
  if (!parsed)
    return InvalidArgument("FLAG", absl::StrCat("--log-level: got '", Printable(level), "', want ", kLevels));
  if (format != "text" && format != "json") {
    return InvalidArgument("FLAG", absl::StrCat("--log-format: got '", Printable(format), "', want text or json"));
  }
  auto logger = std::make_shared<spdlog::logger>("lstmd", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  json_lines.store(format == "json", std::memory_order_relaxed);
  if (format == "json") {
    logger->set_formatter(MakeJsonFormatter());
  } else {
    logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %^%-5l%$ %v");
  }
  logger->set_level(*parsed);
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
  CatchLibraryLogs();
  return absl::OkStatus();
}

std::string LogLevel() {
  const auto level = spdlog::level::to_string_view(spdlog::get_level());
  const std::string name(level.data(), level.size());
  return name == "warning" ? "warn" : name;
}

absl::Status SetLogLevel(std::string_view level) {
  const std::optional<spdlog::level::level_enum> parsed = ParseLevel(std::string(level));
  if (!parsed) {
    return InvalidArgument("LOG_LEVEL", absl::StrCat("level: got '", Printable(level), "', want ", kLevels))
        .Field("level");
  }
  spdlog::set_level(*parsed);
  return absl::OkStatus();
}

void LogLine(spdlog::level::level_enum level, std::string_view message, absl::Span<const LogField> fields) {
  if (!spdlog::should_log(level)) return;
  line_fields = fields;
  if (json_lines.load(std::memory_order_relaxed)) {
    spdlog::log(level, "{}", message);
  } else {
    std::string line(message);
    for (const LogField& field : fields) {
      if (!field.in_message) absl::StrAppend(&line, " ", View(field.name), "=", field.value);
    }
    spdlog::log(level, "{}", line);
  }
  line_fields = {};
}

void AddTrace(const grpc::ServerContextBase& call, LogFields* fields) {
  TraceContext trace = TraceOf(call);
  if (trace.empty()) return;
  fields->push_back({"trace_id", std::move(trace.trace_id)});
  fields->push_back({"span_id", std::move(trace.span_id)});
}

void LogFailure(Plane plane, std::string_view rpc, const absl::Status& status, const grpc::ServerContextBase* call) {
  const ErrorCause cause = GetCause(status);
  Telemetry::Get().CountFailure(rpc, status.code(), cause.reason);
  if (cause.reason == "QUOTA") CountRefusal(cause);
  const auto level = IsOurs(status.code())      ? spdlog::level::err
                     : plane == Plane::kControl ? spdlog::level::info
                                                : spdlog::level::debug;
  if (!spdlog::should_log(level)) return;
  const std::string code = absl::StatusCodeToString(status.code());
  const std::string message =
      absl::StrCat(View(rpc), " failed: ", code, " ", cause.reason, cause.field.empty() ? "" : " at ",
                   Printable(cause.field), ": ", Printable({status.message().data(), status.message().size()}, 1024));
  LogFields fields = {{"rpc", std::string(rpc), true}, {"code", code, true}, {"reason", cause.reason, true}};
  if (call != nullptr) AddTrace(*call, &fields);
  LogLine(level, message, fields);
}

}  // namespace lstmd::server
