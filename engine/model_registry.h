// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_MODEL_REGISTRY_H_
#define LSTMD_ENGINE_MODEL_REGISTRY_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/model.h"
#include "engine/mutex.h"

namespace lstmd {

// The models by name and version, and in which state each is. Loading itself is the engine's; a version that is being
// loaded or unloaded only holds its place here. Thread-safe; its lock is a leaf (but for Model's).
class ModelRegistry {
 public:
  using Key = std::pair<std::string, int64_t>;

  // Holds the place. ALREADY_EXISTS / MODEL_EXISTS when it is taken; a failed one may be tried again. To be followed by
  // one of the next three.
  absl::Status BeginLoad(std::string_view name, int64_t version);
  void FinishLoad(std::shared_ptr<Model> model);
  // Same, where `model` had the version `before` until now: that one's place becomes free.
  void Supersede(std::shared_ptr<Model> model, int64_t before);
  // Keeps the error for lists.
  void FailLoad(std::string_view name, int64_t version, const absl::Status& error);
  void AbandonLoad(std::string_view name, int64_t version);

  // See Engine::FindModel.
  absl::StatusOr<std::shared_ptr<Model>> Find(std::string_view name, int64_t version) const;
  // The ready versions to unload: one, or with version 0 all. NOT_FOUND / MODEL_NOT_FOUND.
  absl::StatusOr<std::vector<std::shared_ptr<Model>>> FindForUnload(std::string_view name, int64_t version) const;
  // A retired version is not the default one, and is found by its number alone.
  void SetRetired(const Model& model, bool retired);
  std::vector<std::shared_ptr<Model>> Retired() const;
  void BeginUnload(const Model& model);
  void FinishUnload(const Model& model);

  // Everything known, by name, then version.
  std::map<Key, ModelInfo> Describe() const;
  uint64_t ready() const;

 private:
  struct Entry {
    ModelState state = ModelState::kLoading;
    std::string error;             // kFailed
    std::shared_ptr<Model> model;  // kReady, kRetired, kUnloading
  };
  using Versions = std::map<int64_t, Entry>;

  Entry* FindEntry(std::string_view name, int64_t version) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Remove(std::string_view name, int64_t version) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  std::map<std::string, Versions, std::less<>> models_ ABSL_GUARDED_BY(mutex_);
};

// As in lists; sessions included.
ModelInfo DescribeModel(const Model& model, ModelState state);

}  // namespace lstmd

#endif  // LSTMD_ENGINE_MODEL_REGISTRY_H_
