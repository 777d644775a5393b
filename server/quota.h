// SPDX-License-Identifier: Apache-2.0
//
// What tenants may use, as the file of --quota-file says:
//
//   {"default": {"steps_per_second": 10000, "sessions": 1000},
//    "tenants": {"team-a": {"steps_per_second": 50000, "models": ["sunspots", "weather-*"]}}}
//
// A tenant that the file names has the bounds given there, and for the others those of "default"; what neither gives is
// not bounded.
#ifndef LSTMD_SERVER_QUOTA_H_
#define LSTMD_SERVER_QUOTA_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace lstmd::server {

struct Quota {
  double requests_per_second = 0;     // calls and opened streams; 0: not bounded
  double steps_per_second = 0;        // time steps, of sessions and sequences; 0: not bounded
  uint64_t sessions = UINT64_MAX;     // living at a time
  uint64_t state_bytes = UINT64_MAX;  // of those sessions' h and c
  uint64_t in_flight = UINT64_MAX;    // steps and rows of sequences accepted and not answered
  std::vector<std::string> models;    // names, "*" at the end for any rest; empty: all

  bool Allows(std::string_view model) const;
};

struct QuotaTable {
  Quota fallback;
  std::map<std::string, Quota, std::less<>> tenants;

  const Quota& Of(std::string_view tenant) const;
};

// INVALID_ARGUMENT / QUOTA_FILE: no JSON, an unknown key, a value of the wrong kind.
absl::StatusOr<QuotaTable> ParseQuotas(std::string_view text);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_QUOTA_H_
