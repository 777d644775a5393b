// SPDX-License-Identifier: Apache-2.0
#include "server/oip_model.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "server/errors.h"
#include "server/oip_params.h"
#include "spdlog/spdlog.h"

namespace lstmd::server {
namespace {

template <typename Request>
absl::StatusOr<std::shared_ptr<Model>> FindModel(const Context& context, const Caller& caller, const Request& request) {
  const absl::StatusOr<int64_t> version = ReadOipVersion(request.version(), "version");
  if (!version.ok()) return version.status();
  if (absl::Status status = caller.CheckModel(request.name()); !status.ok()) return PrefixField(status, "name");
  absl::StatusOr<std::shared_ptr<Model>> model = context.engine->FindModel(request.name(), *version);
  if (!model.ok()) return PrefixField(model.status(), "name");
  return model;
}

absl::Status ForEachModel(const Context& context, const Caller& caller,
                          absl::FunctionRef<void(const ModelInfo&)> visit) {
  std::string token;
  do {
    absl::StatusOr<Page<ModelInfo>> page = context.engine->ListModels(0, token);
    if (!page.ok()) return page.status();
    for (const ModelInfo& model : page->items) {
      if (caller.MayUse(model.name)) visit(model);
    }
    token = page->next_token;
  } while (!token.empty());
  return absl::OkStatus();
}

// [N, I] for a model that is stepped, [N, T, I] for one that needs whole sequences.
void AddTensor(const char* name, const ModelSpec& spec, uint32_t size,
               google::protobuf::RepeatedPtrField<inference::ModelMetadataResponse::TensorMetadata>* to) {
  auto& tensor = *to->Add();
  tensor.set_name(name);
  tensor.set_datatype("FP32");
  tensor.add_shape(-1);
  if (!spec.steppable()) tensor.add_shape(-1);
  tensor.add_shape(size);
}

template <typename Tensor>
void AddConfig(const char* name, const ModelSpec& spec, uint32_t size, google::protobuf::RepeatedPtrField<Tensor>* to) {
  auto& tensor = *to->Add();
  tensor.set_name(name);
  tensor.set_data_type(inference::TYPE_FP32);
  if (!spec.steppable()) tensor.add_dims(-1);
  tensor.add_dims(size);
}

int32_t Bounded(uint64_t value) {
  return static_cast<int32_t>(std::min<uint64_t>(value, std::numeric_limits<int32_t>::max()));
}

const char* StateName(ModelState state) {
  switch (state) {
    case ModelState::kReady:
      return "READY";
    case ModelState::kLoading:
      return "LOADING";
    case ModelState::kUnloading:
      return "UNLOADING";
    default:
      return "UNAVAILABLE";
  }
}

absl::Status UnknownParameter(const std::string& key) {
  return Unimplemented("PARAMETER", absl::StrCat("parameter '", Printable(key, 64), "' is not supported"))
      .Field(absl::StrCat("parameters[", Printable(key, 64), "]"));
}

}  // namespace

absl::Status OipModelReady(const Context& context, const Caller& caller, const inference::ModelReadyRequest& request,
                           inference::ModelReadyResponse* response) {
  const absl::Status status = FindModel(context, caller, request).status();
  if (absl::IsInvalidArgument(status) || absl::IsPermissionDenied(status)) return status;
  response->set_ready(status.ok());
  return absl::OkStatus();
}

absl::Status OipModelMetadata(const Context& context, const Caller& caller,
                              const inference::ModelMetadataRequest& request,
                              inference::ModelMetadataResponse* response) {
  const absl::StatusOr<std::shared_ptr<Model>> model = FindModel(context, caller, request);
  if (!model.ok()) return model.status();
  const ModelSpec& spec = SpecOf(**model);
  response->set_name(NameOf(**model));
  response->set_platform("lstmd");
  AddTensor("INPUT", spec, spec.input_size, response->mutable_inputs());
  AddTensor("OUTPUT", spec, spec.output_size(), response->mutable_outputs());
  return ForEachModel(context, caller, [&](const ModelInfo& info) {
    if (info.name == NameOf(**model) && info.state == ModelState::kReady) {
      response->add_versions(std::to_string(info.version));
    }
  });
}

absl::Status OipModelConfig(const Context& context, const Caller& caller, const inference::ModelConfigRequest& request,
                            inference::ModelConfigResponse* response) {
  const absl::StatusOr<std::shared_ptr<Model>> model = FindModel(context, caller, request);
  if (!model.ok()) return model.status();
  const ModelSpec& spec = SpecOf(**model);
  inference::ModelConfig& config = *response->mutable_config();
  config.set_name(NameOf(**model));
  config.set_platform("lstmd");
  config.set_backend("lstmd");
  config.set_max_batch_size(Bounded(std::max(1u, context.max_batch_size)));
  AddConfig("INPUT", spec, spec.input_size, config.mutable_input());
  AddConfig("OUTPUT", spec, spec.output_size(), config.mutable_output());
  config.mutable_model_transaction_policy();
  if (!spec.steppable()) return absl::OkStatus();
  inference::ModelSequenceBatching& batching = *config.mutable_sequence_batching();
  batching.set_max_sequence_idle_microseconds(static_cast<uint64_t>(absl::ToInt64Microseconds(context.idle_ttl)));
  batching.mutable_oldest()->set_max_candidate_sequences(Bounded(context.max_sessions));
  return absl::OkStatus();
}

absl::Status OipModelStatistics(const Context& context, const Caller& caller, const OipStats& stats,
                                const inference::ModelStatisticsRequest& request,
                                inference::ModelStatisticsResponse* response) {
  const absl::StatusOr<int64_t> version = ReadOipVersion(request.version(), "version");
  if (!version.ok()) return version.status();
  if (!request.name().empty()) {
    const absl::StatusOr<std::shared_ptr<Model>> model = FindModel(context, caller, request);
    if (!model.ok()) return model.status();
  }
  return ForEachModel(context, caller, [&](const ModelInfo& info) {
    const bool asked = (request.name().empty() || info.name == request.name()) &&
                       (*version == 0 || info.version == *version) && info.state == ModelState::kReady;
    if (!asked) return;
    inference::ModelStatistics& one = *response->add_model_stats();
    stats.Fill(info.name, info.version, &one);
    inference::MemoryUsage& memory = *one.add_memory_usage();
    memory.set_type(info.device);
    memory.set_byte_size(info.weight_bytes);
  });
}

absl::Status OipIndex(const Context& context, const Caller& caller, const inference::RepositoryIndexRequest& request,
                      inference::RepositoryIndexResponse* response) {
  return ForEachModel(context, caller, [&](const ModelInfo& info) {
    if (request.ready() && info.state != ModelState::kReady) return;
    auto& one = *response->add_models();
    one.set_name(info.name);
    one.set_version(std::to_string(info.version));
    one.set_state(StateName(info.state));
    one.set_reason(Printable(info.error, 1024));
  });
}

absl::Status OipLoad(const Context& context, const Caller& caller,
                     const inference::RepositoryModelLoadRequest& request) {
  absl::Status read = ReadEach(
      request.parameters(),
      [](const std::string& key, const inference::ModelRepositoryParameter&) { return UnknownParameter(key); });
  if (!read.ok()) return read;
  if (absl::Status status = caller.CheckModel(request.model_name()); !status.ok()) return status;
  const absl::StatusOr<ModelInfo> info = context.engine->LoadModel(request.model_name(), 0, "");
  if (absl::IsAlreadyExists(info.status())) return absl::OkStatus();
  if (!info.ok()) return info.status();
  spdlog::info("loaded {} version {} on {}", info->name, info->version, info->device);
  return absl::OkStatus();
}

absl::Status OipUnload(const Context& context, const Caller& caller,
                       const inference::RepositoryModelUnloadRequest& request) {
  bool force = false;
  absl::Status read =
      ReadEach(request.parameters(),
               [&](const std::string& key, const inference::ModelRepositoryParameter& parameter) -> absl::Status {
                 // It says what to do with the models of an ensemble, of which there are none.
                 if (key == "unload_dependents") return absl::OkStatus();
                 if (key != "force") return UnknownParameter(key);
                 if (parameter.parameter_choice_case() != inference::ModelRepositoryParameter::kBoolParam) {
                   return InvalidArgument("PARAMETER", "parameter 'force': want bool_param").Field("parameters[force]");
                 }
                 force = parameter.bool_param();
                 return absl::OkStatus();
               });
  if (!read.ok()) return read;
  if (absl::Status status = caller.CheckModel(request.model_name()); !status.ok()) return status;
  absl::Status status = context.engine->UnloadModel(request.model_name(), 0, force);
  if (status.ok()) spdlog::info("unloaded {}", request.model_name());
  return status;
}

}  // namespace lstmd::server
