// SPDX-License-Identifier: Apache-2.0
#include "client/array.h"

#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace lstmd::client {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are little-endian on the wire");

float FromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

float FromHalf(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  const uint32_t exponent = (half >> 10) & 0x1f;
  const uint32_t fraction = half & 0x3ff;
  if (exponent == 0) {
    const float magnitude = std::ldexp(static_cast<float>(fraction), -24);
    return sign != 0 ? -magnitude : magnitude;
  }
  if (exponent == 31) return FromBits(sign | 0x7f800000u | fraction << 13);
  return FromBits(sign | (exponent + 112) << 23 | fraction << 13);
}

// Product of the shape, or -1 when it is negative or could not be the size of any message.
int64_t Count(const v1::Tensor& tensor) {
  constexpr int64_t kMost = int64_t{1} << 40;
  int64_t count = 1;
  bool empty = false;
  for (const int64_t size : tensor.shape()) {
    if (size < 0 || size > kMost) return -1;
    if (size == 0) {
      empty = true;
      continue;
    }
    if (count > kMost / size) return -1;
    count *= size;
  }
  return empty ? 0 : count;
}

}  // namespace

void ToTensor(absl::Span<const float> values, absl::Span<const int64_t> shape, v1::Tensor* tensor) {
  tensor->set_dtype(v1::DATA_TYPE_F32);
  tensor->mutable_shape()->Clear();
  tensor->mutable_shape()->Add(shape.begin(), shape.end());
  tensor->mutable_data()->assign(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

void ToTensor(const Array& array, v1::Tensor* tensor) { ToTensor(array.values, array.shape, tensor); }

absl::Status ReadTensor(const v1::Tensor& tensor, std::vector<float>* values) {
  const std::string& data = tensor.data();
  const bool wide = tensor.dtype() == v1::DATA_TYPE_F32 || tensor.dtype() == v1::DATA_TYPE_UNSPECIFIED;
  const int64_t count = Count(tensor);
  if (count < 0 || data.size() != static_cast<uint64_t>(count) * (wide ? 4 : 2)) {
    return absl::InternalError(absl::StrCat("the server sent a tensor of shape [", absl::StrJoin(tensor.shape(), ", "),
                                            "], type ", v1::DataType_Name(tensor.dtype()), " in ", data.size(),
                                            " bytes"));
  }
  values->resize(static_cast<size_t>(count));
  if (wide) {
    std::memcpy(values->data(), data.data(), data.size());
    return absl::OkStatus();
  }
  if (tensor.dtype() != v1::DATA_TYPE_F16 && tensor.dtype() != v1::DATA_TYPE_BF16) {
    return absl::InternalError(absl::StrCat("the server sent a tensor of type ", static_cast<int>(tensor.dtype()),
                                            ", which this client does not know"));
  }
  for (size_t i = 0; i < values->size(); ++i) {
    uint16_t bits;
    std::memcpy(&bits, data.data() + 2 * i, sizeof(bits));
    (*values)[i] = tensor.dtype() == v1::DATA_TYPE_F16 ? FromHalf(bits) : FromBits(uint32_t{bits} << 16);
  }
  return absl::OkStatus();
}

absl::StatusOr<Array> FromTensor(const v1::Tensor& tensor) {
  Array array;
  if (absl::Status status = ReadTensor(tensor, &array.values); !status.ok()) return status;
  array.shape.assign(tensor.shape().begin(), tensor.shape().end());
  return array;
}

void ToProto(const State& state, v1::LstmState* proto) {
  ToTensor(state.h, proto->mutable_h());
  ToTensor(state.c, proto->mutable_c());
}

absl::StatusOr<State> FromProto(const v1::LstmState& proto) {
  absl::StatusOr<Array> h = FromTensor(proto.h());
  if (!h.ok()) return h.status();
  absl::StatusOr<Array> c = FromTensor(proto.c());
  if (!c.ok()) return c.status();
  return State{*std::move(h), *std::move(c)};
}

}  // namespace lstmd::client
