// SPDX-License-Identifier: Apache-2.0
//
// The cause travels as one payload of the status, as JSON text: plain to read in a debugger, and free of protobuf.
#include "engine/errors.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace lstmd {
namespace {

constexpr char kPayload[] = "lstmd/cause";

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

std::string Encode(const ErrorCause& cause) {
  nlohmann::json json = {{"reason", cause.reason}};
  if (!cause.field.empty()) json["field"] = cause.field;
  for (const auto& [key, value] : cause.metadata) json["metadata"].push_back({key, value});
  if (cause.retry_after) json["retry_after_ns"] = absl::ToInt64Nanoseconds(*cause.retry_after);
  if (!cause.resource.empty()) json["resource"] = cause.resource;
  if (!cause.quota_subject.empty()) json["quota_subject"] = cause.quota_subject;
  // Names in messages may hold any bytes: replace what is no UTF-8 rather than throw.
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

ErrorCause Decode(const std::string& text) {
  ErrorCause cause;
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return {"UNKNOWN", "", {}, std::nullopt, "", ""};
  cause.reason = json.value("reason", "UNKNOWN");
  cause.field = json.value("field", "");
  if (json.contains("metadata")) {
    for (const auto& entry : json["metadata"]) cause.metadata.emplace_back(entry[0], entry[1]);
  }
  if (json.contains("retry_after_ns")) {
    cause.retry_after = absl::Nanoseconds(json["retry_after_ns"].get<int64_t>());
  }
  cause.resource = json.value("resource", "");
  cause.quota_subject = json.value("quota_subject", "");
  return cause;
}

absl::Status Attach(absl::Status status, const ErrorCause& cause) {
  status.SetPayload(kPayload, absl::Cord(Encode(cause)));
  return status;
}

}  // namespace

Error::Error(absl::StatusCode code, std::string_view reason, std::string_view message)
    : code_(code), message_(message) {
  cause_.reason = reason;
}

Error& Error::Field(std::string_view path) {
  cause_.field = path;
  return *this;
}

Error& Error::With(std::string_view key, std::string_view value) {
  cause_.metadata.emplace_back(key, value);
  return *this;
}

Error& Error::RetryAfter(absl::Duration delay) {
  cause_.retry_after = delay;
  return *this;
}

Error& Error::Resource(std::string_view name) {
  cause_.resource = name;
  return *this;
}

Error& Error::Quota(std::string_view subject) {
  cause_.quota_subject = subject;
  return *this;
}

Error::operator absl::Status() const { return Attach(absl::Status(code_, message_), cause_); }

Error InvalidArgument(std::string_view reason, std::string_view message) {
  return {absl::StatusCode::kInvalidArgument, reason, message};
}
Error NotFound(std::string_view reason, std::string_view message) {
  return {absl::StatusCode::kNotFound, reason, message};
}
Error AlreadyExists(std::string_view reason, std::string_view message) {
  return {absl::StatusCode::kAlreadyExists, reason, message};
}
Error FailedPrecondition(std::string_view reason, std::string_view message) {
  return {absl::StatusCode::kFailedPrecondition, reason, message};
}
Error ResourceExhausted(std::string_view reason, std::string_view message) {
  return {absl::StatusCode::kResourceExhausted, reason, message};
}
Error Unavailable(std::string_view reason, std::string_view message) {
  return {absl::StatusCode::kUnavailable, reason, message};
}
Error Unimplemented(std::string_view reason, std::string_view message) {
  return {absl::StatusCode::kUnimplemented, reason, message};
}
Error Internal(std::string_view reason, std::string_view message) {
  return {absl::StatusCode::kInternal, reason, message};
}

ErrorCause GetCause(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayload);
  if (!payload) return {"UNKNOWN", "", {}, std::nullopt, "", ""};
  return Decode(std::string(*payload));
}

absl::Status PrefixField(const absl::Status& status, std::string_view prefix) {
  if (status.ok()) return status;
  ErrorCause cause = GetCause(status);
  cause.field = absl::StrCat(View(prefix), View(cause.field));
  return Attach(status, cause);
}

absl::Status PrefixMessage(const absl::Status& status, std::string_view prefix) {
  if (status.ok()) return status;
  return Attach(absl::Status(status.code(), absl::StrCat(View(prefix), status.message())), GetCause(status));
}

}  // namespace lstmd
