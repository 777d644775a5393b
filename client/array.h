// SPDX-License-Identifier: Apache-2.0
//
// Numbers on the caller's side, and their way to and from lstmd.v1.Tensor.
#ifndef LSTMD_CLIENT_ARRAY_H_
#define LSTMD_CLIENT_ARRAY_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "lstmd/v1/tensor.pb.h"

namespace lstmd::client {

// Dense and row-major: values.size() is the product of shape. A shape of no dimension is one number.
struct Array {
  std::vector<int64_t> shape;
  std::vector<float> values;
};

// Hidden and cell state: h [L*D, P or H], c [L*D, H]; of a batch [L*D, N, …].
struct State {
  Array h;
  Array c;
};

// Writes `values` as float32. The tensor's memory is reused.
// REQUIRES: values.size() is the product of `shape`.
void ToTensor(absl::Span<const float> values, absl::Span<const int64_t> shape, v1::Tensor* tensor);
void ToTensor(const Array& array, v1::Tensor* tensor);

// Reads float32, float16 or bfloat16 into `values`, whose memory is reused. INTERNAL when dtype, shape and bytes of the
// tensor do not fit each other.
absl::Status ReadTensor(const v1::Tensor& tensor, std::vector<float>* values);
absl::StatusOr<Array> FromTensor(const v1::Tensor& tensor);

void ToProto(const State& state, v1::LstmState* proto);
absl::StatusOr<State> FromProto(const v1::LstmState& proto);

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_ARRAY_H_
