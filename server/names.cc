// SPDX-License-Identifier: Apache-2.0
#include "server/names.h"

#include "absl/strings/str_cat.h"
#include "engine/engine.h"
#include "engine/errors.h"
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

absl::Status CheckModel(std::string_view name, std::string_view model) {
  if (IsValidModelName(model)) return absl::OkStatus();
  return Malformed(name, "models/{model} with {model} 1 to 63 of A-Z a-z 0-9 . _ -, first a letter or digit");
}

}  // namespace

absl::StatusOr<std::string_view> ParseModelName(std::string_view name) {
  if (name.substr(0, kModels.size()) != kModels) return Malformed(name, "models/{model}");
  const std::string_view model = name.substr(kModels.size());
  if (absl::Status status = CheckModel(name, model); !status.ok()) return status;
  return model;
}

absl::StatusOr<std::string_view> ParseModelNameOrAll(std::string_view name) {
  if (name == "models/-") return name.substr(kModels.size());
  return ParseModelName(name);
}

absl::StatusOr<SessionName> ParseSessionName(std::string_view name) {
  constexpr std::string_view kForm = "models/{model}/sessions/{session}";
  if (name.substr(0, kModels.size()) != kModels) return Malformed(name, kForm);
  const size_t middle = name.find(kSessions, kModels.size());
  if (middle == std::string_view::npos) return Malformed(name, kForm);
  const SessionName parts{name.substr(kModels.size(), middle - kModels.size()), name.substr(middle + kSessions.size())};
  if (absl::Status status = CheckModel(name, parts.model); !status.ok()) return status;
  if (!IsValidSessionId(parts.id)) {
    return Malformed(name, "{session} to be 1 to 128 of A-Z a-z 0-9 . _ ~ -, first a letter or digit");
  }
  return parts;
}

std::string FormatModelName(std::string_view model) { return absl::StrCat(View(kModels), View(model)); }

std::string FormatSessionName(std::string_view model, std::string_view id) {
  return absl::StrCat(View(kModels), View(model), View(kSessions), View(id));
}

}  // namespace lstmd::server
