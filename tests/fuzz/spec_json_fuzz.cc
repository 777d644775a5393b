// SPDX-License-Identifier: Apache-2.0
//
// Any text as a spec. What is read must be valid, and the same after being written.
#include <cstdlib>
#include <string>
#include <string_view>

#include "engine/spec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<lstmd::ModelSpec> spec = lstmd::ParseSpecJson(text);
  if (!spec.ok()) return 0;
  if (!Validate(*spec).ok()) std::abort();
  const std::string written = lstmd::SpecToJson(*spec);
  const absl::StatusOr<lstmd::ModelSpec> again = lstmd::ParseSpecJson(written);
  if (!again.ok() || lstmd::SpecToJson(*again) != written) std::abort();
  return 0;
}
