// SPDX-License-Identifier: Apache-2.0
#include "server/errors.h"

#include "absl/time/time.h"
#include "engine/errors.h"
#include "google/rpc/error_details.pb.h"
#include "grpcpp/support/error_details.h"
#include "nlohmann/json.hpp"

namespace lstmd::server {
namespace {

// Trailers are bounded to 8 KiB by common clients, so every part of a status is.
constexpr size_t kMessageLimit = 1024;

bool IsAscii(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  }
  return true;
}

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

}  // namespace

std::string Printable(std::string_view text, size_t limit) {
  std::string result(text.substr(0, limit + 4));
  if (!IsAscii(result)) {
    // The JSON writer is the UTF-8 repairer at hand.
    const std::string json = nlohmann::json(result).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    result = nlohmann::json::parse(json, nullptr, false).get<std::string>();
  }
  for (char& c : result) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  if (text.size() <= limit && result.size() <= limit) return result;
  size_t end = std::min(limit, result.size());
  while (end > 0 && end < result.size() && IsContinuation(result[end])) --end;
  return result.substr(0, end) + "…";
}

void SetRpcStatus(const absl::Status& status, google::rpc::Status* out) {
  const ErrorCause cause = GetCause(status);
  const std::string message = Printable({status.message().data(), status.message().size()}, kMessageLimit);
  out->set_code(static_cast<int>(status.code()));
  out->set_message(message);

  google::rpc::ErrorInfo info;
  info.set_reason(cause.reason);
  info.set_domain("lstmd");
  for (const auto& [key, value] : cause.metadata) (*info.mutable_metadata())[Printable(key)] = Printable(value);
  out->add_details()->PackFrom(info);

  if (!cause.field.empty()) {
    google::rpc::BadRequest bad_request;
    auto* violation = bad_request.add_field_violations();
    violation->set_field(Printable(cause.field));
    violation->set_description(message);
    out->add_details()->PackFrom(bad_request);
  }
  if (cause.retry_after) {
    google::rpc::RetryInfo retry;
    const absl::Duration delay = *cause.retry_after;
    const int64_t seconds = absl::ToInt64Seconds(delay);
    retry.mutable_retry_delay()->set_seconds(seconds);
    retry.mutable_retry_delay()->set_nanos(
        static_cast<int32_t>(absl::ToInt64Nanoseconds(delay - absl::Seconds(seconds))));
    out->add_details()->PackFrom(retry);
  }
  if (!cause.resource.empty()) {
    google::rpc::ResourceInfo resource;
    resource.set_resource_type(cause.resource.find("/sessions/") != std::string::npos ? "session" : "model");
    resource.set_resource_name(Printable(cause.resource));
    out->add_details()->PackFrom(resource);
  }
  if (!cause.quota_subject.empty()) {
    google::rpc::QuotaFailure quota;
    auto* violation = quota.add_violations();
    violation->set_subject(Printable(cause.quota_subject));
    violation->set_description(message);
    out->add_details()->PackFrom(quota);
  }
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  google::rpc::Status details;
  SetRpcStatus(status, &details);
  return grpc::Status(static_cast<grpc::StatusCode>(details.code()), details.message(), details.SerializeAsString());
}

}  // namespace lstmd::server
