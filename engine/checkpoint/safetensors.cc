// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/safetensors.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/checkpoint/mapped_file.h"
#include "engine/errors.h"
#include "engine/half.h"
#include "engine/json.h"

namespace lstmd {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxHeader = 100 << 20;
constexpr JsonLimits kJsonLimits = {kMaxHeader, /*max_depth=*/3, /*max_values=*/1'000'000};
constexpr char kMetadata[] = "__metadata__";

struct DTypeRow {
  DType dtype;
  std::string_view name;
  size_t size;
};

constexpr DTypeRow kDTypes[] = {
    {DType::kF32, "F32", 4},   {DType::kF16, "F16", 2},        {DType::kBF16, "BF16", 2},      {DType::kF64, "F64", 8},
    {DType::kBool, "BOOL", 1}, {DType::kU8, "U8", 1},          {DType::kI8, "I8", 1},          {DType::kU16, "U16", 2},
    {DType::kI16, "I16", 2},   {DType::kU32, "U32", 4},        {DType::kI32, "I32", 4},        {DType::kU64, "U64", 8},
    {DType::kI64, "I64", 8},   {DType::kF8E5M2, "F8_E5M2", 1}, {DType::kF8E4M3, "F8_E4M3", 1},
};

const DTypeRow& Row(DType dtype) { return kDTypes[static_cast<size_t>(dtype)]; }

absl::Status FileError(std::string_view what) { return InvalidArgument("MODEL_FILE", what); }

std::optional<uint64_t> AsUint(const Json& json) {
  if (!json.is_number_unsigned()) return std::nullopt;
  return json.get<uint64_t>();
}

absl::Status ReadShape(const Json& json, TensorView* tensor) {
  if (!json.is_array()) return FileError("shape is no array");
  tensor->elements = 1;
  for (const Json& dimension : json) {
    const std::optional<uint64_t> size = AsUint(dimension);
    if (!size) return FileError("shape has a dimension that is no integer from 0");
    if (__builtin_mul_overflow(tensor->elements, *size, &tensor->elements)) return FileError("shape overflows");
    tensor->shape.push_back(*size);
  }
  return absl::OkStatus();
}

struct Extent {
  uint64_t begin = 0;
  uint64_t end = 0;
  const std::string* name = nullptr;
};

absl::Status ReadTensor(const Json& json, std::string_view data, TensorView* tensor, Extent* extent) {
  if (!json.is_object() || json.size() != 3 || !json.contains("dtype") || !json.contains("shape") ||
      !json.contains("data_offsets")) {
    return FileError("want an object of dtype, shape and data_offsets");
  }
  const Json& dtype = json["dtype"];
  const auto* row = std::find_if(std::begin(kDTypes), std::end(kDTypes), [&dtype](const DTypeRow& candidate) {
    return dtype.is_string() && dtype.get_ref<const std::string&>() == candidate.name;
  });
  if (row == std::end(kDTypes)) return FileError("unknown dtype");
  tensor->dtype = row->dtype;
  absl::Status status = ReadShape(json["shape"], tensor);
  if (!status.ok()) return status;

  const Json& offsets = json["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !AsUint(offsets[0]) || !AsUint(offsets[1])) {
    return FileError("data_offsets: want two integers from 0");
  }
  extent->begin = *AsUint(offsets[0]);
  extent->end = *AsUint(offsets[1]);
  if (extent->begin > extent->end || extent->end > data.size()) {
    return FileError(absl::StrCat("data_offsets: got [", extent->begin, ", ", extent->end,
                                  "], want within the file's data of ", data.size(), " bytes"));
  }
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(tensor->elements, row->size, &bytes) || bytes != extent->end - extent->begin) {
    return FileError(absl::StrCat("data_offsets: got ", extent->end - extent->begin, " bytes for ", Describe(*tensor)));
  }
  tensor->data = data.data() + extent->begin;
  return absl::OkStatus();
}

// The tensors must cover the data from the first byte to the last, each byte once.
absl::Status CheckCover(std::vector<Extent> extents, uint64_t size) {
  std::sort(extents.begin(), extents.end(),
            [](const Extent& a, const Extent& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  uint64_t covered = 0;
  for (const Extent& extent : extents) {
    if (extent.begin != covered) {
      return FileError(absl::StrCat(
          "tensor '", *extent.name, "': data begin at ", extent.begin,
          extent.begin < covered ? ", within the tensor before, which ends at " : ", after a gap from ", covered));
    }
    covered = extent.end;
  }
  if (covered == size) return absl::OkStatus();
  return FileError(absl::StrCat("tensors cover ", covered, " bytes, but the file has ", size, " bytes of data"));
}

absl::Status ReadMetadata(const Json& json, std::map<std::string, std::string>* metadata) {
  if (!json.is_object()) return FileError("__metadata__: want an object");
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) return FileError(absl::StrCat("__metadata__.", key, ": want text"));
    (*metadata)[key] = value.get<std::string>();
  }
  return absl::OkStatus();
}

}  // namespace

std::string_view Name(DType dtype) { return Row(dtype).name; }

size_t SizeOf(DType dtype) { return Row(dtype).size; }

std::string Describe(const TensorView& tensor) {
  const std::string_view name = Name(tensor.dtype);
  return absl::StrCat(absl::string_view(name.data(), name.size()), " [", absl::StrJoin(tensor.shape, ", "), "]");
}

absl::StatusOr<TensorFile> ParseSafetensors(std::string_view bytes, std::shared_ptr<const void> owner) {
  uint64_t header_size = 0;
  if (bytes.size() < sizeof header_size) {
    return FileError(absl::StrCat("truncated: got ", bytes.size(), " bytes, want at least 8"));
  }
  std::memcpy(&header_size, bytes.data(), sizeof header_size);
  bytes.remove_prefix(sizeof header_size);
  if (header_size > bytes.size() || header_size > kMaxHeader) {
    return FileError(absl::StrCat("header: claims ", header_size, " bytes, want at most ",
                                  std::min<uint64_t>(bytes.size(), kMaxHeader)));
  }
  absl::StatusOr<Json> header = ParseJson(bytes.substr(0, header_size), kJsonLimits);
  if (!header.ok()) return FileError(absl::StrCat("header: ", header.status().message()));
  if (!header->is_object()) return FileError("header: want a JSON object");
  const std::string_view data = bytes.substr(header_size);

  TensorFile file;
  std::vector<Extent> extents;
  for (const auto& [name, entry] : header->items()) {
    if (name == kMetadata) {
      absl::Status status = ReadMetadata(entry, &file.metadata);
      if (!status.ok()) return status;
      continue;
    }
    TensorView tensor;
    Extent extent;
    absl::Status status = ReadTensor(entry, data, &tensor, &extent);
    if (!status.ok()) return PrefixMessage(status, absl::StrCat("tensor '", name, "': "));
    const auto added = file.tensors.emplace(name, std::move(tensor)).first;
    extent.name = &added->first;
    extents.push_back(extent);
  }
  absl::Status status = CheckCover(std::move(extents), data.size());
  if (!status.ok()) return status;
  file.owner = std::move(owner);
  return file;
}

absl::StatusOr<TensorFile> ReadSafetensors(const std::string& path) {
  absl::StatusOr<std::shared_ptr<const MappedFile>> mapped = MappedFile::Open(path);
  if (!mapped.ok()) return mapped.status();
  return ParseSafetensors((*mapped)->bytes(), *mapped);
}

absl::StatusOr<FloatArray> Floats(const TensorFile& file, const TensorView& tensor) {
  const size_t count = tensor.elements;
  if (tensor.dtype == DType::kF32 && reinterpret_cast<uintptr_t>(tensor.data) % alignof(float) == 0) {
    return FloatArray(absl::MakeConstSpan(reinterpret_cast<const float*>(tensor.data), count), file.owner);
  }
  std::vector<float> values(count);
  switch (tensor.dtype) {
    case DType::kF32:
      if (count != 0) std::memcpy(values.data(), tensor.data, count * sizeof(float));
      break;
    case DType::kF16:
      F16ToFloats(tensor.data, count, values.data());
      break;
    case DType::kBF16:
      Bf16ToFloats(tensor.data, count, values.data());
      break;
    case DType::kF64:
      for (size_t i = 0; i < count; ++i) {
        double value;
        std::memcpy(&value, tensor.data + i * sizeof value, sizeof value);
        if (std::isfinite(value) && std::abs(value) > std::numeric_limits<float>::max()) {
          return FileError(absl::StrCat("value ", i, " is ", value, ", beyond the range of float32"));
        }
        values[i] = static_cast<float>(value);
      }
      break;
    default:
      return FileError(absl::StrCat("got ", Describe(tensor), ", want F32, F16, BF16 or F64"));
  }
  return FloatArray(std::move(values));
}

TensorView View(const FloatArray& values, std::vector<uint64_t> shape) {
  return {DType::kF32, std::move(shape), reinterpret_cast<const char*>(values.data()), values.size()};
}

}  // namespace lstmd
