// SPDX-License-Identifier: Apache-2.0
//
// Hot weights: another version in the place of the default one while sessions live. Pinned, it is a model of its own,
// and the old one is retired: it takes no new sessions and goes with its last. Followed, it becomes the version that
// runs the sessions of the old one: nothing of theirs is moved, so it takes the same time for one and for a million.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/engine_impl.h"
#include "engine/errors.h"
#include "engine/names.h"
#include "engine/repository.h"

namespace lstmd {
namespace {

// "hidden_size 64, not 128" for each field that differs.
std::vector<std::string> Differences(const ModelSpec& loaded, const ModelSpec& next) {
  std::vector<std::string> found;
  const auto compare = [&](const char* field, uint32_t a, uint32_t b) {
    if (a != b) found.push_back(absl::StrCat(field, " ", b, ", not ", a));
  };
  compare("input_size", loaded.input_size, next.input_size);
  compare("hidden_size", loaded.hidden_size, next.hidden_size);
  compare("num_layers", loaded.num_layers, next.num_layers);
  compare("projection_size", loaded.projection_size, next.projection_size);
  compare("output size", loaded.output_size(), next.output_size());
  if (found.empty() && SpecToJson(loaded) != SpecToJson(next)) {
    found.push_back(absl::StrCat("the spec ", SpecToJson(next), ", not ", SpecToJson(loaded)));
  }
  return found;
}

}  // namespace

absl::StatusOr<ModelInfo> EngineImpl::UpdateModel(std::string_view name, int64_t version,
                                                  std::optional<UpdatePolicy> policy) {
  if (absl::Status status = CheckModelName(name, version); !status.ok()) return status;
  const absl::StatusOr<std::shared_ptr<Model>> loaded = registry_.Find(name, 0);
  if (!loaded.ok()) return loaded.status();
  if (version == 0) {
    const absl::StatusOr<int64_t> highest = HighestVersion(name);
    if (!highest.ok()) return highest.status();
    version = *highest;
  }
  if (policy.value_or(options_.update_policy) == UpdatePolicy::kPin && Reinstate(name, version)) {
    return GetModel(name, version);
  }
  if (options_.repository.empty()) return NotInRepository(name);
  if (absl::Status status = registry_.BeginLoad(name, version); !status.ok()) return status;
  const absl::StatusOr<ModelFiles> files = LoadEntry(options_.repository, name, version);
  if (!files.ok()) return FinishLoad(name, version, files.status());
  return FinishUpdate(*loaded, version, files->spec, files->weights, policy.value_or(options_.update_policy));
}

absl::StatusOr<ModelInfo> EngineImpl::UpdateModel(std::string_view name, int64_t version, const ModelSpec& spec,
                                                  const Weights& weights, std::optional<UpdatePolicy> policy) {
  if (absl::Status status = CheckModelName(name, version); !status.ok()) return status;
  if (version == 0) return InvalidArgument("MODEL_VERSION", "version: got 0, want 1 or more").Field("version");
  if (absl::Status status = Validate(spec); !status.ok()) return PrefixField(status, "spec.");
  if (absl::Status status = Validate(spec, weights); !status.ok()) return status;
  const absl::StatusOr<std::shared_ptr<Model>> loaded = registry_.Find(name, 0);
  if (!loaded.ok()) return loaded.status();
  if (absl::Status status = registry_.BeginLoad(name, version); !status.ok()) return status;
  return FinishUpdate(*loaded, version, spec, weights, policy.value_or(options_.update_policy));
}

absl::StatusOr<ModelInfo> EngineImpl::FinishUpdate(const std::shared_ptr<Model>& loaded, int64_t version,
                                                   const ModelSpec& spec, const Weights& weights, UpdatePolicy policy) {
  const absl::Status status =
      policy == UpdatePolicy::kPin ? Pin(*loaded, version, spec, weights) : Follow(loaded, version, spec, weights);
  if (!status.ok()) return FinishLoad(loaded->name(), version, status);
  return GetModel(loaded->name(), version);
}

absl::Status EngineImpl::Pin(const Model& loaded, int64_t version, const ModelSpec& spec, const Weights& weights) {
  const std::string& name = loaded.name();
  const absl::StatusOr<std::shared_ptr<Model>> model =
      MakeModel(name, version, spec, weights, loaded.backend()->device());
  if (!model.ok()) return model.status();
  {
    MutexLock lock(&update_mutex_);
    // The default of now, which need not be that of before the load.
    const absl::StatusOr<std::shared_ptr<Model>> current = registry_.Find(name, 0);
    registry_.FinishLoad(*model);
    if (current.ok()) RetireModel(**current);
    RetireAbove(**model);
  }
  UnloadRetired();
  return absl::OkStatus();
}

absl::Status EngineImpl::Follow(const std::shared_ptr<Model>& loaded, int64_t version, const ModelSpec& spec,
                                const Weights& weights) {
  Model& model = *loaded;
  const std::string& name = model.name();
  if (const std::vector<std::string> differences = Differences(model.spec(), spec); !differences.empty()) {
    const std::string what = absl::StrJoin(differences, "; ");
    return FailedPrecondition("SPEC_MISMATCH", absl::StrCat("version ", version, " of '", ModelResource(name), "' has ",
                                                            what, ": the sessions of version ", model.version(),
                                                            " cannot follow it; update with the policy pin"))
        .Resource(ModelResource(name))
        .With("differs", what);
  }
  absl::StatusOr<std::shared_ptr<ModelVersion>> next = MakeVersion(model.backend(), version, spec, weights);
  if (!next.ok()) return next.status();
  std::shared_ptr<ModelVersion> before;
  {
    MutexLock lock(&update_mutex_);
    const absl::StatusOr<std::shared_ptr<Model>> current = registry_.Find(name, 0);
    if (!current.ok() || *current != loaded) {
      return Error(absl::StatusCode::kAborted, "UPDATE_CONFLICT",
                   absl::StrCat("'", ModelResource(name), "' was updated or unloaded meanwhile; try again"))
          .Resource(ModelResource(name));
    }
    before = model.scheduler().Swap(model, *std::move(next));
    registry_.Supersede(loaded, before->version());
    RetireAbove(model);
  }
  UnloadRetired();
  model.scheduler().WaitIdle(*before);
  return absl::OkStatus();
}

bool EngineImpl::Reinstate(std::string_view name, int64_t version) {
  MutexLock lock(&update_mutex_);
  for (const std::shared_ptr<Model>& model : registry_.Retired()) {
    if (model->name() != name || model->version() != version) continue;
    const absl::StatusOr<std::shared_ptr<Model>> current = registry_.Find(name, 0);
    model->Reinstate();
    registry_.SetRetired(*model, false);
    if (current.ok()) RetireModel(**current);
    RetireAbove(*model);
    return true;
  }
  return false;
}

void EngineImpl::RetireAbove(const Model& model) {
  const absl::StatusOr<std::vector<std::shared_ptr<Model>>> loaded = registry_.FindForUnload(model.name(), 0);
  if (!loaded.ok()) return;
  for (const std::shared_ptr<Model>& other : *loaded) {
    if (other.get() != &model && other->version() > model.version()) RetireModel(*other);
  }
}

void EngineImpl::RetireModel(Model& model) {
  model.Retire();
  registry_.SetRetired(model, true);
}

void EngineImpl::UnloadRetired() {
  for (const std::shared_ptr<Model>& model : registry_.Retired()) {
    if (model->sessions() != 0) continue;
    MutexLock lock(&update_mutex_);
    // Work without a session that has found it holds it until it has ended.
    if (model->Release()) registry_.FinishUnload(*model);
  }
}

}  // namespace lstmd
