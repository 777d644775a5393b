// SPDX-License-Identifier: Apache-2.0
#include "server/quota.h"

#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "nlohmann/json.hpp"
#include "server/errors.h"

namespace lstmd::server {
namespace {

using Json = nlohmann::json;

absl::Status Wrong(const std::string& where, const std::string& what) {
  return InvalidArgument("QUOTA_FILE", absl::StrCat(Printable(where), ": ", what));
}

absl::Status ReadRate(const std::string& where, const Json& value, double* rate) {
  if (!value.is_number() || !(value.get<double>() > 0)) return Wrong(where, "want a number above 0");
  *rate = value.get<double>();
  return absl::OkStatus();
}

absl::Status ReadCount(const std::string& where, const Json& value, uint64_t* count) {
  if (!value.is_number_unsigned()) return Wrong(where, "want an integer of 0 or more");
  *count = value.get<uint64_t>();
  return absl::OkStatus();
}

absl::Status ReadModels(const std::string& where, const Json& value, std::vector<std::string>* models) {
  if (!value.is_array() || value.empty()) return Wrong(where, "want a list of one or more names");
  models->clear();
  for (const Json& name : value) {
    if (!name.is_string() || name.get<std::string>().empty()) return Wrong(where, "want a list of names");
    models->push_back(name.get<std::string>());
  }
  return absl::OkStatus();
}

absl::Status ReadQuota(const std::string& where, const Json& json, Quota* quota) {
  if (!json.is_object()) return Wrong(where, "want an object");
  for (const auto& [key, value] : json.items()) {
    const std::string here = where + "." + key;
    absl::Status status;
    if (key == "requests_per_second") {
      status = ReadRate(here, value, &quota->requests_per_second);
    } else if (key == "steps_per_second") {
      status = ReadRate(here, value, &quota->steps_per_second);
    } else if (key == "sessions") {
      status = ReadCount(here, value, &quota->sessions);
    } else if (key == "state_bytes") {
      status = ReadCount(here, value, &quota->state_bytes);
    } else if (key == "in_flight") {
      status = ReadCount(here, value, &quota->in_flight);
    } else if (key == "models") {
      status = ReadModels(here, value, &quota->models);
    } else {
      status = Wrong(here, "there is no such bound");
    }
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

bool Quota::Allows(std::string_view model) const {
  if (models.empty()) return true;
  for (const std::string_view pattern : models) {
    const bool open = pattern.back() == '*';
    const std::string_view start = pattern.substr(0, pattern.size() - (open ? 1 : 0));
    if (open ? model.substr(0, start.size()) == start : model == pattern) return true;
  }
  return false;
}

const Quota& QuotaTable::Of(std::string_view tenant) const {
  const auto found = tenants.find(tenant);
  return found == tenants.end() ? fallback : found->second;
}

absl::StatusOr<QuotaTable> ParseQuotas(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded() || !json.is_object()) {
    return InvalidArgument("QUOTA_FILE", "want a JSON object with \"default\" and \"tenants\"");
  }
  QuotaTable table;
  for (const auto& [key, value] : json.items()) {
    if (key != "default" && key != "tenants") return Wrong(key, "want \"default\" or \"tenants\"");
  }
  if (json.contains("default")) {
    if (absl::Status status = ReadQuota("default", json["default"], &table.fallback); !status.ok()) return status;
  }
  if (!json.contains("tenants")) return table;
  if (!json["tenants"].is_object()) return Wrong("tenants", "want an object");
  for (const auto& [name, value] : json["tenants"].items()) {
    Quota& quota = table.tenants[name] = table.fallback;
    if (absl::Status status = ReadQuota("tenants." + name, value, &quota); !status.ok()) return status;
  }
  return table;
}

}  // namespace lstmd::server
