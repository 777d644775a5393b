// SPDX-License-Identifier: Apache-2.0
//
// Tensors of a case on the wire: in the case's own type, byte for byte, with their axes where the API wants them.
#ifndef LSTMD_TESTS_PARITY_WIRE_H_
#define LSTMD_TESTS_PARITY_WIRE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/checkpoint/safetensors.h"
#include "lstmd/v1/tensor.pb.h"

namespace lstmd::parity {

// A dense row-major array of elements of `item` bytes.
struct Bytes {
  v1::DataType dtype = v1::DATA_TYPE_F32;
  std::vector<int64_t> shape;
  std::string data;

  size_t item() const { return dtype == v1::DATA_TYPE_F32 ? 4 : 2; }
};

// INVALID_ARGUMENT for an element type that the wire does not have.
absl::StatusOr<Bytes> ToBytes(const TensorView& tensor);

// Axis k of the result is axis order[k] of `in`. REQUIRES: order is a permutation of the axes.
Bytes Permute(const Bytes& in, const std::vector<int>& order);

// The same bytes with another shape. REQUIRES: the same number of elements.
Bytes Reshape(Bytes in, std::vector<int64_t> shape);

// Entry `index` of axis `axis`, which is gone in the result.
Bytes Slice(const Bytes& in, int axis, int64_t index);

// One array of [parts, …] from parts of equal shape.
Bytes Stack(const std::vector<Bytes>& parts);

v1::Tensor ToProto(const Bytes& bytes);

// What the server answered; INTERNAL if dtype, shape and bytes do not fit each other.
absl::StatusOr<Bytes> FromProto(const v1::Tensor& tensor);

// Widened to float32.
std::vector<float> ToFloats(const Bytes& bytes);

}  // namespace lstmd::parity

#endif  // LSTMD_TESTS_PARITY_WIRE_H_
