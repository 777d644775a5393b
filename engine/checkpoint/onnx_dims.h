// SPDX-License-Identifier: Apache-2.0
//
// Extents for the dimensions that a graph leaves open. A graph is followed with numbers in place of names such as
// "batch", twice, with other numbers the second time: what holds for both (the last step taken, no step dropped) holds
// for all, and a constant that only looks like the length of one of them shows.
#ifndef LSTMD_ENGINE_CHECKPOINT_ONNX_DIMS_H_
#define LSTMD_ENGINE_CHECKPOINT_ONNX_DIMS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/checkpoint/onnx.pb.h"

namespace lstmd::onnx {

class InputDims {
 public:
  // `round` 0 or 1 chooses the numbers.
  explicit InputDims(int round) : round_(round) {}

  // Dims of graph input `name`. MODEL_FILE when it has no shape, or one with an extent of 0 or less.
  absl::StatusOr<std::vector<int64_t>> Of(const ValueInfoProto& input);

  // Whether dimension `axis` is open, and so may be fixed.
  bool IsOpen(const ValueInfoProto& input, size_t axis) const;
  // From now on that dimension, and all of its name, have this extent. Answers false if it was fixed before.
  bool Fix(const ValueInfoProto& input, size_t axis, int64_t extent);
  // Whether any number was made up.
  bool guessed() const { return !guesses_.empty(); }

 private:
  std::string Key(const ValueInfoProto& input, size_t axis) const;

  const int round_;
  std::map<std::string, int64_t> guesses_;
  std::map<std::string, int64_t> fixed_;
};

}  // namespace lstmd::onnx

#endif  // LSTMD_ENGINE_CHECKPOINT_ONNX_DIMS_H_
