// SPDX-License-Identifier: Apache-2.0
//
// The safetensors format: 8 bytes N (little-endian), N bytes of JSON {"name": {"dtype", "shape", "data_offsets": [begin,
// end]}, …, "__metadata__": {text: text}}, then the data, to which the offsets are relative and which they cover without
// overlap or gap.
#ifndef LSTMD_ENGINE_CHECKPOINT_SAFETENSORS_H_
#define LSTMD_ENGINE_CHECKPOINT_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/weights.h"

namespace lstmd {

// Element types of the format. Only those that Floats takes can be weights.
enum class DType : uint8_t { kF32, kF16, kBF16, kF64, kBool, kU8, kI8, kU16, kI16, kU32, kI32, kU64, kI64, kF8E5M2,
                             kF8E4M3 };

// As in files: "F32".
std::string_view Name(DType dtype);
size_t SizeOf(DType dtype);

// A tensor that points into memory that its owner keeps.
struct TensorView {
  DType dtype = DType::kF32;
  std::vector<uint64_t> shape;
  const char* data = nullptr;
  uint64_t elements = 0;  // product of shape; the data are that many elements
};

// "F32 [4, 3]", for messages.
std::string Describe(const TensorView& tensor);

// What stands in a file. Immutable; copies are cheap in data, and share them.
struct TensorFile {
  std::map<std::string, TensorView> tensors;
  std::map<std::string, std::string> metadata;
  std::shared_ptr<const void> owner;  // of the data
};

// Maps and checks a file. INVALID_ARGUMENT / MODEL_FILE with what is wrong: a header that is longer than the file (or
// than 100 MiB), is no JSON or not of the form above; unknown dtypes; shapes that overflow or do not fit their offsets;
// offsets out of range, overlapping or with gaps. Allocates in proportion to the header only.
absl::StatusOr<TensorFile> ReadSafetensors(const std::string& path);

// The same for a file's bytes, which stay valid as long as `owner` lives.
absl::StatusOr<TensorFile> ParseSafetensors(std::string_view bytes, std::shared_ptr<const void> owner);

// A tensor's values: in place if they are F32 and aligned, else converted from F16, BF16 or F64. INVALID_ARGUMENT /
// MODEL_FILE for other types, and for an F64 beyond the range of float32.
absl::StatusOr<FloatArray> Floats(const TensorFile& file, const TensorView& tensor);

// Writes a file that ReadSafetensors reads back, data aligned to 8 bytes. It appears under its name only when it is
// complete and on disk; a file of this name is replaced. REQUIRES: elements is the product of shape.
// INTERNAL / MODEL_FILE with the system's reason.
absl::Status WriteSafetensors(const std::string& path, const std::map<std::string, TensorView>& tensors,
                              const std::map<std::string, std::string>& metadata);

// The file as bytes.
std::string SerializeSafetensors(const std::map<std::string, TensorView>& tensors,
                                 const std::map<std::string, std::string>& metadata);

// A view on `values`, which must outlive it. REQUIRES: the product of shape is the number of values.
TensorView View(const FloatArray& values, std::vector<uint64_t> shape);

}  // namespace lstmd

#endif  // LSTMD_ENGINE_CHECKPOINT_SAFETENSORS_H_
