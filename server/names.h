// SPDX-License-Identifier: Apache-2.0
//
// Resource names: "models/{model}" and "models/{model}/sessions/{session}".
#ifndef LSTMD_SERVER_NAMES_H_
#define LSTMD_SERVER_NAMES_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/caller.h"

namespace lstmd::server {

// Parts of a session's name.
struct SessionName {
  std::string_view model;  // in the text that was parsed
  std::string key;         // the session's key in the engine: its id, with its owner if it has one (engine/names.h)
};

// Names mean something only for a caller: a session's is one of the caller's own, and a model's one it may use.
//
// {model} of "models/{model}". INVALID_ARGUMENT / RESOURCE_NAME without a field: who calls adds it (PrefixField).
// PERMISSION_DENIED / MODEL_NOT_ALLOWED.
absl::StatusOr<std::string_view> ParseModelName(std::string_view name, const Caller& caller);
// Same, and "-" for all models.
absl::StatusOr<std::string_view> ParseModelNameOrAll(std::string_view name, const Caller& caller);
absl::StatusOr<SessionName> ParseSessionName(std::string_view name, const Caller& caller);

std::string FormatModelName(std::string_view model);
// Without the owner that `key` may have.
std::string FormatSessionName(std::string_view model, std::string_view key);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_NAMES_H_
