// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_REPOSITORY_WATCHER_H_
#define LSTMD_SERVER_REPOSITORY_WATCHER_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "engine/engine.h"
#include "engine/interval_thread.h"

namespace lstmd::server {

// Looks at the repository now and then and brings new versions into service: one above the default version of a loaded
// name takes its place, as the engine's update policy says; a new name is loaded. A folder is taken as complete when
// its files have not changed between two looks, and a version that did not load is tried again when they change. What
// was there at the start is not new, and a name that was unloaded by hand stays so. Says in the log what it does.
class RepositoryWatcher {
 public:
  // `engine` outlives it, and has loaded what it is to load at the start. With an infinite interval only Look looks.
  RepositoryWatcher(Engine* engine, std::string repository, absl::Duration interval);

  // One look. Blocks while it loads. One thread at a time.
  void Look();

 private:
  using Key = std::pair<std::string, int64_t>;
  struct Known {
    std::string files;   // as of the look before
    bool tried = false;  // with these files
  };

  // Whether `version` is served from now on, or never to be.
  void Serve(const std::string& name, int64_t version);

  Engine& engine_;
  const std::string repository_;
  // Of the thread that looks.
  std::map<Key, Known> known_;
  std::set<std::string> served_;  // names that were ever ready
  bool unreadable_ = false;

  std::optional<IntervalThread> thread_;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_REPOSITORY_WATCHER_H_
