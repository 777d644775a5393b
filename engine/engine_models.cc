// SPDX-License-Identifier: Apache-2.0
//
// Models of the engine: load, unload, list.
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/engine_impl.h"
#include "engine/errors.h"
#include "engine/names.h"
#include "engine/page_token.h"
#include "engine/repository.h"

namespace lstmd {
namespace {

constexpr std::string_view kModelPages = "models";

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

absl::Status InUse(const Model& model, int64_t sessions) {
  const std::string resource = ModelResource(model.name());
  return FailedPrecondition("MODEL_IN_USE", absl::StrCat("version ", model.version(), " of '", resource, "' has ",
                                                         sessions, " sessions; end them first, or unload with force"))
      .Resource(resource)
      .With("sessions", absl::StrCat(sessions));
}

std::vector<float> Copy(const FloatArray& array) { return {array.data(), array.data() + array.size()}; }

}  // namespace

absl::Status EngineImpl::CheckModelName(std::string_view name, int64_t version) {
  if (!IsValidModelName(name)) {
    return InvalidArgument("MODEL_NAME", absl::StrCat("name: got '", View(name),
                                                      "', want models/{model} with 1 to 63 of "
                                                      "A-Z a-z 0-9 . _ -, the first a letter or digit"))
        .Field("name");
  }
  if (version < 0) {
    return InvalidArgument("MODEL_VERSION", absl::StrCat("version: got ", version, ", want 0 or more"))
        .Field("version");
  }
  return absl::OkStatus();
}

absl::Status EngineImpl::NotInRepository(std::string_view name) {
  return NotFound("MODEL_NOT_FOUND", absl::StrCat("the repository has no '", ModelResource(name), "'"))
      .Resource(ModelResource(name));
}

absl::StatusOr<int64_t> EngineImpl::HighestVersion(std::string_view name) const {
  if (options_.repository.empty()) return NotInRepository(name);
  const absl::StatusOr<std::vector<RepositoryEntry>> entries = ListRepository(options_.repository);
  if (!entries.ok()) return entries.status();
  int64_t highest = 0;
  for (const RepositoryEntry& entry : *entries) {
    if (entry.name == name) highest = std::max(highest, entry.version);
  }
  if (highest == 0) return NotInRepository(name);
  return highest;
}

absl::Status EngineImpl::CheckDevice(std::string_view device) const {
  if (device.empty()) return absl::OkStatus();
  std::vector<std::string> names;
  for (const auto& scheduler : schedulers_) {
    names.push_back(scheduler->backend()->device());
    if (names.back() == device) return absl::OkStatus();
  }
  return InvalidArgument("DEVICE",
                         absl::StrCat("device: got '", View(device), "', want one of: ", absl::StrJoin(names, ", ")))
      .Field("device");
}

absl::StatusOr<Scheduler*> EngineImpl::ChooseDevice(const ModelSpec& spec, std::string_view device) const {
  if (absl::Status status = CheckDevice(device); !status.ok()) return status;
  std::map<std::string, uint64_t> weight_bytes;  // by device
  for (const auto& [key, info] : registry_.Describe()) weight_bytes[info.device] += info.weight_bytes;
  Scheduler* chosen = nullptr;
  absl::Status why;
  for (const auto& scheduler : schedulers_) {
    const Backend& backend = *scheduler->backend();
    if (!device.empty() && backend.device() != device) continue;
    absl::Status status = backend.Supports(spec);
    why.Update(status);
    if (!status.ok()) continue;
    // The first kind of device that can; of that kind, the one with the least weights on it.
    const bool better =
        chosen == nullptr || (backend.name() == chosen->backend()->name() &&
                              weight_bytes[backend.device()] < weight_bytes[chosen->backend()->device()]);
    if (better) chosen = scheduler.get();
  }
  if (chosen == nullptr) return why;
  return chosen;
}

absl::StatusOr<std::shared_ptr<ModelVersion>> EngineImpl::MakeVersion(const std::shared_ptr<Backend>& backend,
                                                                      int64_t version, const ModelSpec& spec,
                                                                      const Weights& weights) const {
  ModelVersion::Parts parts;
  parts.version = version;
  parts.weights_sha256 = Fingerprint(spec, weights);
  parts.parameters = ParameterCount(weights);
  parts.initial_h = Copy(weights.initial_h);
  parts.initial_c = Copy(weights.initial_c);
  parts.backend = backend;
  absl::StatusOr<std::unique_ptr<DeviceModel>> device_model = backend->Load(spec, weights);
  if (!device_model.ok()) return device_model.status();
  parts.device_model = *std::move(device_model);
  parts.load_time = options_.clock->Now();
  return std::make_shared<ModelVersion>(std::move(parts));
}

absl::StatusOr<std::shared_ptr<Model>> EngineImpl::MakeModel(std::string_view name, int64_t version,
                                                             const ModelSpec& spec, const Weights& weights,
                                                             std::string_view device) const {
  const absl::StatusOr<Scheduler*> scheduler = ChooseDevice(spec, device);
  if (!scheduler.ok()) return scheduler.status();
  // The file's pages are the system's to drop; what a backend packs is not.
  absl::Status room = memory_.Admit(ParameterCount(weights) * sizeof(float), "the weights of a model");
  if (!room.ok()) return room;
  ModelParts parts;
  parts.name = name;
  parts.spec = spec;
  parts.spill_space = spill_space_;
  parts.scheduler = *scheduler;
  parts.backend = (*scheduler)->backend();
  absl::StatusOr<std::shared_ptr<ModelVersion>> loaded = MakeVersion(parts.backend, version, spec, weights);
  if (!loaded.ok()) return loaded.status();
  absl::StatusOr<std::unique_ptr<StatePool>> pool = parts.backend->CreateStatePool((*loaded)->device_model());
  if (!pool.ok()) return pool.status();
  parts.pool = *std::move(pool);
  return std::make_shared<Model>(std::move(parts), *std::move(loaded));
}

absl::StatusOr<ModelInfo> EngineImpl::FinishLoad(std::string_view name, int64_t version,
                                                 absl::StatusOr<std::shared_ptr<Model>> model) {
  if (model.ok()) {
    registry_.FinishLoad(*std::move(model));
    return GetModel(name, version);
  }
  // A name that is nowhere leaves no trace: anybody may ask for one.
  if (absl::IsNotFound(model.status())) {
    registry_.AbandonLoad(name, version);
  } else {
    registry_.FailLoad(name, version, model.status());
  }
  return model.status();
}

absl::StatusOr<ModelInfo> EngineImpl::LoadModel(std::string_view name, int64_t version, std::string_view device) {
  if (absl::Status status = CheckModelName(name, version); !status.ok()) return status;
  if (absl::Status status = CheckDevice(device); !status.ok()) return status;
  if (options_.repository.empty()) return NotInRepository(name);
  if (version == 0) {
    const absl::StatusOr<int64_t> highest = HighestVersion(name);
    if (!highest.ok()) return highest.status();
    version = *highest;
  }
  if (absl::Status status = registry_.BeginLoad(name, version); !status.ok()) return status;
  const absl::StatusOr<ModelFiles> files = LoadEntry(options_.repository, name, version);
  if (!files.ok()) return FinishLoad(name, version, files.status());
  return FinishLoad(name, version, MakeModel(name, version, files->spec, files->weights, device));
}

absl::StatusOr<int> EngineImpl::LoadRepository() {
  if (options_.repository.empty()) return 0;
  const absl::StatusOr<std::vector<RepositoryEntry>> entries = ListRepository(options_.repository);
  if (!entries.ok()) return entries.status();
  std::set<std::string> names;
  for (const RepositoryEntry& entry : *entries) names.insert(entry.name);
  int ready = 0;
  for (const std::string& name : names) {
    const absl::StatusOr<ModelInfo> info = LoadModel(name, 0, "");
    ready += info.ok() || absl::IsAlreadyExists(info.status()) ? 1 : 0;
  }
  return ready;
}

absl::StatusOr<ModelInfo> EngineImpl::AddModel(std::string_view name, int64_t version, const ModelSpec& spec,
                                               const Weights& weights, std::string_view device) {
  if (absl::Status status = CheckModelName(name, version); !status.ok()) return status;
  if (version == 0) return InvalidArgument("MODEL_VERSION", "version: got 0, want 1 or more").Field("version");
  if (absl::Status status = CheckDevice(device); !status.ok()) return status;
  if (absl::Status status = Validate(spec); !status.ok()) return PrefixField(status, "spec.");
  if (absl::Status status = Validate(spec, weights); !status.ok()) return status;
  if (absl::Status status = registry_.BeginLoad(name, version); !status.ok()) return status;
  return FinishLoad(name, version, MakeModel(name, version, spec, weights, device));
}

absl::Status EngineImpl::UnloadModel(std::string_view name, int64_t version, bool force) {
  if (absl::Status status = CheckModelName(name, version); !status.ok()) return status;
  std::vector<std::shared_ptr<Model>> models;
  absl::Status in_use;  // of one that was given a session meanwhile
  {
    MutexLock lock(&update_mutex_);
    absl::StatusOr<std::vector<std::shared_ptr<Model>>> found = registry_.FindForUnload(name, version);
    if (!found.ok()) return found.status();
    models = *std::move(found);
    // All or none where sessions forbid it.
    for (const std::shared_ptr<Model>& model : models) {
      if (!force && model->sessions() != 0) return InUse(*model, model->sessions());
    }
    for (const std::shared_ptr<Model>& model : models) {
      const int64_t sessions = model->Close(force);
      if (!force && sessions != 0) {
        in_use = InUse(*model, sessions);
      } else {
        registry_.BeginUnload(*model);
      }
    }
  }
  for (const std::shared_ptr<Model>& model : models) {
    if (!model->closed()) continue;
    EndSessionsOf(*model);
    model->scheduler().WaitIdle(*model->current());
    registry_.FinishUnload(*model);
  }
  return in_use;
}

absl::StatusOr<ModelInfo> EngineImpl::GetModel(std::string_view name, int64_t version) const {
  if (absl::Status status = CheckModelName(name, version); !status.ok()) return status;
  if (version == 0) {
    const absl::StatusOr<std::shared_ptr<Model>> model = registry_.Find(name, 0);
    if (!model.ok()) return model.status();
    version = (*model)->version();
  }
  const std::map<ModelRegistry::Key, ModelInfo> known = registry_.Describe();
  if (const auto it = known.find({std::string(name), version}); it != known.end()) return it->second;
  if (!options_.repository.empty()) {
    const absl::StatusOr<std::vector<RepositoryEntry>> entries = ListRepository(options_.repository);
    if (!entries.ok()) return entries.status();
    for (const RepositoryEntry& entry : *entries) {
      if (entry.name != name || entry.version != version) continue;
      ModelInfo info;
      info.name = name;
      info.version = version;
      return info;
    }
  }
  return NotFound("MODEL_NOT_FOUND", absl::StrCat("there is no version ", version, " of '", ModelResource(name), "'"))
      .Resource(ModelResource(name));
}

absl::StatusOr<Page<ModelInfo>> EngineImpl::ListModels(int page_size, std::string_view page_token) const {
  const absl::StatusOr<int> limit = PageSize(page_size);
  if (!limit.ok()) return limit.status();
  ModelRegistry::Key after;
  if (!page_token.empty()) {
    const absl::StatusOr<std::string> key = DecodePageToken(kModelPages, page_token);
    if (!key.ok()) return key.status();
    const size_t slash = key->find('/');
    after.first = key->substr(0, slash);
    if (slash != key->npos && !absl::SimpleAtoi(key->substr(slash + 1), &after.second)) after.second = 0;
  }
  std::map<ModelRegistry::Key, ModelInfo> all = registry_.Describe();
  if (!options_.repository.empty()) {
    const absl::StatusOr<std::vector<RepositoryEntry>> entries = ListRepository(options_.repository);
    if (!entries.ok()) return entries.status();
    for (const RepositoryEntry& entry : *entries) {
      const auto [it, is_new] = all.try_emplace({entry.name, entry.version});
      if (!is_new) continue;
      it->second.name = entry.name;
      it->second.version = entry.version;
    }
  }
  Page<ModelInfo> page;
  auto it = all.upper_bound(after);
  for (; it != all.end() && page.items.size() < static_cast<size_t>(*limit); ++it) {
    page.items.push_back(std::move(it->second));
  }
  if (it != all.end()) {
    const ModelInfo& last = page.items.back();
    page.next_token = EncodePageToken(kModelPages, absl::StrCat(last.name, "/", last.version));
  }
  return page;
}

absl::StatusOr<std::shared_ptr<Model>> EngineImpl::FindModel(std::string_view name, int64_t version) const {
  return registry_.Find(name, version);
}

}  // namespace lstmd
