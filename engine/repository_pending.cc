// SPDX-License-Identifier: Apache-2.0
//
// Stands in until the repository reader is there: core.cmake leaves it out as soon as engine/repository.cc exists.
#include "engine/errors.h"
#include "engine/repository.h"

namespace lstmd {

absl::StatusOr<std::vector<RepositoryEntry>> ListRepository(const std::string&) {
  return Unimplemented("UNIMPLEMENTED", "model repositories are not read yet");
}

absl::StatusOr<ModelFiles> LoadEntry(const std::string&, std::string_view, int64_t) {
  return Unimplemented("UNIMPLEMENTED", "model repositories are not read yet");
}

}  // namespace lstmd
