// SPDX-License-Identifier: Apache-2.0
#include "tests/parity/wire.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/half.h"

namespace lstmd::parity {
namespace {

int64_t Count(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  return count;
}

}  // namespace

absl::StatusOr<Bytes> ToBytes(const TensorView& tensor) {
  Bytes out;
  switch (tensor.dtype) {
    case DType::kF32:
      out.dtype = v1::DATA_TYPE_F32;
      break;
    case DType::kF16:
      out.dtype = v1::DATA_TYPE_F16;
      break;
    case DType::kBF16:
      out.dtype = v1::DATA_TYPE_BF16;
      break;
    default:
      return absl::InvalidArgumentError(absl::StrCat("the wire has no ", std::string(Name(tensor.dtype))));
  }
  out.shape.assign(tensor.shape.begin(), tensor.shape.end());
  out.data.assign(tensor.data, tensor.elements * out.item());
  return out;
}

Bytes Permute(const Bytes& in, const std::vector<int>& order) {
  const size_t rank = in.shape.size(), item = in.item();
  std::vector<int64_t> strides(rank, 1);
  for (size_t k = rank; k-- > 1;) strides[k - 1] = strides[k] * in.shape[k];
  Bytes out{in.dtype, std::vector<int64_t>(rank), std::string(in.data.size(), '\0')};
  for (size_t k = 0; k < rank; ++k) out.shape[k] = in.shape[static_cast<size_t>(order[k])];
  std::vector<int64_t> at(rank, 0);
  for (int64_t n = 0, count = Count(out.shape); n < count; ++n) {
    int64_t from = 0;
    for (size_t k = 0; k < rank; ++k) from += at[k] * strides[static_cast<size_t>(order[k])];
    std::memcpy(&out.data[static_cast<size_t>(n) * item], &in.data[static_cast<size_t>(from) * item], item);
    for (size_t k = rank; k-- > 0 && ++at[k] == out.shape[k];) at[k] = 0;
  }
  return out;
}

Bytes Reshape(Bytes in, std::vector<int64_t> shape) {
  in.shape = std::move(shape);
  return in;
}

Bytes Slice(const Bytes& in, int axis, int64_t index) {
  const auto cut = static_cast<size_t>(axis);
  Bytes out{in.dtype, in.shape, ""};
  out.shape.erase(out.shape.begin() + axis);
  const int64_t outer = Count({in.shape.begin(), in.shape.begin() + axis});
  const size_t inner = static_cast<size_t>(Count({in.shape.begin() + axis + 1, in.shape.end()})) * in.item();
  for (int64_t k = 0; k < outer; ++k) {
    out.data.append(in.data, static_cast<size_t>(k * in.shape[cut] + index) * inner, inner);
  }
  return out;
}

Bytes Stack(const std::vector<Bytes>& parts) {
  Bytes out{parts[0].dtype, parts[0].shape, ""};
  out.shape.insert(out.shape.begin(), static_cast<int64_t>(parts.size()));
  for (const Bytes& part : parts) out.data += part.data;
  return out;
}

v1::Tensor ToProto(const Bytes& bytes) {
  v1::Tensor tensor;
  tensor.set_dtype(bytes.dtype);
  for (int64_t size : bytes.shape) tensor.add_shape(size);
  tensor.set_data(bytes.data);
  return tensor;
}

absl::StatusOr<Bytes> FromProto(const v1::Tensor& tensor) {
  Bytes out{tensor.dtype(), {tensor.shape().begin(), tensor.shape().end()}, tensor.data()};
  if (out.dtype == v1::DATA_TYPE_UNSPECIFIED) out.dtype = v1::DATA_TYPE_F32;
  if (static_cast<int64_t>(out.data.size()) != Count(out.shape) * static_cast<int64_t>(out.item())) {
    return absl::InternalError(
        absl::StrCat("the server answered ", out.data.size(), " bytes for ", Count(out.shape), " elements"));
  }
  return out;
}

std::vector<float> ToFloats(const Bytes& bytes) {
  std::vector<float> out(bytes.data.size() / bytes.item());
  for (size_t k = 0; k < out.size(); ++k) {
    if (bytes.dtype == v1::DATA_TYPE_F32) {
      std::memcpy(&out[k], &bytes.data[4 * k], 4);
    } else {
      uint16_t half;
      std::memcpy(&half, &bytes.data[2 * k], 2);
      out[k] = bytes.dtype == v1::DATA_TYPE_F16 ? F16ToFloat(half) : Bf16ToFloat(half);
    }
  }
  return out;
}

}  // namespace lstmd::parity
