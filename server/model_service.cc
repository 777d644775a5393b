// SPDX-License-Identifier: Apache-2.0
#include "server/model_service.h"

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/errors.h"
#include "server/convert_model.h"
#include "server/convert_session.h"
#include "server/names.h"
#include "server/rpc.h"
#include "server/version.h"
#include "spdlog/spdlog.h"

namespace lstmd::server {
namespace {

// {model} of request.name(), and a version that is none below 0.
template <typename Request>
absl::StatusOr<std::string_view> ReadName(const Caller& caller, const Request& request) {
  absl::StatusOr<std::string_view> name = ParseModelName(request.name(), caller);
  if (!name.ok()) return PrefixField(name.status(), "name");
  if (request.version() < 0) {
    return InvalidArgument("MODEL_VERSION", absl::StrCat("got version ", request.version(), ", want 0 or more"))
        .Field("version");
  }
  return name;
}

absl::Status List(Engine* engine, const Caller& caller, const v1::ListModelsRequest& request,
                  v1::ListModelsResponse* response) {
  absl::StatusOr<Page<ModelInfo>> page = engine->ListModels(request.page_size(), request.page_token());
  if (!page.ok()) return page.status();
  for (const ModelInfo& info : page->items) {
    if (caller.MayUse(info.name)) ToProto(info, response->add_models());
  }
  response->set_next_page_token(page->next_token);
  return absl::OkStatus();
}

absl::Status Get(Engine* engine, const Caller& caller, const v1::GetModelRequest& request, v1::Model* response) {
  absl::StatusOr<std::string_view> name = ReadName(caller, request);
  if (!name.ok()) return name.status();
  absl::StatusOr<ModelInfo> info = engine->GetModel(*name, request.version());
  if (!info.ok()) return info.status();
  ToProto(*info, response);
  return absl::OkStatus();
}

absl::Status Load(Engine* engine, const Caller& caller, const v1::LoadModelRequest& request, v1::Model* response) {
  absl::StatusOr<std::string_view> name = ReadName(caller, request);
  if (!name.ok()) return name.status();
  absl::StatusOr<ModelInfo> info = engine->LoadModel(*name, request.version(), request.device());
  if (!info.ok()) return info.status();
  spdlog::info("loaded {} version {} on {}", info->name, info->version, info->device);
  ToProto(*info, response);
  return absl::OkStatus();
}

absl::Status Update(Engine* engine, const Caller& caller, const v1::UpdateWeightsRequest& request,
                    v1::Model* response) {
  absl::StatusOr<std::string_view> name = ReadName(caller, request);
  if (!name.ok()) return name.status();
  std::optional<UpdatePolicy> policy;
  switch (request.policy()) {
    case v1::UPDATE_POLICY_UNSPECIFIED:
      break;
    case v1::UPDATE_POLICY_PIN:
      policy = UpdatePolicy::kPin;
      break;
    case v1::UPDATE_POLICY_FOLLOW:
      policy = UpdatePolicy::kFollow;
      break;
    default:
      return InvalidArgument("UPDATE_POLICY", absl::StrCat("got ", request.policy(), ", want a value of UpdatePolicy"))
          .Field("policy");
  }
  absl::StatusOr<ModelInfo> info = engine->UpdateModel(*name, request.version(), policy);
  if (!info.ok()) return info.status();
  spdlog::info("updated {} to version {} on {}", info->name, info->version, info->device);
  ToProto(*info, response);
  return absl::OkStatus();
}

absl::Status Unload(Engine* engine, const Caller& caller, const v1::UnloadModelRequest& request) {
  absl::StatusOr<std::string_view> name = ReadName(caller, request);
  if (!name.ok()) return name.status();
  absl::Status status = engine->UnloadModel(*name, request.version(), request.force());
  if (status.ok()) spdlog::info("unloaded {} version {}", *name, request.version());
  return status;
}

absl::Status Info(const Context& context, v1::ServerInfo* response) {
  const EngineStats stats = context.engine->Stats();
  response->set_name("lstmd");
  response->set_version(kVersion);
  ToProto(context.start_time, response->mutable_start_time());
  for (const Backend* backend : context.engine->Backends()) {
    v1::Device& device = *response->add_devices();
    device.set_name(backend->device());
    device.set_backend(backend->name());
    device.set_description(backend->description());
  }
  response->add_apis("lstmd.v1");
  response->add_apis("inference");
  response->set_sessions(stats.sessions);
  response->set_models(stats.models);
  response->set_max_message_bytes(context.limits.max_message_bytes);
  response->set_max_batch_size(context.max_batch_size);
  response->set_draining(context.draining.load(std::memory_order_relaxed));
  response->set_batches(stats.batches);
  response->set_batched_rows(stats.batched_rows);
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* ModelService::ListModels(grpc::CallbackServerContext* call,
                                                   const v1::ListModelsRequest* request,
                                                   v1::ListModelsResponse* response) {
  return AnswerFromPool(context_, context_.session_pool, call, "ListModels", Right::kUse,
                        [=](const Caller& caller) { return List(context_.engine, caller, *request, response); });
}

grpc::ServerUnaryReactor* ModelService::GetModel(grpc::CallbackServerContext* call, const v1::GetModelRequest* request,
                                                 v1::Model* response) {
  return AnswerFromPool(context_, context_.session_pool, call, "GetModel", Right::kUse,
                        [=](const Caller& caller) { return Get(context_.engine, caller, *request, response); });
}

grpc::ServerUnaryReactor* ModelService::LoadModel(grpc::CallbackServerContext* call,
                                                  const v1::LoadModelRequest* request, v1::Model* response) {
  return AnswerFromPool(context_, context_.model_pool, call, "LoadModel", Right::kAdmin,
                        [=](const Caller& caller) { return Load(context_.engine, caller, *request, response); });
}

grpc::ServerUnaryReactor* ModelService::UnloadModel(grpc::CallbackServerContext* call,
                                                    const v1::UnloadModelRequest* request,
                                                    google::protobuf::Empty* /*response*/) {
  return AnswerFromPool(context_, context_.model_pool, call, "UnloadModel", Right::kAdmin,
                        [=](const Caller& caller) { return Unload(context_.engine, caller, *request); });
}

grpc::ServerUnaryReactor* ModelService::UpdateWeights(grpc::CallbackServerContext* call,
                                                      const v1::UpdateWeightsRequest* request, v1::Model* response) {
  return AnswerFromPool(context_, context_.model_pool, call, "UpdateWeights", Right::kAdmin,
                        [=](const Caller& caller) { return Update(context_.engine, caller, *request, response); });
}

grpc::ServerUnaryReactor* ModelService::GetServerInfo(grpc::CallbackServerContext* call,
                                                      const v1::GetServerInfoRequest* /*request*/,
                                                      v1::ServerInfo* response) {
  return Answer(context_, call, "GetServerInfo", Right::kUse, [&](const Caller&) { return Info(context_, response); });
}

grpc::ServerUnaryReactor* ModelService::Drain(grpc::CallbackServerContext* call, const v1::DrainRequest* request,
                                              v1::DrainResponse* response) {
  return AnswerFromPool(
      context_, context_.model_pool, call, "Drain", Right::kAdmin, [=](const Caller&) -> absl::Status {
        absl::StatusOr<absl::Duration> timeout = context_.drain_timeout;
        if (request->has_timeout()) timeout = FromProto(request->timeout());
        if (!timeout.ok()) return PrefixField(timeout.status(), "timeout");
        const Handover handover = context_.hand_over(absl::Now() + *timeout, request->new_address());
        response->set_checkpointed_sessions(handover.saved);
        response->set_lost_sessions(context_.engine->has_store() ? handover.left : context_.engine->Stats().sessions);
        if (context_.on_drained) context_.on_drained();
        return absl::OkStatus();
      });
}

}  // namespace lstmd::server
