// SPDX-License-Identifier: Apache-2.0
//
// JSON from files and requests, which may be hostile. For .cc files only: the library's header is heavy.
#ifndef LSTMD_ENGINE_JSON_H_
#define LSTMD_ENGINE_JSON_H_

#include <cstddef>
#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace lstmd {

struct JsonLimits {
  size_t max_bytes = 0;
  size_t max_depth = 0;   // of objects and arrays within each other
  size_t max_values = 0;  // of any kind, all together: bounds the memory that the text can ask for
};

// Strict JSON: UTF-8, no comments, nothing after the value, no name twice in an object. Else INVALID_ARGUMENT / JSON with
// the byte's position. Never throws.
absl::StatusOr<nlohmann::json> ParseJson(std::string_view text, const JsonLimits& limits);

}  // namespace lstmd

#endif  // LSTMD_ENGINE_JSON_H_
