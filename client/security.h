// SPDX-License-Identifier: Apache-2.0
//
// How a client proves who it is, from files: certificates for TLS, a token for the server's --auth-file.
#ifndef LSTMD_CLIENT_SECURITY_H_
#define LSTMD_CLIENT_SECURITY_H_

#include <string>

#include "absl/status/status.h"
#include "client/client.h"

namespace lstmd::client {

struct SecurityFiles {
  // PEM: the authority that the server's certificate must come from. With it the connection is TLS.
  std::string tls_ca;
  // PEM: the client's own certificate and its key, where the server asks for one. Both or none.
  std::string tls_cert;
  std::string tls_key;
  // Its first line is the token.
  std::string token;
};

// Sets the credentials and metadata of `options` for a connection to `address`. NOT_FOUND: a file cannot be read.
// INVALID_ARGUMENT: files that do not go together, an empty token, or a token that would leave this machine in plain
// text.
absl::Status AddSecurity(const SecurityFiles& files, const std::string& address, ClientOptions* options);

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_SECURITY_H_
