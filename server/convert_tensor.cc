// SPDX-License-Identifier: Apache-2.0
#include "server/convert_tensor.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/errors.h"
#include "engine/half.h"

namespace lstmd::server {
namespace {

constexpr int kMaxRank = 8;
constexpr size_t kMinBlock = 1024;

}  // namespace

std::string ShapeText(absl::Span<const int64_t> shape) {
  const bool cut = shape.size() > kMaxRank;
  return absl::StrCat("[", absl::StrJoin(shape.subspan(0, kMaxRank), ", "), cut ? ", …]" : "]");
}

absl::Status ShapeError(std::string_view what, absl::Span<const int64_t> got, std::string_view want) {
  const std::string text = ShapeText(got);
  const std::string wanted(want);
  return InvalidArgument("TENSOR_SHAPE",
                         absl::StrCat("shape of ", std::string(what), ": got ", text, ", want ", wanted))
      .Field("shape")
      .With("got", text)
      .With("want", wanted);
}

size_t ElementSize(v1::DataType dtype) { return dtype == v1::DATA_TYPE_F32 ? 4 : 2; }

absl::StatusOr<TensorView> ViewTensor(const v1::Tensor& tensor) {
  TensorView view;
  switch (tensor.dtype()) {
    case v1::DATA_TYPE_UNSPECIFIED:
      break;
    case v1::DATA_TYPE_F32:
    case v1::DATA_TYPE_F16:
    case v1::DATA_TYPE_BF16:
      view.dtype = tensor.dtype();
      break;
    default:
      return InvalidArgument("TENSOR_DTYPE", absl::StrCat("got dtype ", static_cast<int>(tensor.dtype()),
                                                          ", want DATA_TYPE_F32, DATA_TYPE_F16 or DATA_TYPE_BF16"))
          .Field("dtype")
          .With("got", std::to_string(static_cast<int>(tensor.dtype())));
  }
  view.shape = absl::MakeConstSpan(tensor.shape().data(), static_cast<size_t>(tensor.shape_size()));
  if (view.shape.empty()) return ShapeError("the tensor", view.shape, "at least one dimension");
  if (view.shape.size() > kMaxRank) return ShapeError("the tensor", view.shape, "at most 8 dimensions");
  uint64_t elements = 1;
  bool overflow = false;
  for (const int64_t dim : view.shape) {
    if (dim < 0) return ShapeError("the tensor", view.shape, "no negative dimension");
    overflow |= __builtin_mul_overflow(elements, static_cast<uint64_t>(dim), &elements);
  }
  // A dimension of 0 makes the product 0 whatever the others are; a later multiplication may still have overflowed.
  if (std::find(view.shape.begin(), view.shape.end(), 0) != view.shape.end()) {
    elements = 0;
    overflow = false;
  }
  if (overflow || elements > (uint64_t{1} << 60)) {
    return ShapeError("the tensor", view.shape, "a product that fits 64 bits");
  }
  const uint64_t want = elements * ElementSize(view.dtype);
  if (tensor.data().size() != want) {
    return InvalidArgument("TENSOR_BYTES",
                           absl::StrCat("got ", tensor.data().size(), " bytes, want ", want, " for the shape ",
                                        ShapeText(view.shape), " of ", ElementSize(view.dtype), "-byte elements"))
        .Field("data")
        .With("got", std::to_string(tensor.data().size()))
        .With("want", std::to_string(want));
  }
  view.data = tensor.data().data();
  view.elements = elements;
  return view;
}

void ReadFloats(const TensorView& view, size_t offset, size_t count, float* to) {
  const char* from = view.data + offset * ElementSize(view.dtype);
  if (count == 0) return;
  if (view.dtype == v1::DATA_TYPE_F16) {
    F16ToFloats(from, count, to);
  } else if (view.dtype == v1::DATA_TYPE_BF16) {
    Bf16ToFloats(from, count, to);
  } else {
    std::memcpy(to, from, count * sizeof(float));
  }
}

void WriteFloats(const float* from, size_t count, v1::DataType dtype, char* to) {
  if (count == 0) return;
  if (dtype == v1::DATA_TYPE_F16) {
    FloatsToF16(from, count, to);
  } else if (dtype == v1::DATA_TYPE_BF16) {
    FloatsToBf16(from, count, to);
  } else {
    std::memcpy(to, from, count * sizeof(float));
  }
}

void SetTensor(v1::DataType dtype, std::initializer_list<int64_t> shape, v1::Tensor* tensor) {
  tensor->set_dtype(dtype);
  tensor->clear_shape();
  size_t elements = 1;
  for (const int64_t dim : shape) {
    tensor->add_shape(dim);
    elements *= static_cast<size_t>(dim);
  }
  tensor->mutable_data()->resize(elements * ElementSize(dtype));
}

float* FloatScratch::Allocate(size_t count) {
  constexpr size_t kLine = 16;
  const size_t rounded = (count + kLine - 1) / kLine * kLine;
  if (blocks_.empty() || blocks_.back().size - blocks_.back().used < rounded) {
    const size_t size = std::max({rounded, kMinBlock, blocks_.empty() ? 0 : 2 * blocks_.back().size});
    blocks_.push_back({std::unique_ptr<float[]>(new float[size]), size, 0});
  }
  Block& block = blocks_.back();
  float* result = block.data.get() + block.used;
  block.used += rounded;
  return result;
}

void FloatScratch::Reset() {
  constexpr size_t kKeep = size_t{256} << 10;
  if (blocks_.empty()) return;
  if (blocks_.back().size > kKeep) {
    blocks_.clear();
    return;
  }
  blocks_.erase(blocks_.begin(), blocks_.end() - 1);
  blocks_.back().used = 0;
}

namespace {

absl::StatusOr<TensorView> ViewStatePart(const v1::Tensor& tensor, std::string_view name, int64_t cells, int64_t size,
                                         std::optional<int64_t> batch) {
  absl::StatusOr<TensorView> view = ViewTensor(tensor);
  const std::string prefix = absl::StrCat(std::string(name), ".");
  if (!view.ok()) return PrefixField(view.status(), prefix);
  const std::vector<int64_t> want =
      batch ? std::vector<int64_t>{cells, *batch, size} : std::vector<int64_t>{cells, size};
  if (view->shape != absl::MakeConstSpan(want)) {
    return PrefixField(ShapeError(name, view->shape, ShapeText(want)), prefix);
  }
  return view;
}

}  // namespace

absl::StatusOr<StateView> ViewState(const v1::LstmState& state, const ModelSpec& spec, std::optional<int64_t> batch) {
  const auto missing = [](const char* name) {
    return InvalidArgument("TENSOR_SHAPE", absl::StrCat("the state has no ", name, ", want both h and c")).Field(name);
  };
  if (!state.has_h()) return missing("h");
  absl::StatusOr<TensorView> h = ViewStatePart(state.h(), "h", spec.cells(), spec.hidden_state_size(), batch);
  if (!h.ok()) return h.status();
  if (!state.has_c()) return missing("c");
  absl::StatusOr<TensorView> c = ViewStatePart(state.c(), "c", spec.cells(), spec.hidden_size, batch);
  if (!c.ok()) return c.status();
  return StateView{*h, *c};
}

void SetState(const ModelSpec& spec, const float* h, const float* c, v1::LstmState* state) {
  SetTensor(v1::DATA_TYPE_F32, {spec.cells(), spec.hidden_state_size()}, state->mutable_h());
  WriteFloats(h, spec.h_size(), v1::DATA_TYPE_F32, state->mutable_h()->mutable_data()->data());
  SetTensor(v1::DATA_TYPE_F32, {spec.cells(), spec.hidden_size}, state->mutable_c());
  WriteFloats(c, spec.c_size(), v1::DATA_TYPE_F32, state->mutable_c()->mutable_data()->data());
}

}  // namespace lstmd::server
