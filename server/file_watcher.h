// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_FILE_WATCHER_H_
#define LSTMD_SERVER_FILE_WATCHER_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "engine/interval_thread.h"

namespace lstmd::server {

// Calls `changed` after one of the files is another than before: written, replaced, or a link that points elsewhere.
// Looks at them from a thread of its own, which inotify would not spare: mounted secrets change by links of links.
class FileWatcher {
 public:
  FileWatcher(std::vector<std::string> files, absl::Duration interval, std::function<void()> changed);

 private:
  std::string Stamp() const;
  void Look();

  const std::vector<std::string> files_;
  const std::function<void()> changed_;
  std::string seen_;
  IntervalThread thread_;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_FILE_WATCHER_H_
