// SPDX-License-Identifier: Apache-2.0
#include "client/security.h"

#include <fstream>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace lstmd::client {
namespace {

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  return text.str();
}

bool StaysHere(absl::string_view address) {
  const absl::string_view host = address.substr(0, address.rfind(':'));
  return absl::StartsWith(address, "unix:") || host == "localhost" || host == "[::1]" ||
         (absl::StartsWith(host, "127.") && host.find_first_not_of("0123456789.") == host.npos);
}

absl::Status AddTls(const SecurityFiles& files, ClientOptions* options) {
  if (files.tls_cert.empty() != files.tls_key.empty()) {
    return absl::InvalidArgumentError("the client's certificate and its key go together");
  }
  grpc::SslCredentialsOptions tls;
  const std::pair<const std::string*, std::string*> parts[] = {{&files.tls_ca, &tls.pem_root_certs},
                                                               {&files.tls_cert, &tls.pem_cert_chain},
                                                               {&files.tls_key, &tls.pem_private_key}};
  for (const auto& [path, to] : parts) {
    if (path->empty()) continue;
    absl::StatusOr<std::string> text = ReadFile(*path);
    if (!text.ok()) return text.status();
    if (!absl::StrContains(*text, "-----BEGIN ")) {
      return absl::InvalidArgumentError(absl::StrCat(*path, " is no PEM file"));
    }
    *to = *std::move(text);
  }
  options->credentials = grpc::SslCredentials(tls);
  return absl::OkStatus();
}

}  // namespace

absl::Status AddSecurity(const SecurityFiles& files, const std::string& address, ClientOptions* options) {
  if (!files.tls_ca.empty()) {
    if (absl::Status status = AddTls(files, options); !status.ok()) return status;
  } else if (!files.tls_cert.empty() || !files.tls_key.empty()) {
    return absl::InvalidArgumentError("a certificate of the client needs the authority of the server's too");
  }
  if (files.token.empty()) return absl::OkStatus();
  absl::StatusOr<std::string> text = ReadFile(files.token);
  if (!text.ok()) return text.status();
  const std::vector<std::string> lines = absl::StrSplit(*text, absl::MaxSplits('\n', 1));
  const std::string token(absl::StripAsciiWhitespace(lines[0]));
  if (token.empty()) return absl::InvalidArgumentError(absl::StrCat("the first line of ", files.token, " is empty"));
  for (const std::string& one : std::vector<std::string>(absl::StrSplit(address, ','))) {
    if (options->credentials == nullptr && !StaysHere(one)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the token would go to ", one, " in plain text: name the authority of its certificate"));
    }
  }
  options->metadata.emplace_back("authorization", absl::StrCat("Bearer ", token));
  return absl::OkStatus();
}

}  // namespace lstmd::client
