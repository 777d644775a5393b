// SPDX-License-Identifier: Apache-2.0
//
// How connections are protected.
#ifndef LSTMD_SERVER_TRANSPORT_H_
#define LSTMD_SERVER_TRANSPORT_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/security/server_credentials.h"

namespace lstmd::server {

struct TransportOptions {
  // PEM files of the certificate chain and its key. Both or none; with them TCP is served with TLS only.
  std::string tls_cert;
  std::string tls_key;
  // PEM file of the authorities whose certificates clients must present; empty: clients need none.
  std::string tls_client_ca;
  // Serve plain text to other machines too.
  bool allow_plaintext = false;
  // How often the files are looked at; new connections get what is in them then.
  absl::Duration reload_interval = absl::Seconds(5);
};

// Whether only programs of this machine can reach the address: unix sockets, localhost, 127.0.0.0/8 and ::1.
bool IsLocal(const std::string& address);

// For each listening address the credentials it is served with.
class Transport {
 public:
  // Reads the files. INVALID_ARGUMENT / TLS_FILES: one cannot be read, is no PEM, or the key is another certificate's;
  // PLAINTEXT: one of the addresses would be served in plain text beyond this machine.
  static absl::StatusOr<Transport> Create(const TransportOptions& options, const std::vector<std::string>& addresses);

  std::shared_ptr<grpc::ServerCredentials> For(const std::string& address) const;

 private:
  std::shared_ptr<grpc::ServerCredentials> tls_;  // nullptr: none
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_TRANSPORT_H_
