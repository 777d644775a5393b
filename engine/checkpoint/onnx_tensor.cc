// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/onnx_tensor.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/checkpoint/onnx_view.h"
#include "engine/errors.h"
#include "engine/half.h"

namespace lstmd::onnx {
namespace {

constexpr size_t kLongestName = 120;

absl::Status TensorError(const TensorProto& tensor, absl::string_view why) {
  return FileError(absl::StrCat("tensor ", Quoted(tensor.name()), ": ", why));
}

// Bytes of one element in raw form, 0 for types that are not read.
size_t ElementSize(int32_t type) {
  switch (type) {
    case TensorProto::BOOL:
    case TensorProto::INT8:
    case TensorProto::UINT8:
      return 1;
    case TensorProto::FLOAT16:
    case TensorProto::BFLOAT16:
    case TensorProto::INT16:
    case TensorProto::UINT16:
      return 2;
    case TensorProto::FLOAT:
    case TensorProto::INT32:
    case TensorProto::UINT32:
      return 4;
    case TensorProto::DOUBLE:
    case TensorProto::INT64:
    case TensorProto::UINT64:
      return 8;
    default:
      return 0;
  }
}

template <typename From, typename To>
void Convert(const char* bytes, std::vector<To>* to) {
  for (size_t i = 0; i < to->size(); ++i) {
    From value;
    std::memcpy(&value, bytes + i * sizeof value, sizeof value);
    (*to)[i] = static_cast<To>(value);
  }
}

// REQUIRES: `bytes` holds `count` elements of `type`, which is a float type.
std::vector<float> RawFloats(int32_t type, const char* bytes, size_t count) {
  std::vector<float> values(count);
  if (type == TensorProto::FLOAT16) {
    F16ToFloats(bytes, count, values.data());
  } else if (type == TensorProto::BFLOAT16) {
    Bf16ToFloats(bytes, count, values.data());
  } else if (type == TensorProto::DOUBLE) {
    Convert<double>(bytes, &values);
  } else {
    Convert<float>(bytes, &values);
  }
  return values;
}

// REQUIRES: as RawFloats, of an integer type.
std::vector<int64_t> RawInts(int32_t type, const char* bytes, size_t count) {
  std::vector<int64_t> values(count);
  switch (type) {
    case TensorProto::BOOL:
    case TensorProto::UINT8:
      Convert<uint8_t>(bytes, &values);
      break;
    case TensorProto::INT8:
      Convert<int8_t>(bytes, &values);
      break;
    case TensorProto::INT16:
      Convert<int16_t>(bytes, &values);
      break;
    case TensorProto::UINT16:
      Convert<uint16_t>(bytes, &values);
      break;
    case TensorProto::INT32:
      Convert<int32_t>(bytes, &values);
      break;
    case TensorProto::UINT32:
      Convert<uint32_t>(bytes, &values);
      break;
    default:
      Convert<int64_t>(bytes, &values);
      break;
  }
  return values;
}

// Number of values in the typed field that belongs to the tensor's type.
size_t TypedCount(const TensorProto& tensor) {
  switch (tensor.data_type()) {
    case TensorProto::FLOAT:
      return static_cast<size_t>(tensor.float_data_size());
    case TensorProto::DOUBLE:
      return static_cast<size_t>(tensor.double_data_size());
    case TensorProto::INT64:
      return static_cast<size_t>(tensor.int64_data_size());
    case TensorProto::UINT32:
    case TensorProto::UINT64:
      return static_cast<size_t>(tensor.uint64_data_size());
    default:
      return static_cast<size_t>(tensor.int32_data_size());
  }
}

std::vector<float> TypedFloats(const TensorProto& tensor) {
  if (tensor.data_type() == TensorProto::FLOAT) return {tensor.float_data().begin(), tensor.float_data().end()};
  std::vector<float> values;
  values.reserve(TypedCount(tensor));
  if (tensor.data_type() == TensorProto::DOUBLE) {
    for (const double value : tensor.double_data()) values.push_back(static_cast<float>(value));
  } else {
    const bool f16 = tensor.data_type() == TensorProto::FLOAT16;
    for (const int32_t bits : tensor.int32_data()) {
      values.push_back(f16 ? F16ToFloat(static_cast<uint16_t>(bits)) : Bf16ToFloat(static_cast<uint16_t>(bits)));
    }
  }
  return values;
}

std::vector<int64_t> TypedInts(const TensorProto& tensor) {
  switch (tensor.data_type()) {
    case TensorProto::INT64:
      return {tensor.int64_data().begin(), tensor.int64_data().end()};
    case TensorProto::UINT32:
    case TensorProto::UINT64:
      return {tensor.uint64_data().begin(), tensor.uint64_data().end()};
    default:
      return {tensor.int32_data().begin(), tensor.int32_data().end()};
  }
}

class File {
 public:
  explicit File(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)) {}
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  // Nothing when it is no regular file.
  std::optional<uint64_t> Size() const {
    struct stat info;
    if (fd_ < 0 || ::fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
    return static_cast<uint64_t>(info.st_size);
  }

  bool Read(uint64_t offset, char* to, size_t count) const {
    while (count > 0) {
      const ssize_t got = ::pread(fd_, to, count, static_cast<off_t>(offset));
      if (got <= 0) return false;
      offset += static_cast<uint64_t>(got);
      to += got;
      count -= static_cast<size_t>(got);
    }
    return true;
  }

 private:
  int fd_;
};

// The `size` bytes of a tensor that lies in another file.
absl::StatusOr<std::string> ReadExternal(const TensorProto& tensor, const DataFolder& folder, uint64_t size) {
  uint64_t offset = 0;
  uint64_t length = size;
  for (const TensorProto::Entry& entry : tensor.external_data()) {
    if ((entry.key() == "offset" && !absl::SimpleAtoi(entry.value(), &offset)) ||
        (entry.key() == "length" && !absl::SimpleAtoi(entry.value(), &length))) {
      return TensorError(tensor, absl::StrCat("external ", entry.key(), " ", Quoted(entry.value()), " is no number"));
    }
  }
  if (folder.folder.empty()) {
    return TensorError(tensor, "its data is in another file, and there is no folder to look for it");
  }
  const absl::StatusOr<std::string> location = DataFile(tensor);
  if (!location.ok()) return location.status();
  const File file(absl::StrCat(folder.folder, "/", *location));
  const std::optional<uint64_t> available = file.Size();
  if (!available) return TensorError(tensor, absl::StrCat("data file ", Quoted(*location), " cannot be read"));
  if (length != size) {
    return TensorError(tensor, absl::StrCat("external data: got ", length, " bytes, want ", size));
  }
  if (offset > *available || size > *available - offset) {
    return TensorError(tensor, absl::StrCat("data file ", Quoted(*location), ": got ", *available, " bytes, want ",
                                            size, " from ", offset));
  }
  std::string bytes(size, '\0');
  if (!file.Read(offset, bytes.data(), bytes.size())) {
    return TensorError(tensor, absl::StrCat("data file ", Quoted(*location), " cannot be read"));
  }
  return bytes;
}

}  // namespace

bool IsFloat(int32_t type) {
  return type == TensorProto::FLOAT || type == TensorProto::FLOAT16 || type == TensorProto::BFLOAT16 ||
         type == TensorProto::DOUBLE;
}

bool IsInt(int32_t type) { return !IsFloat(type) && ElementSize(type) != 0; }

std::string TypeName(int32_t type) {
  if (!TensorProto::DataType_IsValid(type)) return absl::StrCat("type ", type);
  return TensorProto::DataType_Name(static_cast<TensorProto::DataType>(type));
}

absl::StatusOr<std::string> DataFile(const TensorProto& tensor) {
  std::string location;
  for (const TensorProto::Entry& entry : tensor.external_data()) {
    if (entry.key() == "location") location = entry.value();
  }
  if (location.rfind("./", 0) == 0) location.erase(0, 2);
  if (location.empty() || location[0] == '.' || location.find('/') != std::string::npos ||
      location.find('\0') != std::string::npos) {
    return TensorError(tensor, absl::StrCat("data file ", Quoted(location), ": want a plain name beside the model"));
  }
  return location;
}

absl::StatusOr<Tensor> Decode(const TensorProto& tensor, const DataFolder& folder) {
  Tensor result{{tensor.dims().begin(), tensor.dims().end()}, {}};
  const int32_t type = tensor.data_type();
  const size_t size = ElementSize(type);
  if (size == 0) return TensorError(tensor, absl::StrCat("elements of ", TypeName(type), " are not read"));
  if (tensor.has_segment()) return TensorError(tensor, "segments are not read");
  const std::optional<int64_t> count = ElementsOf(result.dims);
  if (!count) return TensorError(tensor, absl::StrCat("shape ", ShapeText(result.dims), " is impossible"));
  const auto elements = static_cast<uint64_t>(*count);
  std::string external;
  const std::string* raw = tensor.has_raw_data() ? &tensor.raw_data() : nullptr;
  if (tensor.data_location() == 1) {
    absl::StatusOr<std::string> bytes = ReadExternal(tensor, folder, elements * size);
    if (!bytes.ok()) return bytes.status();
    external = *std::move(bytes);
    raw = &external;
  }
  const uint64_t got = raw != nullptr ? raw->size() : TypedCount(tensor);
  const uint64_t want = raw != nullptr ? elements * size : elements;
  if (got != want) {
    return TensorError(tensor, absl::StrCat("data of ", TypeName(type), " ", ShapeText(result.dims), ": got ", got,
                                            raw != nullptr ? " bytes" : " elements", ", want ", want));
  }
  if (IsFloat(type)) {
    result.values = std::make_shared<const std::vector<float>>(raw != nullptr ? RawFloats(type, raw->data(), elements)
                                                                              : TypedFloats(tensor));
  } else {
    result.values = std::make_shared<const std::vector<int64_t>>(raw != nullptr ? RawInts(type, raw->data(), elements)
                                                                                : TypedInts(tensor));
  }
  return result;
}

std::string Quoted(std::string_view name) {
  const std::string escaped = absl::CHexEscape(absl::string_view(name.data(), std::min(name.size(), kLongestName)));
  return absl::StrCat("'", escaped, name.size() > kLongestName ? "…'" : "'");
}

std::string ShapeText(const std::vector<int64_t>& dims) {
  constexpr size_t kMost = 16;
  if (dims.size() <= kMost) return absl::StrCat("[", absl::StrJoin(dims, ", "), "]");
  return absl::StrCat("[", absl::StrJoin(dims.begin(), dims.begin() + kMost, ", "), ", …]");
}

absl::Status FileError(absl::string_view message) {
  return InvalidArgument("MODEL_FILE", {message.data(), message.size()});
}

}  // namespace lstmd::onnx
