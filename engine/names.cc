// SPDX-License-Identifier: Apache-2.0
#include "engine/names.h"

#include <cstddef>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/engine.h"

namespace lstmd {
namespace {

bool IsValidName(std::string_view name, size_t max_size, std::string_view marks) {
  if (name.empty() || name.size() > max_size || !absl::ascii_isalnum(static_cast<unsigned char>(name[0]))) return false;
  for (const char c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && marks.find(c) == marks.npos) return false;
  }
  return true;
}

}  // namespace

bool IsValidModelName(std::string_view name) { return IsValidName(name, 63, "._-"); }
bool IsValidSessionId(std::string_view id) { return IsValidName(id, 128, "._~-"); }

std::string ModelResource(std::string_view model) {
  return absl::StrCat("models/", absl::string_view(model.data(), model.size()));
}

std::string SessionResource(std::string_view model, std::string_view key) {
  const std::string_view id = BareId(key);
  return absl::StrCat(ModelResource(model), "/sessions/", absl::string_view(id.data(), id.size()));
}

std::string OwnedId(std::string_view owner, std::string_view id) {
  if (owner.empty()) return std::string(id);
  std::string key;
  key.reserve(owner.size() + 1 + id.size());
  return key.append(owner).append(1, ':').append(id);
}

std::string_view OwnerOf(std::string_view key) {
  const size_t colon = key.find(':');
  return colon == key.npos ? std::string_view() : key.substr(0, colon);
}

std::string_view BareId(std::string_view key) { return key.substr(key.find(':') + 1); }

}  // namespace lstmd
