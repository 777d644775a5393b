// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_CHECKPOINT_MAPPED_FILE_H_
#define LSTMD_ENGINE_CHECKPOINT_MAPPED_FILE_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace lstmd {

// A regular file as read-only memory. Arrays that point into it share ownership, so that gigabytes of weights are read
// once, by whoever needs them, and never copied on the way. Immutable, hence thread-safe.
//
// A file that is cut short while it is mapped ends the process when the missing part is touched, as with any mapping:
// replace model files by renaming new ones over them, never by writing into them.
class MappedFile {
 public:
  // INVALID_ARGUMENT / MODEL_FILE with the system's reason when there is no such file, it is no regular file or cannot
  // be read. Does not wait on pipes or devices.
  static absl::StatusOr<std::shared_ptr<const MappedFile>> Open(const std::string& path);

  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::string_view bytes() const { return {static_cast<const char*>(data_), size_}; }

 private:
  MappedFile(void* data, size_t size) : data_(data), size_(size) {}

  void* const data_;  // nullptr if the file is empty
  const size_t size_;
};

}  // namespace lstmd

#endif  // LSTMD_ENGINE_CHECKPOINT_MAPPED_FILE_H_
