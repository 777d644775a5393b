// SPDX-License-Identifier: Apache-2.0
#include "engine/model_registry.h"

#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "engine/names.h"

namespace lstmd {
namespace {

absl::Status ModelNotFound(std::string_view name, int64_t version, std::string_view why) {
  const std::string resource = ModelResource(name);
  return NotFound("MODEL_NOT_FOUND", absl::StrCat(version == 0 ? "" : absl::StrCat("version ", version, " of "), "'",
                                                  resource, "' ", absl::string_view(why.data(), why.size())))
      .Resource(resource);
}

absl::Status StillLoading(std::string_view name) {
  const std::string resource = ModelResource(name);
  return Unavailable("MODEL_LOADING", absl::StrCat("'", resource, "' is being loaded"))
      .Resource(resource)
      .RetryAfter(absl::Milliseconds(500));
}

}  // namespace

ModelInfo DescribeModel(const Model& model, ModelState state) {
  ModelInfo info;
  info.name = model.name();
  const std::shared_ptr<ModelVersion> version = model.current();
  info.version = version->version();
  info.state = state;
  info.spec = model.spec();
  info.device = model.backend()->device();
  info.weights_sha256 = version->parts().weights_sha256;
  info.parameters = version->parts().parameters;
  info.weight_bytes = version->device_model().weight_bytes();
  info.state_bytes_per_session = model.pool().slot_bytes();
  info.sessions = static_cast<uint64_t>(model.sessions());
  info.load_time = version->parts().load_time;
  return info;
}

ModelRegistry::Entry* ModelRegistry::FindEntry(std::string_view name, int64_t version) {
  const auto it = models_.find(name);
  if (it == models_.end()) return nullptr;
  const auto entry = it->second.find(version);
  return entry == it->second.end() ? nullptr : &entry->second;
}

absl::Status ModelRegistry::BeginLoad(std::string_view name, int64_t version) {
  MutexLock lock(&mutex_);
  const Entry* const entry = FindEntry(name, version);
  if (entry != nullptr && entry->state != ModelState::kFailed) {
    const char* const state = entry->state == ModelState::kReady     ? "is loaded"
                              : entry->state == ModelState::kLoading ? "is being loaded"
                              : entry->state == ModelState::kRetired ? "is loaded until its last session ends"
                                                                     : "is being unloaded";
    const std::string resource = ModelResource(name);
    return AlreadyExists("MODEL_EXISTS", absl::StrCat("version ", version, " of '", resource, "' ", state))
        .Resource(resource);
  }
  models_[std::string(name)][version] = Entry();
  return absl::OkStatus();
}

void ModelRegistry::FinishLoad(std::shared_ptr<Model> model) {
  MutexLock lock(&mutex_);
  Entry& entry = models_[model->name()][model->version()];
  entry.state = ModelState::kReady;
  entry.model = std::move(model);
}

void ModelRegistry::Supersede(std::shared_ptr<Model> model, int64_t before) {
  MutexLock lock(&mutex_);
  Entry& entry = models_[model->name()][model->version()];
  entry.state = ModelState::kReady;
  Remove(model->name(), before);
  entry.model = std::move(model);
}

void ModelRegistry::SetRetired(const Model& model, bool retired) {
  MutexLock lock(&mutex_);
  if (Entry* const entry = FindEntry(model.name(), model.version()); entry != nullptr && entry->model.get() == &model) {
    entry->state = retired ? ModelState::kRetired : ModelState::kReady;
  }
}

std::vector<std::shared_ptr<Model>> ModelRegistry::Retired() const {
  MutexLock lock(&mutex_);
  std::vector<std::shared_ptr<Model>> found;
  for (const auto& [name, versions] : models_) {
    for (const auto& [version, entry] : versions) {
      if (entry.state == ModelState::kRetired) found.push_back(entry.model);
    }
  }
  return found;
}

void ModelRegistry::FailLoad(std::string_view name, int64_t version, const absl::Status& error) {
  MutexLock lock(&mutex_);
  Entry& entry = models_[std::string(name)][version];
  entry.state = ModelState::kFailed;
  entry.error = std::string(error.message());
}

void ModelRegistry::AbandonLoad(std::string_view name, int64_t version) {
  MutexLock lock(&mutex_);
  Remove(name, version);
}

absl::StatusOr<std::shared_ptr<Model>> ModelRegistry::Find(std::string_view name, int64_t version) const {
  MutexLock lock(&mutex_);
  const auto it = models_.find(name);
  if (it == models_.end()) return ModelNotFound(name, version, "is not loaded");
  const Versions& versions = it->second;
  if (version != 0) {
    const auto entry = versions.find(version);
    if (entry == versions.end()) return ModelNotFound(name, version, "is not loaded");
    switch (entry->second.state) {
      case ModelState::kReady:
      case ModelState::kRetired:
        return entry->second.model;
      case ModelState::kLoading:
        return StillLoading(name);
      case ModelState::kFailed:
        return ModelNotFound(name, version, absl::StrCat("failed to load: ", entry->second.error));
      case ModelState::kUnloading:
      case ModelState::kAvailable:
        return ModelNotFound(name, version, "is being unloaded");
    }
  }
  bool loading = false;
  for (auto entry = versions.rbegin(); entry != versions.rend(); ++entry) {
    if (entry->second.state == ModelState::kReady) return entry->second.model;
    loading |= entry->second.state == ModelState::kLoading;
  }
  if (loading) return StillLoading(name);
  return ModelNotFound(name, version, "has no version that is ready");
}

absl::StatusOr<std::vector<std::shared_ptr<Model>>> ModelRegistry::FindForUnload(std::string_view name,
                                                                                 int64_t version) const {
  if (version != 0) {
    absl::StatusOr<std::shared_ptr<Model>> model = Find(name, version);
    if (!model.ok()) return model.status();
    return std::vector<std::shared_ptr<Model>>{*std::move(model)};
  }
  MutexLock lock(&mutex_);
  std::vector<std::shared_ptr<Model>> found;
  if (const auto it = models_.find(name); it != models_.end()) {
    for (const auto& [number, entry] : it->second) {
      if (entry.state == ModelState::kReady || entry.state == ModelState::kRetired) found.push_back(entry.model);
    }
  }
  if (found.empty()) return ModelNotFound(name, 0, "is not loaded");
  return found;
}

void ModelRegistry::BeginUnload(const Model& model) {
  MutexLock lock(&mutex_);
  if (Entry* const entry = FindEntry(model.name(), model.version()); entry != nullptr && entry->model.get() == &model) {
    entry->state = ModelState::kUnloading;
  }
}

void ModelRegistry::FinishUnload(const Model& model) {
  std::shared_ptr<Model> last;  // may go with its weights, after the lock
  MutexLock lock(&mutex_);
  if (Entry* const entry = FindEntry(model.name(), model.version()); entry != nullptr && entry->model.get() == &model) {
    last = std::move(entry->model);
    Remove(model.name(), model.version());
  }
}

void ModelRegistry::Remove(std::string_view name, int64_t version) {
  const auto it = models_.find(name);
  if (it == models_.end()) return;
  it->second.erase(version);
  if (it->second.empty()) models_.erase(it);
}

std::map<ModelRegistry::Key, ModelInfo> ModelRegistry::Describe() const {
  std::map<Key, ModelInfo> all;
  MutexLock lock(&mutex_);
  for (const auto& [name, versions] : models_) {
    ModelInfo* highest_ready = nullptr;
    for (const auto& [version, entry] : versions) {
      ModelInfo& info = all[{name, version}];
      if (entry.model != nullptr) info = DescribeModel(*entry.model, entry.state);
      info.name = name;
      info.version = version;
      info.state = entry.state;
      info.error = entry.error;
      if (entry.state == ModelState::kReady) highest_ready = &info;
    }
    if (highest_ready != nullptr) highest_ready->default_version = true;
  }
  return all;
}

uint64_t ModelRegistry::ready() const {
  MutexLock lock(&mutex_);
  uint64_t count = 0;
  for (const auto& [name, versions] : models_) {
    for (const auto& [version, entry] : versions) count += entry.state == ModelState::kReady;
  }
  return count;
}

}  // namespace lstmd
