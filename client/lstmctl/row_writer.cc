// SPDX-License-Identifier: Apache-2.0
#include "client/lstmctl/row_writer.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/lstmctl/npy.h"
#include "client/lstmctl/print.h"
#include "client/lstmctl/rows.h"

namespace lstmd::client {
namespace {

constexpr size_t kMuch = 1 << 20;

absl::Status CannotWrite(const std::string& path) {
  return absl::UnknownError(
      absl::StrCat("cannot write ", path == "-" ? "standard output" : path, ": ", std::strerror(errno)));
}

}  // namespace

RowWriter::RowWriter(const std::string& path, bool json) : path_(path), json_(json), npy_(IsNpyPath(path)) {
  if (!npy_) {
    file_ = path == "-" ? stdout : std::fopen(path.c_str(), "wb");
    if (file_ == nullptr) {
      MutexLock lock(&mutex_);
      status_ = CannotWrite(path_);
    }
  }
  worker_ = std::thread([this] { Work(); });
}

RowWriter::~RowWriter() { Finish().IgnoreError(); }

void RowWriter::Append(absl::Span<const float> row) {
  MutexLock lock(&mutex_);
  if (npy_) {
    rows_.values.insert(rows_.values.end(), row.begin(), row.end());
    rows_.shape = {(rows_.shape.empty() ? 0 : rows_.shape[0]) + 1, static_cast<int64_t>(row.size())};
    return;
  }
  if (json_) {
    Array array{{static_cast<int64_t>(row.size())}, {row.begin(), row.end()}};
    absl::StrAppend(&text_, ToJson(array).dump(), "\n");
  } else {
    AppendCsv(row, &text_);
  }
  changed_.SignalAll();
}

bool RowWriter::WaitForRoom() {
  MutexLock lock(&mutex_);
  while (text_.size() > kMuch && status_.ok()) changed_.Wait(&mutex_);
  return status_.ok();
}

absl::Status RowWriter::Finish() {
  {
    MutexLock lock(&mutex_);
    finished_ = true;
    changed_.SignalAll();
  }
  if (worker_.joinable()) worker_.join();
  MutexLock lock(&mutex_);
  if (npy_ && status_.ok() && !rows_.shape.empty()) {
    status_ = WriteNpy(path_, rows_);
    rows_ = Array();
  }
  return status_;
}

void RowWriter::Work() {
  std::string text;
  while (true) {
    {
      MutexLock lock(&mutex_);
      while (text_.empty() && !finished_) changed_.Wait(&mutex_);
      if (text_.empty()) break;
      text.swap(text_);
      text_.clear();
      changed_.SignalAll();
      if (!status_.ok()) continue;
    }
    errno = 0;
    if (std::fwrite(text.data(), 1, text.size(), file_) != text.size() || std::fflush(file_) != 0) {
      MutexLock lock(&mutex_);
      status_ = CannotWrite(path_);
    }
    text.clear();
  }
  if (file_ != nullptr && file_ != stdout && std::fclose(file_) != 0) {
    MutexLock lock(&mutex_);
    if (status_.ok()) status_ = CannotWrite(path_);
  }
}

}  // namespace lstmd::client
