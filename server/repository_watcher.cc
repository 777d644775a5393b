// SPDX-License-Identifier: Apache-2.0
#include "server/repository_watcher.h"

#include <vector>

#include "engine/errors.h"
#include "engine/repository.h"
#include "spdlog/spdlog.h"

namespace lstmd::server {

RepositoryWatcher::RepositoryWatcher(Engine* engine, std::string repository, absl::Duration interval)
    : engine_(*engine), repository_(std::move(repository)) {
  const absl::StatusOr<std::vector<RepositoryEntry>> entries = ListRepository(repository_);
  if (entries.ok()) {
    for (const RepositoryEntry& entry : *entries) {
      known_[{entry.name, entry.version}] = {EntryFingerprint(repository_, entry.name, entry.version), true};
      if (engine_.FindModel(entry.name, 0).ok()) served_.insert(entry.name);
    }
  }
  if (interval == absl::InfiniteDuration()) return;
  spdlog::info("watching {} every {}", repository_, absl::FormatDuration(interval));
  thread_.emplace(interval, [this, interval] {
    Look();
    return interval;
  });
}

void RepositoryWatcher::Look() {
  const absl::StatusOr<std::vector<RepositoryEntry>> entries = ListRepository(repository_);
  if (!entries.ok()) {
    if (!unreadable_) spdlog::warn("cannot look at the repository: {}", std::string(entries.status().message()));
    unreadable_ = true;
    return;
  }
  unreadable_ = false;
  std::map<Key, Known> seen;
  std::map<std::string, int64_t> complete;  // the highest that is to be tried, by name
  for (const RepositoryEntry& entry : *entries) {
    const Key key(entry.name, entry.version);
    Known& now = seen[key];
    now.files = EntryFingerprint(repository_, entry.name, entry.version);
    const auto before = known_.find(key);
    if (before == known_.end()) {
      spdlog::info("{} version {} is new in the repository; it is loaded when its files no longer change", entry.name,
                   entry.version);
    } else if (before->second.files == now.files) {
      now.tried = before->second.tried;
      if (!now.tried) complete[entry.name] = entry.version;  // in order, so the highest stays
    }
  }
  known_ = std::move(seen);
  for (const auto& [name, version] : complete) {
    for (auto& [key, known] : known_) {
      // Lower ones that came at the same time are left alone.
      if (key.first == name && key.second <= version) known.tried = true;
    }
    Serve(name, version);
  }
}

void RepositoryWatcher::Serve(const std::string& name, int64_t version) {
  const absl::StatusOr<std::shared_ptr<Model>> loaded = engine_.FindModel(name, 0);
  absl::StatusOr<ModelInfo> info = absl::UnknownError("");
  if (loaded.ok()) {
    const int64_t now = VersionOf(**loaded);
    if (now >= version) {
      spdlog::info("{} version {} is not above version {}, which is served; it is left alone", name, version, now);
      return;
    }
    spdlog::info("updating {} from version {} to {}", name, now, version);
    info = engine_.UpdateModel(name, version, std::nullopt);
  } else if (served_.count(name) != 0) {
    spdlog::info("{} version {} is left alone: the model was unloaded", name, version);
    return;
  } else {
    spdlog::info("loading {} version {}", name, version);
    info = engine_.LoadModel(name, version, "");
  }
  if (info.ok()) {
    served_.insert(name);
    spdlog::info("{} version {} is served: {} parameters on {}", name, version, info->parameters, info->device);
  } else {
    spdlog::error("{} version {} is not served: {}; it is tried again when its files change", name, version,
                  std::string(info.status().message()));
  }
}

}  // namespace lstmd::server
