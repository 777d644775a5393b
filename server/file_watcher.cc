// SPDX-License-Identifier: Apache-2.0
#include "server/file_watcher.h"

#include <sys/stat.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace lstmd::server {

FileWatcher::FileWatcher(std::vector<std::string> files, absl::Duration interval, std::function<void()> changed)
    : files_(std::move(files)), interval_(interval), changed_(std::move(changed)), seen_(Stamp()), thread_([this] {
        Watch();
      }) {}

FileWatcher::~FileWatcher() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  wake_.SignalAll();
  thread_.join();
}

std::string FileWatcher::Stamp() const {
  std::string stamp;
  for (const std::string& file : files_) {
    struct stat status = {};
    if (stat(file.c_str(), &status) != 0) status = {};
    absl::StrAppend(&stamp, status.st_dev, " ", status.st_ino, " ", status.st_size, " ", status.st_mtim.tv_sec, " ",
                    status.st_mtim.tv_nsec, "\n");
  }
  return stamp;
}

void FileWatcher::Watch() {
  while (true) {
    {
      MutexLock lock(&mutex_);
      if (!stopping_) wake_.WaitFor(&mutex_, interval_);
      if (stopping_) return;
    }
    std::string now = Stamp();
    if (now == seen_) continue;
    seen_ = std::move(now);
    changed_();
  }
}

}  // namespace lstmd::server
