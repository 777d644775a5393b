// SPDX-License-Identifier: Apache-2.0
//
// A model repository: a folder with NAME/VERSION/ folders, each one model.
//   NAME/3/model.safetensors   weights in a known layout (torch names, canonical …), or
//   NAME/3/model.onnx          an ONNX graph that is an LSTM stack
//   NAME/3/lstm.json           the spec (JSON form of lstmd.v1.ModelSpec), where the file does not say everything
#ifndef LSTMD_ENGINE_REPOSITORY_H_
#define LSTMD_ENGINE_REPOSITORY_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/spec.h"
#include "engine/weights.h"

namespace lstmd {

// A model on the host, ready for Backend::Load: Validate(spec) and Validate(spec, weights) hold.
struct ModelFiles {
  ModelSpec spec;
  Weights weights;
};

struct RepositoryEntry {
  std::string name;
  int64_t version = 0;
};

// Every NAME/VERSION folder below `root`, by name, then version. Folders whose names are no model name or no positive
// integer are passed over, as are links that lead out of `root`. NOT_FOUND / REPOSITORY when `root` is no folder.
absl::StatusOr<std::vector<RepositoryEntry>> ListRepository(const std::string& root);

// Names, sizes and times of an entry's files, "" when there is none: while it stays the same nobody writes to the
// folder.
std::string EntryFingerprint(const std::string& root, std::string_view name, int64_t version);

// Reads one entry. NOT_FOUND / MODEL_NOT_FOUND when there is no such folder; INVALID_ARGUMENT with MODEL_FILE (missing,
// truncated or lying files), MODEL_SPEC or MODEL_WEIGHTS, the file's name within the entry, got and want. Never reads
// outside `root`, never allocates more than the files can hold, never throws.
// REQUIRES: IsValidModelName(name), version > 0.
absl::StatusOr<ModelFiles> LoadEntry(const std::string& root, std::string_view name, int64_t version);

// Reads the folder `path` itself as one model.
absl::StatusOr<ModelFiles> LoadModelFolder(const std::string& path);

}  // namespace lstmd

#endif  // LSTMD_ENGINE_REPOSITORY_H_
