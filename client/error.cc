// SPDX-License-Identifier: Apache-2.0
#include "client/error.h"

#include <string_view>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"

namespace lstmd::client {
namespace {

constexpr char kTypePrefix[] = "type.googleapis.com/";

absl::Status Make(int code, const std::string& message, const google::rpc::Status& details) {
  // Codes of absl are gRPC's; one that is out of range must not become OK.
  const bool known = code >= 1 && code <= 16;
  absl::Status status(known ? static_cast<absl::StatusCode>(code) : absl::StatusCode::kUnknown, message);
  for (const google::protobuf::Any& detail : details.details()) {
    status.SetPayload(detail.type_url(), absl::Cord(detail.value()));
  }
  return status;
}

template <typename Message>
bool Find(const absl::Status& status, Message* message) {
  const absl::optional<absl::Cord> payload =
      status.GetPayload(absl::StrCat(kTypePrefix, Message::descriptor()->full_name()));
  return payload.has_value() && message->ParseFromString(std::string(*payload));
}

}  // namespace

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) details.Clear();
  return Make(status.error_code(), status.error_message(), details);
}

absl::Status FromProto(const google::rpc::Status& status) {
  return status.code() == 0 ? absl::OkStatus() : Make(status.code(), status.message(), status);
}

ErrorDetails GetDetails(const absl::Status& status) {
  ErrorDetails details;
  if (google::rpc::ErrorInfo info; Find(status, &info)) {
    details.reason = info.reason();
    details.metadata.insert(info.metadata().begin(), info.metadata().end());
  }
  if (google::rpc::BadRequest bad; Find(status, &bad)) {
    for (const auto& violation : bad.field_violations()) {
      details.fields.emplace_back(violation.field(), violation.description());
    }
  }
  if (google::rpc::RetryInfo retry; Find(status, &retry)) {
    details.retry_after = absl::Seconds(retry.retry_delay().seconds()) + absl::Nanoseconds(retry.retry_delay().nanos());
  }
  if (google::rpc::ResourceInfo resource; Find(status, &resource)) details.resource = resource.resource_name();
  if (google::rpc::QuotaFailure quota; Find(status, &quota) && quota.violations_size() > 0) {
    details.quota = quota.violations(0).subject();
  }
  return details;
}

std::string Describe(const absl::Status& status) {
  if (status.ok()) return "OK";
  const ErrorDetails details = GetDetails(status);
  std::string text(status.message());
  absl::StrAppend(&text, text.empty() ? "(" : " (", absl::StatusCodeToString(status.code()));
  if (!details.reason.empty()) absl::StrAppend(&text, " / ", details.reason);
  for (const auto& [field, description] : details.fields) {
    if (!field.empty()) absl::StrAppend(&text, "; field ", field);
    // The description often is the message again.
    if (!description.empty() && description != std::string_view(status.message().data(), status.message().size())) {
      absl::StrAppend(&text, ": ", description);
    }
  }
  for (const auto& [key, value] : details.metadata) {
    // Most of it is in the message already.
    if (!absl::StrContains(status.message(), value)) absl::StrAppend(&text, "; ", key, " ", value);
  }
  if (!details.quota.empty()) absl::StrAppend(&text, "; quota ", details.quota);
  if (details.retry_after) absl::StrAppend(&text, "; try again after ", absl::FormatDuration(*details.retry_after));
  return absl::StrCat(text, ")");
}

}  // namespace lstmd::client
