// SPDX-License-Identifier: Apache-2.0
#include "engine/page_token.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/errors.h"

namespace lstmd {
namespace {

constexpr int kDefaultPageSize = 100;
constexpr int kMaxPageSize = 1000;
constexpr size_t kCheckSize = 8;

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

// FNV-1a; the same in every run and on every machine, so that a token outlives a restart.
uint64_t Check(std::string_view list, std::string_view key) {
  uint64_t hash = 14695981039346656037u;
  const auto add = [&hash](unsigned char byte) { hash = (hash ^ byte) * 1099511628211u; };
  for (const char c : list) add(static_cast<unsigned char>(c));
  add(0);
  for (const char c : key) add(static_cast<unsigned char>(c));
  return hash;
}

}  // namespace

std::string EncodePageToken(std::string_view list, std::string_view key) {
  std::string plain(key);
  const uint64_t check = Check(list, key);
  for (size_t i = 0; i < kCheckSize; ++i) plain.push_back(static_cast<char>(check >> (8 * i)));
  return absl::WebSafeBase64Escape(plain);
}

absl::StatusOr<std::string> DecodePageToken(std::string_view list, std::string_view token) {
  std::string plain;
  if (absl::WebSafeBase64Unescape(View(token), &plain) && plain.size() >= kCheckSize) {
    std::string key = plain.substr(0, plain.size() - kCheckSize);
    if (EncodePageToken(list, key) == token) return key;
  }
  return InvalidArgument("PAGE_TOKEN", "page_token: not a token that an earlier page of this list ended with")
      .Field("page_token");
}

absl::StatusOr<int> PageSize(int requested) {
  if (requested < 0) {
    return InvalidArgument("PAGE_SIZE", absl::StrCat("page_size: got ", requested, ", want 0 or more"))
        .Field("page_size");
  }
  return requested == 0 ? kDefaultPageSize : std::min(requested, kMaxPageSize);
}

}  // namespace lstmd
