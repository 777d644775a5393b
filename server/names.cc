// SPDX-License-Identifier: Apache-2.0
#include "server/names.h"

#include "absl/strings/str_cat.h"
#include "engine/engine.h"
#include "engine/errors.h"
#include "engine/names.h"
#include "server/errors.h"

namespace lstmd::server {
namespace {

constexpr std::string_view kModels = "models/";
constexpr std::string_view kSessions = "/sessions/";

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

absl::Status Malformed(std::string_view name, std::string_view want) {
  return InvalidArgument("RESOURCE_NAME", absl::StrCat("got the name '", Printable(name), "', want ", View(want)))
      .With("name", Printable(name));
}

absl::Status CheckModel(std::string_view name, std::string_view model, const Caller& caller) {
  if (IsValidModelName(model)) return caller.CheckModel(model);
  return Malformed(name, "models/{model} with {model} 1 to 63 of A-Z a-z 0-9 . _ -, first a letter or digit");
}

}  // namespace

absl::StatusOr<std::string_view> ParseModelName(std::string_view name, const Caller& caller) {
  if (name.substr(0, kModels.size()) != kModels) return Malformed(name, "models/{model}");
  const std::string_view model = name.substr(kModels.size());
  if (absl::Status status = CheckModel(name, model, caller); !status.ok()) return status;
  return model;
}

absl::StatusOr<std::string_view> ParseModelNameOrAll(std::string_view name, const Caller& caller) {
  if (name == "models/-") return name.substr(kModels.size());
  return ParseModelName(name, caller);
}

absl::StatusOr<SessionName> ParseSessionName(std::string_view name, const Caller& caller) {
  constexpr std::string_view kForm = "models/{model}/sessions/{session}";
  if (name.substr(0, kModels.size()) != kModels) return Malformed(name, kForm);
  const size_t middle = name.find(kSessions, kModels.size());
  if (middle == std::string_view::npos) return Malformed(name, kForm);
  const std::string_view model = name.substr(kModels.size(), middle - kModels.size());
  const std::string_view id = name.substr(middle + kSessions.size());
  if (absl::Status status = CheckModel(name, model, caller); !status.ok()) return status;
  if (!IsValidSessionId(id)) {
    return Malformed(name, "{session} to be 1 to 128 of A-Z a-z 0-9 . _ ~ -, first a letter or digit");
  }
  return SessionName{model, OwnedId(caller.owner(), id)};
}

std::string FormatModelName(std::string_view model) { return ModelResource(model); }

std::string FormatSessionName(std::string_view model, std::string_view key) { return SessionResource(model, key); }

}  // namespace lstmd::server
