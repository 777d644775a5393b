// SPDX-License-Identifier: Apache-2.0
//
// Who may call, as the file of --auth-file says: one line for each credential, "#" begins a comment.
//
//   team-a user  sha256:5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5
//   team-a user  sha256:…  expires=2027-01-01T00:00:00Z
//   ops    admin cert:ops.example.com
//
// A token's line holds its SHA-256 and not the token: tokens are 256 random bits (lstmctl token new), so a hash that
// is fast and has no salt cannot be turned back, and a leaked file lets nobody in.
#ifndef LSTMD_SERVER_CREDENTIALS_FILE_H_
#define LSTMD_SERVER_CREDENTIALS_FILE_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace lstmd::server {

enum class Role : uint8_t { kUser, kAdmin };

using Sha256 = std::array<uint8_t, 32>;
Sha256 HashOf(std::string_view token);

struct Credential {
  std::string tenant;  // of the form of a model's name
  Role role = Role::kUser;
  // One of the two.
  Sha256 token = {};
  std::string certificate;  // a name of the client's certificate: common name or subject alternative name
  absl::Time expires = absl::InfiniteFuture();

  bool operator==(const Credential& other) const;
};

// INVALID_ARGUMENT / AUTH_FILE names the line, and nothing of what stands in it.
absl::StatusOr<std::vector<Credential>> ParseCredentials(std::string_view text);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_CREDENTIALS_FILE_H_
