// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/onnx_dims.h"

#include "absl/strings/str_cat.h"
#include "engine/checkpoint/onnx_tensor.h"
#include "engine/checkpoint/onnx_view.h"

namespace lstmd::onnx {
namespace {

// Primes, none in both rows, so that few products agree by chance.
constexpr int64_t kGuesses[2][12] = {{7, 5, 13, 19, 29, 37, 43, 53, 61, 71, 79, 89},
                                     {11, 3, 17, 23, 31, 41, 47, 59, 67, 73, 83, 97}};

const TensorShapeProto::Dimension* Dimension(const ValueInfoProto& input, size_t axis) {
  const TensorShapeProto& shape = input.type().tensor_type().shape();
  return axis < static_cast<size_t>(shape.dim_size()) ? &shape.dim(static_cast<int>(axis)) : nullptr;
}

}  // namespace

bool InputDims::IsOpen(const ValueInfoProto& input, size_t axis) const {
  const TensorShapeProto::Dimension* dim = Dimension(input, axis);
  return dim == nullptr || !dim->has_dim_value();
}

std::string InputDims::Key(const ValueInfoProto& input, size_t axis) const {
  const TensorShapeProto::Dimension* dim = Dimension(input, axis);
  if (dim != nullptr && !dim->dim_param().empty()) return absl::StrCat("n", dim->dim_param());
  return absl::StrCat("i", axis, input.name());
}

bool InputDims::Fix(const ValueInfoProto& input, size_t axis, int64_t extent) {
  return fixed_.emplace(Key(input, axis), extent).second;
}

absl::StatusOr<std::vector<int64_t>> InputDims::Of(const ValueInfoProto& input) {
  const TypeProto::Tensor& type = input.type().tensor_type();
  // Without a shape: what an LSTM node wants of X.
  const size_t rank = type.has_shape() ? static_cast<size_t>(type.shape().dim_size()) : 3;
  if (rank > kMaxRank) return FileError(absl::StrCat("graph input ", Quoted(input.name()), ": ", rank, " dimensions"));
  std::vector<int64_t> dims(rank);
  for (size_t axis = 0; axis < rank; ++axis) {
    if (!IsOpen(input, axis)) {
      dims[axis] = Dimension(input, axis)->dim_value();
      continue;
    }
    const std::string key = Key(input, axis);
    const auto fixed = fixed_.find(key);
    if (fixed != fixed_.end()) {
      dims[axis] = fixed->second;
      continue;
    }
    const auto guess = guesses_.emplace(key, kGuesses[round_][guesses_.size() % 12]).first;
    dims[axis] = guess->second;
  }
  const std::optional<int64_t> elements = ElementsOf(dims);
  if (!elements || *elements == 0) {
    return FileError(absl::StrCat("graph input ", Quoted(input.name()), ": shape ", ShapeText(dims), " is impossible"));
  }
  return dims;
}

}  // namespace lstmd::onnx
