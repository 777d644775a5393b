// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/checkpoint/safetensors.h"
#include "engine/errors.h"
#include "engine/json.h"

namespace lstmd {
namespace {

using Entry = std::map<std::string, TensorView>::value_type;

// Widest elements first, so that everything is aligned to its own size.
std::vector<const Entry*> Order(const std::map<std::string, TensorView>& tensors) {
  std::vector<const Entry*> order;
  for (const Entry& entry : tensors) order.push_back(&entry);
  std::stable_sort(order.begin(), order.end(),
                   [](const Entry* a, const Entry* b) { return SizeOf(a->second.dtype) > SizeOf(b->second.dtype); });
  return order;
}

uint64_t Bytes(const TensorView& tensor) { return tensor.elements * SizeOf(tensor.dtype); }

std::string Header(const std::vector<const Entry*>& order, const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const Entry* entry : order) {
    const uint64_t end = offset + Bytes(entry->second);
    header[entry->first] = {
        {"dtype", Name(entry->second.dtype)}, {"shape", entry->second.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string json = header.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  while (json.size() % 8 != 0) json += ' ';
  std::string text(8, '\0');
  for (int i = 0; i < 8; ++i) text[i] = static_cast<char>(uint64_t{json.size()} >> (8 * i));
  return text + json;
}

// A file that is removed unless it is kept.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string path)
      : path_(std::move(path)), fd_(open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {}
  ~TemporaryFile() {
    if (fd_ >= 0) close(fd_);
    if (!path_.empty()) unlink(path_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  bool is_open() const { return fd_ >= 0; }

  bool Write(const char* data, uint64_t size) {
    while (size != 0) {
      const ssize_t written = write(fd_, data, std::min<uint64_t>(size, 1 << 30));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return false;
      data += written;
      size -= static_cast<uint64_t>(written);
    }
    return true;
  }

  // To disk, and to its final name.
  bool KeepAs(const std::string& path) {
    if (fsync(fd_) != 0 || rename(path_.c_str(), path.c_str()) != 0) return false;
    path_.clear();
    return true;
  }

 private:
  std::string path_;
  const int fd_;
};

absl::Status WriteError(const std::string& path) {
  return Internal("MODEL_FILE", absl::StrCat("cannot write ", path, ": ", std::generic_category().message(errno)));
}

}  // namespace

std::string SerializeSafetensors(const std::map<std::string, TensorView>& tensors,
                                 const std::map<std::string, std::string>& metadata) {
  const std::vector<const Entry*> order = Order(tensors);
  std::string bytes = Header(order, metadata);
  for (const Entry* entry : order) bytes.append(entry->second.data, Bytes(entry->second));
  return bytes;
}

absl::Status WriteSafetensors(const std::string& path, const std::map<std::string, TensorView>& tensors,
                              const std::map<std::string, std::string>& metadata) {
  const std::vector<const Entry*> order = Order(tensors);
  const std::string header = Header(order, metadata);
  TemporaryFile file(absl::StrCat(path, ".", getpid(), ".tmp"));
  if (!file.is_open() || !file.Write(header.data(), header.size())) return WriteError(path);
  for (const Entry* entry : order) {
    if (!file.Write(entry->second.data, Bytes(entry->second))) return WriteError(path);
  }
  return file.KeepAs(path) ? absl::OkStatus() : WriteError(path);
}

}  // namespace lstmd
