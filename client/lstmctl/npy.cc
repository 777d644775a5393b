// SPDX-License-Identifier: Apache-2.0
#include "client/lstmctl/npy.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace lstmd::client {
namespace {

constexpr size_t kMagicSize = 6;

absl::Status Bad(absl::string_view what) { return absl::InvalidArgumentError(absl::StrCat("not a .npy file: ", what)); }

// The text after "'key':" in the header's Python dict. The keys of the format never occur within its values.
absl::StatusOr<absl::string_view> Value(absl::string_view header, absl::string_view key) {
  for (const char quote : {'\'', '"'}) {
    const std::string quoted = absl::StrCat(absl::string_view(&quote, 1), key, absl::string_view(&quote, 1));
    const size_t at = header.find(quoted);
    if (at == absl::string_view::npos) continue;
    absl::string_view rest = absl::StripLeadingAsciiWhitespace(header.substr(at + quoted.size()));
    if (absl::ConsumePrefix(&rest, ":")) return absl::StripLeadingAsciiWhitespace(rest);
  }
  return Bad(absl::StrCat("its header has no '", key, "'"));
}

absl::StatusOr<std::vector<int64_t>> ParseShape(absl::string_view text) {
  const size_t end = text.find(')');
  if (text.empty() || text[0] != '(' || end == absl::string_view::npos) return Bad("its shape is no tuple");
  std::vector<int64_t> shape;
  for (const absl::string_view part : absl::StrSplit(text.substr(1, end - 1), ',')) {
    const absl::string_view number = absl::StripAsciiWhitespace(part);
    if (number.empty()) continue;
    int64_t size;
    if (!absl::SimpleAtoi(number, &size) || size < 0) return Bad(absl::StrCat("its shape has '", number, "'"));
    shape.push_back(size);
  }
  if (shape.size() > 8) return Bad("its shape has more than 8 dimensions");
  return shape;
}

}  // namespace

absl::StatusOr<Array> ParseNpy(absl::string_view bytes) {
  if (!absl::StartsWith(bytes, kNpyMagic) || bytes.size() < kMagicSize + 4) return Bad("it does not begin like one");
  const int major = static_cast<unsigned char>(bytes[kMagicSize]);
  if (major < 1 || major > 3) return Bad(absl::StrCat("format version ", major, " is not known"));
  const size_t length_size = major == 1 ? 2 : 4;
  const size_t header_at = kMagicSize + 2 + length_size;
  if (bytes.size() < header_at) return Bad("it ends within its header");
  uint32_t header_size = 0;
  std::memcpy(&header_size, bytes.data() + kMagicSize + 2, length_size);
  if (header_size > bytes.size() - header_at) return Bad("it ends within its header");
  const absl::string_view header = bytes.substr(header_at, header_size);
  const absl::string_view data = bytes.substr(header_at + header_size);

  absl::StatusOr<absl::string_view> descr = Value(header, "descr");
  if (!descr.ok()) return descr.status();
  const bool f4 = absl::StartsWith(*descr, "'<f4'") || absl::StartsWith(*descr, "\"<f4\"");
  const bool f8 = absl::StartsWith(*descr, "'<f8'") || absl::StartsWith(*descr, "\"<f8\"");
  if (!f4 && !f8) {
    return absl::InvalidArgumentError(absl::StrCat(".npy of type ", descr->substr(0, descr->find_first_of(",}")),
                                                   " is not read; convert it with .astype('<f4')"));
  }
  absl::StatusOr<absl::string_view> order = Value(header, "fortran_order");
  if (!order.ok()) return order.status();
  if (!absl::StartsWith(*order, "False")) {
    return absl::InvalidArgumentError(".npy in Fortran order is not read; convert it with numpy.ascontiguousarray");
  }
  absl::StatusOr<absl::string_view> shape_text = Value(header, "shape");
  if (!shape_text.ok()) return shape_text.status();
  absl::StatusOr<std::vector<int64_t>> shape = ParseShape(*shape_text);
  if (!shape.ok()) return shape.status();

  const size_t element = f4 ? 4 : 8;
  // The product may not fit in 64 bits, and a 0 must not hide that the rest is absurd.
  unsigned __int128 count = 1;
  for (const int64_t size : *shape) {
    count *= static_cast<uint64_t>(size);
    if (count > data.size()) break;
  }
  if (count * element != data.size()) {
    return Bad(absl::StrCat("shape (", absl::StrJoin(*shape, ", "), ") of ", element, "-byte numbers does not fit ",
                            data.size(), " bytes of data"));
  }
  Array array;
  array.shape = *std::move(shape);
  array.values.resize(data.size() / element);
  if (f4) {
    if (!data.empty()) std::memcpy(array.values.data(), data.data(), data.size());
  } else {
    for (size_t i = 0; i < array.values.size(); ++i) {
      double value;
      std::memcpy(&value, data.data() + i * sizeof(value), sizeof(value));
      array.values[i] = static_cast<float>(value);
    }
  }
  return array;
}

std::string FormatNpy(const Array& array) {
  std::string header = absl::StrCat("{'descr': '<f4', 'fortran_order': False, 'shape': (",
                                    absl::StrJoin(array.shape, ", "), array.shape.size() == 1 ? ",), }" : "), }");
  // Data begins at a multiple of 64; the header ends in a newline.
  const size_t before = kMagicSize + 4;
  header.append(63 - (before + header.size()) % 64, ' ');
  header.push_back('\n');
  std::string bytes(kNpyMagic, kMagicSize);
  bytes.append({'\1', '\0', static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)});
  bytes.append(header);
  bytes.append(reinterpret_cast<const char*>(array.values.data()), array.values.size() * sizeof(float));
  return bytes;
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return absl::NotFoundError(absl::StrCat("cannot open ", path, ": ", std::strerror(errno)));
  }
  std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (file.bad()) return absl::UnknownError(absl::StrCat("cannot read ", path, ": ", std::strerror(errno)));
  return bytes;
}

absl::StatusOr<Array> ReadNpy(const std::string& path) {
  absl::StatusOr<std::string> bytes = ReadFile(path);
  if (!bytes.ok()) return bytes.status();
  absl::StatusOr<Array> array = ParseNpy(*bytes);
  if (!array.ok()) return absl::Status(array.status().code(), absl::StrCat(path, ": ", array.status().message()));
  return array;
}

absl::Status WriteFile(const std::string& path, absl::string_view bytes) {
  errno = 0;
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) return absl::UnknownError(absl::StrCat("cannot write ", path, ": ", std::strerror(errno)));
  return absl::OkStatus();
}

absl::Status WriteNpy(const std::string& path, const Array& array) { return WriteFile(path, FormatNpy(array)); }

}  // namespace lstmd::client
