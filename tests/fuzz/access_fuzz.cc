// SPDX-License-Identifier: Apache-2.0
//
// Any text as a file of credentials, and as one of quotas. What is read is valid, and an error says nothing of the
// text.
#include <cstdlib>
#include <string>
#include <string_view>

#include "engine/engine.h"
#include "server/credentials_file.h"
#include "server/quota.h"

namespace server = lstmd::server;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<std::vector<server::Credential>> credentials = server::ParseCredentials(text);
  if (credentials.ok()) {
    for (const server::Credential& one : *credentials) {
      if (!lstmd::IsValidModelName(one.tenant)) std::abort();
      if (!one.certificate.empty() && one.token != server::Sha256()) std::abort();
    }
  } else if (credentials.status().message().size() > 200) {
    std::abort();
  }
  const absl::StatusOr<server::QuotaTable> quotas = server::ParseQuotas(text);
  if (!quotas.ok()) return 0;
  const server::Quota& quota = quotas->Of("nobody");
  if (quota.steps_per_second < 0 || quota.requests_per_second < 0) std::abort();
  (void)quota.Allows("sunspots");
  return 0;
}
