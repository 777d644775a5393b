// SPDX-License-Identifier: Apache-2.0
#include "server/trace_context.h"

#include <algorithm>

namespace lstmd::server {
namespace {

// version "-" trace-id "-" parent-id "-" trace-flags, of 2, 32, 16 and 2 hexadecimal digits.
constexpr size_t kTraceId = 3;
constexpr size_t kSpanId = 36;
constexpr size_t kFlags = 53;
constexpr size_t kLength = 55;

// The standard knows lower case only.
bool IsHex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsZero(std::string_view text) { return text.find_first_not_of('0') == text.npos; }

}  // namespace

TraceContext ParseTraceparent(std::string_view value) {
  if (value.size() < kLength || value[2] != '-' || value[kSpanId - 1] != '-' || value[kFlags - 1] != '-') return {};
  const std::string_view version = value.substr(0, 2);
  const std::string_view trace = value.substr(kTraceId, 32);
  const std::string_view span = value.substr(kSpanId, 16);
  if (!IsHex(version) || !IsHex(trace) || !IsHex(span) || !IsHex(value.substr(kFlags, 2))) return {};
  if (version == "ff" || IsZero(trace) || IsZero(span)) return {};
  // Later versions may say more, after another dash.
  if (value.size() > kLength && (version == "00" || value[kLength] != '-')) return {};
  return {std::string(trace), std::string(span)};
}

TraceContext TraceOf(const grpc::ServerContextBase& call) {
  const auto found = call.client_metadata().find("traceparent");
  if (found == call.client_metadata().end()) return {};
  return ParseTraceparent({found->second.data(), found->second.size()});
}

}  // namespace lstmd::server
