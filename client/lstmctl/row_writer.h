// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_CLIENT_LSTMCTL_ROW_WRITER_H_
#define LSTMD_CLIENT_LSTMCTL_ROW_WRITER_H_

#include <cstdio>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "client/array.h"
#include "client/mutex.h"

namespace lstmd::client {

// Takes rows from a thread that must not block and writes them as they come, on a thread of its own: CSV, JSON lists
// one a line, or a .npy file at the end.
class RowWriter {
 public:
  // `path`: "-" is standard output; a name that ends in .npy is written as such.
  RowWriter(const std::string& path, bool json);
  // Writes what is left.
  ~RowWriter();

  // Never blocks.
  void Append(absl::Span<const float> row);
  // Blocks while much is waiting to be written. Returns false when writing has failed.
  bool WaitForRoom();
  // Waits until all is written. UNKNOWN with the path and what the system says.
  absl::Status Finish();

 private:
  void Work();

  const std::string path_;
  const bool json_;
  const bool npy_;
  std::FILE* file_ = nullptr;

  Mutex mutex_;
  CondVar changed_;
  std::string text_ ABSL_GUARDED_BY(mutex_);
  Array rows_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread worker_;
};

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_LSTMCTL_ROW_WRITER_H_
