// SPDX-License-Identifier: Apache-2.0
//
// Tensors between the wire (f32, f16, bf16 bytes) and the engine (float32 arrays).
#ifndef LSTMD_SERVER_CONVERT_TENSOR_H_
#define LSTMD_SERVER_CONVERT_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/spec.h"
#include "lstmd/v1/tensor.pb.h"

namespace lstmd::server {

// A wire tensor whose type, shape and byte count fit each other. Points into the message.
struct TensorView {
  v1::DataType dtype = v1::DATA_TYPE_F32;  // never UNSPECIFIED
  absl::Span<const int64_t> shape;         // no negative dimension; the product fits the data
  const char* data = nullptr;
  size_t elements = 0;

  // Where the bytes are floats as they are: no copy is needed.
  bool in_place() const {
    return dtype == v1::DATA_TYPE_F32 && reinterpret_cast<uintptr_t>(data) % alignof(float) == 0;
  }
  // REQUIRES: in_place().
  const float* floats() const { return reinterpret_cast<const float*>(data); }
};

// INVALID_ARGUMENT / TENSOR_DTYPE, TENSOR_SHAPE, TENSOR_BYTES with the field "dtype", "shape" or "data".
absl::StatusOr<TensorView> ViewTensor(const v1::Tensor& tensor);

size_t ElementSize(v1::DataType dtype);

// Elements [offset, offset + count) as floats.
void ReadFloats(const TensorView& view, size_t offset, size_t count, float* to);
// `count` floats as bytes of `dtype`.
void WriteFloats(const float* from, size_t count, v1::DataType dtype, char* to);

// Type, shape, and room for the bytes; what stands in them is undefined until it is written.
void SetTensor(v1::DataType dtype, std::initializer_list<int64_t> shape, v1::Tensor* tensor);

// "[2, 3]".
std::string ShapeText(absl::Span<const int64_t> shape);

// INVALID_ARGUMENT / TENSOR_SHAPE with field "shape": what it is of, got, want.
absl::Status ShapeError(std::string_view what, absl::Span<const int64_t> got, std::string_view want);

// Float buffers that live until Reset. Pointers are stable. Not thread-safe.
class FloatScratch {
 public:
  // Uninitialised; 64-byte aligned where it starts a block. Never null.
  float* Allocate(size_t count);
  // All is free again; one block is kept for the next round.
  void Reset();

 private:
  struct Block {
    std::unique_ptr<float[]> data;
    size_t size = 0;
    size_t used = 0;
  };
  std::vector<Block> blocks_;
};

// A state on the wire: for one stream h [L*D, P or H], c [L*D, H]; for a batch h [L*D, N, …].
struct StateView {
  TensorView h;
  TensorView c;
};
// Checks shapes against the model; `batch` absent: one stream. Fields "h.shape", "c" ….
absl::StatusOr<StateView> ViewState(const v1::LstmState& state, const ModelSpec& spec, std::optional<int64_t> batch);

// h and c of one stream from the engine's arrays. Always float32, so that a state that is sent back is the same state.
void SetState(const ModelSpec& spec, const float* h, const float* c, v1::LstmState* state);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_CONVERT_TENSOR_H_
