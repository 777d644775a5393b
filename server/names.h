// SPDX-License-Identifier: Apache-2.0
//
// Resource names: "models/{model}" and "models/{model}/sessions/{session}".
#ifndef LSTMD_SERVER_NAMES_H_
#define LSTMD_SERVER_NAMES_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace lstmd::server {

// Parts of a session's name; they point into the text that was parsed.
struct SessionName {
  std::string_view model;
  std::string_view id;
};

// {model} of "models/{model}". INVALID_ARGUMENT / RESOURCE_NAME without a field: the caller adds it (PrefixField).
absl::StatusOr<std::string_view> ParseModelName(std::string_view name);
// Same, and "-" for all models.
absl::StatusOr<std::string_view> ParseModelNameOrAll(std::string_view name);
absl::StatusOr<SessionName> ParseSessionName(std::string_view name);

std::string FormatModelName(std::string_view model);
std::string FormatSessionName(std::string_view model, std::string_view id);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_NAMES_H_
