// SPDX-License-Identifier: Apache-2.0
#include "server/credentials_file.h"

#include <tuple>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "engine/engine.h"
#include "engine/errors.h"
#include "openssl/sha.h"

namespace lstmd::server {
namespace {

absl::Status Wrong(size_t line, absl::string_view what) {
  return InvalidArgument("AUTH_FILE", absl::StrCat("line ", line, ": ", what));
}

bool ReadHash(absl::string_view hex, Sha256* hash) {
  if (hex.size() != 2 * hash->size()) return false;
  for (const char c : hex) {
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(c))) return false;
  }
  const std::string bytes = absl::HexStringToBytes(hex);
  std::copy(bytes.begin(), bytes.end(), hash->begin());
  return true;
}

bool ReadTime(absl::string_view text, absl::Time* time) {
  std::string error;
  return absl::ParseTime(absl::RFC3339_full, text, time, &error) || absl::ParseTime("%Y-%m-%d", text, time, &error);
}

absl::StatusOr<Credential> ReadLine(size_t line, absl::string_view text) {
  const std::vector<absl::string_view> words = absl::StrSplit(text, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
  Credential credential;
  if (words.size() < 3 || words.size() > 4) {
    return Wrong(line, "want TENANT ROLE CREDENTIAL, and expires=TIME if it ends");
  }
  credential.tenant = std::string(words[0]);
  if (!IsValidModelName(credential.tenant)) {
    return Wrong(line, "the tenant: want 1 to 63 of A-Z a-z 0-9 . _ -, first a letter or digit");
  }
  if (words[1] != "user" && words[1] != "admin") return Wrong(line, "the role: want user or admin");
  credential.role = words[1] == "admin" ? Role::kAdmin : Role::kUser;
  absl::string_view value = words[2];
  if (absl::ConsumePrefix(&value, "sha256:")) {
    if (!ReadHash(value, &credential.token)) return Wrong(line, "the token: want sha256: and 64 hexadecimal digits");
  } else if (absl::ConsumePrefix(&value, "cert:") && !value.empty()) {
    credential.certificate = std::string(value);
  } else {
    return Wrong(line, "the credential: want sha256:HASH or cert:NAME");
  }
  if (words.size() == 4) {
    absl::string_view time = words[3];
    if (!absl::ConsumePrefix(&time, "expires=") || !ReadTime(time, &credential.expires)) {
      return Wrong(line, "want expires=2027-01-01 or expires=2027-01-01T12:00:00Z");
    }
  }
  return credential;
}

}  // namespace

Sha256 HashOf(std::string_view token) {
  Sha256 hash;
  SHA256(reinterpret_cast<const uint8_t*>(token.data()), token.size(), hash.data());
  return hash;
}

bool Credential::operator==(const Credential& other) const {
  return std::tie(tenant, role, token, certificate, expires) ==
         std::tie(other.tenant, other.role, other.token, other.certificate, other.expires);
}

absl::StatusOr<std::vector<Credential>> ParseCredentials(std::string_view text) {
  std::vector<Credential> credentials;
  size_t number = 0;
  for (absl::string_view line : absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    absl::StatusOr<Credential> credential = ReadLine(number, line);
    if (!credential.ok()) return credential.status();
    for (const Credential& other : credentials) {
      if (other.token == credential->token && other.certificate == credential->certificate) {
        return Wrong(number, "the credential stands twice");
      }
    }
    credentials.push_back(*std::move(credential));
  }
  return credentials;
}

}  // namespace lstmd::server
