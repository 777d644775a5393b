// SPDX-License-Identifier: Apache-2.0
#include "server/file_watcher.h"

#include <sys/stat.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace lstmd::server {

FileWatcher::FileWatcher(std::vector<std::string> files, absl::Duration interval, std::function<void()> changed)
    : files_(std::move(files)), changed_(std::move(changed)), seen_(Stamp()), thread_(interval, [this, interval] {
        Look();
        return interval;
      }) {}

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

void FileWatcher::Look() {
  std::string now = Stamp();
  if (now == seen_) return;
  seen_ = std::move(now);
  changed_();
}

}  // namespace lstmd::server
