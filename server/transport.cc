// SPDX-License-Identifier: Apache-2.0
#include "server/transport.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_credentials_options.h"
#include "openssl/bio.h"
#include "openssl/pem.h"
#include "openssl/x509.h"
#include "spdlog/spdlog.h"

namespace lstmd::server {
namespace {

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Bio = std::unique_ptr<BIO, Free>;
using Certificate = std::unique_ptr<X509, Free>;
using Key = std::unique_ptr<EVP_PKEY, Free>;

absl::Status Wrong(const std::string& file, const std::string& what) {
  return InvalidArgument("TLS_FILES", absl::StrCat(file, ": ", what));
}

absl::StatusOr<Certificate> ReadCertificate(const std::string& file) {
  const Bio bio(BIO_new_file(file.c_str(), "r"));
  if (bio == nullptr) return Wrong(file, "cannot be read");
  Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  if (certificate == nullptr) return Wrong(file, "holds no certificate in PEM form");
  return certificate;
}

// The provider reads the files again and again, and only logs what is wrong: what is wrong at the start should stop it.
absl::Status CheckFiles(const TransportOptions& options) {
  absl::StatusOr<Certificate> certificate = ReadCertificate(options.tls_cert);
  if (!certificate.ok()) return certificate.status();
  const Bio bio(BIO_new_file(options.tls_key.c_str(), "r"));
  if (bio == nullptr) return Wrong(options.tls_key, "cannot be read");
  // An empty passphrase: nobody is there to be asked for one.
  const Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, const_cast<char*>("")));
  if (key == nullptr) return Wrong(options.tls_key, "holds no private key in PEM form without a passphrase");
  if (X509_check_private_key(certificate->get(), key.get()) != 1) {
    return Wrong(options.tls_key, absl::StrCat("is not the key of ", options.tls_cert));
  }
  if (X509_cmp_current_time(X509_get0_notAfter(certificate->get())) <= 0) {
    spdlog::warn("{} has expired: clients will refuse it", options.tls_cert);
  }
  if (options.tls_client_ca.empty()) return absl::OkStatus();
  return ReadCertificate(options.tls_client_ca).status();
}

}  // namespace

bool IsLocal(const std::string& address) {
  if (absl::StartsWith(address, "unix:")) return true;
  const std::string host = address.substr(0, address.rfind(':'));
  return host == "localhost" || host == "[::1]" ||
         (absl::StartsWith(host, "127.") && host.find_first_not_of("0123456789.") == std::string::npos);
}

absl::StatusOr<Transport> Transport::Create(const TransportOptions& options,
                                            const std::vector<std::string>& addresses) {
  Transport transport;
  if (options.tls_cert.empty() != options.tls_key.empty()) {
    return InvalidArgument("TLS_FILES", "--tls-cert and --tls-key go together");
  }
  if (options.tls_cert.empty()) {
    if (!options.tls_client_ca.empty()) {
      return InvalidArgument("TLS_FILES", "--tls-client-ca goes with --tls-cert and --tls-key");
    }
    for (const std::string& address : addresses) {
      if (IsLocal(address)) continue;
      if (!options.allow_plaintext) {
        return InvalidArgument(
            "PLAINTEXT", absl::StrCat("--listen ", address,
                                      " would serve plain text beyond this machine: give --tls-cert and --tls-key, or "
                                      "--allow-plaintext where the network is trusted"));
      }
      spdlog::warn("{} is served in plain text: whoever is in between can read and change it", address);
    }
    return transport;
  }
  if (absl::Status status = CheckFiles(options); !status.ok()) return status;
  const auto interval =
      static_cast<unsigned>(std::clamp<int64_t>(absl::ToInt64Seconds(options.reload_interval), 1, 3600));
  grpc::experimental::TlsServerCredentialsOptions tls(
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(options.tls_key, options.tls_cert,
                                                                           options.tls_client_ca, interval));
  tls.watch_identity_key_cert_pairs();
  if (!options.tls_client_ca.empty()) {
    tls.watch_root_certs();
    tls.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  transport.tls_ = grpc::experimental::TlsServerCredentials(tls);
  return transport;
}

std::shared_ptr<grpc::ServerCredentials> Transport::For(const std::string& address) const {
  const bool is_unix = absl::StartsWith(address, "unix:");
  return tls_ != nullptr && !is_unix ? tls_ : grpc::InsecureServerCredentials();
}

}  // namespace lstmd::server
