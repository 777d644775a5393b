// SPDX-License-Identifier: Apache-2.0
//
// Making an entry of a model repository from a checkpoint file. The one part of the client that reads model files with
// the engine's own readers (lstmd_model_files), so that what is imported is what a server will load: an exception to
// the rule that the client stands on proto/ alone, confined to import.cc.
#ifndef LSTMD_CLIENT_IMPORT_H_
#define LSTMD_CLIENT_IMPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace lstmd::client {

struct ImportOptions {
  std::string file;        // .safetensors and .onnx are read here, anything else by the Python converter
  std::string name;        // of the model
  std::string repository;  // its folder; made when it is not there
  int64_t version = 0;     // 0: one more than the highest there is
  std::string spec;        // a file that becomes the entry's lstm.json; empty: none
  std::string node;        // of an .onnx file: take this one LSTM node out of a graph that does more
  bool force = false;      // replace the version if it exists
  std::vector<std::string> converter_arguments;  // passed on to `python3 -m lstmd_convert`
};

struct ImportedModel {
  std::string path;  // REPOSITORY/NAME/VERSION
  int64_t version = 0;
  std::string spec_json;
  std::string weights_sha256;
  uint64_t parameters = 0;
  std::string notes;  // what the converter said
};

// Makes the entry, reads it back as a server would, and only then moves it into its place, in one rename: a server
// never sees half of it, and on any error the repository is as it was. INVALID_ARGUMENT for a bad name or file, with
// the readers' reason and details; NOT_FOUND for a missing file; ALREADY_EXISTS for a version that is there, unless
// `force`; FAILED_PRECONDITION when the converter is missing or refuses the file, with what it said.
absl::StatusOr<ImportedModel> ImportModel(const ImportOptions& options);

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_IMPORT_H_
