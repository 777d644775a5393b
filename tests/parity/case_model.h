// SPDX-License-Identifier: Apache-2.0
//
// From a recorded case to a model that the server can load.
#ifndef LSTMD_TESTS_PARITY_CASE_MODEL_H_
#define LSTMD_TESTS_PARITY_CASE_MODEL_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/repository.h"
#include "tests/parity/case_file.h"

namespace lstmd::parity {

// A float tensor in float32, row-major.
struct Values {
  std::vector<uint64_t> shape;
  std::vector<float> data;
};

// A tensor of the case by name.
absl::StatusOr<Values> ReadTensor(const Case& c, const std::string& name);

// What a reference points at: the tensor's values, taken apart as it says.
absl::StatusOr<Values> Fetch(const Case& c, const Reference& reference);

// The case's spec and its weights in canonical form, each multiplied by `scale`.
absl::StatusOr<ModelFiles> BuildModel(const Case& c, float scale);

}  // namespace lstmd::parity

#endif  // LSTMD_TESTS_PARITY_CASE_MODEL_H_
