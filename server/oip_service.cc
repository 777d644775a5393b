// SPDX-License-Identifier: Apache-2.0
#include "server/oip_service.h"

#include <utility>

#include "server/oip_call.h"
#include "server/oip_model.h"
#include "server/oip_stream.h"
#include "server/rpc.h"
#include "server/version.h"

namespace lstmd::server {

using Reactor = OipService::Reactor;

Reactor* OipService::ServerLive(Call* call, const inference::ServerLiveRequest* /*request*/,
                                inference::ServerLiveResponse* response) {
  response->set_live(true);
  return Answer(context_, call, "ServerLive", Right::kOpen, [](const Caller&) { return absl::OkStatus(); });
}

Reactor* OipService::ServerReady(Call* call, const inference::ServerReadyRequest* /*request*/,
                                 inference::ServerReadyResponse* response) {
  response->set_ready(!context_.draining.load(std::memory_order_relaxed) && healthy_());
  return Answer(context_, call, "ServerReady", Right::kOpen, [](const Caller&) { return absl::OkStatus(); });
}

Reactor* OipService::ModelReady(Call* call, const inference::ModelReadyRequest* request,
                                inference::ModelReadyResponse* response) {
  return Answer(context_, call, "ModelReady", Right::kUse,
                [&](const Caller& caller) { return OipModelReady(context_, caller, *request, response); });
}

Reactor* OipService::ServerMetadata(Call* call, const inference::ServerMetadataRequest* /*request*/,
                                    inference::ServerMetadataResponse* response) {
  response->set_name("lstmd");
  response->set_version(kVersion);
  for (const char* extension : {"sequence", "sequence(string_id)", "model_repository", "model_configuration",
                                "binary_tensor_data", "parameters", "statistics"}) {
    response->add_extensions(extension);
  }
  return Answer(context_, call, "ServerMetadata", Right::kUse, [](const Caller&) { return absl::OkStatus(); });
}

Reactor* OipService::ModelMetadata(Call* call, const inference::ModelMetadataRequest* request,
                                   inference::ModelMetadataResponse* response) {
  return AnswerFromPool(context_, context_.session_pool, call, "ModelMetadata", Right::kUse,
                        [=](const Caller& caller) { return OipModelMetadata(context_, caller, *request, response); });
}

Reactor* OipService::ModelInfer(Call* call, const inference::ModelInferRequest* request,
                                inference::ModelInferResponse* response) {
  auto* reactor = new OipCall(context_, &stats_, *call, request, response);
  reactor->Start();
  return reactor;
}

grpc::ServerBidiReactor<inference::ModelInferRequest, inference::ModelStreamInferResponse>*
OipService::ModelStreamInfer(Call* call) {
  const auto header = call->client_metadata().find("triton_grpc_error");
  const bool end_at_error = header != call->client_metadata().end() && header->second == "true";
  absl::StatusOr<Caller> caller = AdmitStream(context_, *call, "ModelStreamInfer");
  if (!caller.ok()) {
    return RefuseStream<grpc::ServerBidiReactor<inference::ModelInferRequest, inference::ModelStreamInferResponse>>(
        *call, "ModelStreamInfer", caller.status());
  }
  auto* reactor = new OipStream(context_, *call, *std::move(caller), &stats_, end_at_error);
  reactor->Start();
  return reactor;
}

Reactor* OipService::ModelConfig(Call* call, const inference::ModelConfigRequest* request,
                                 inference::ModelConfigResponse* response) {
  return Answer(context_, call, "ModelConfig", Right::kUse,
                [&](const Caller& caller) { return OipModelConfig(context_, caller, *request, response); });
}

Reactor* OipService::ModelStatistics(Call* call, const inference::ModelStatisticsRequest* request,
                                     inference::ModelStatisticsResponse* response) {
  return AnswerFromPool(
      context_, context_.session_pool, call, "ModelStatistics", Right::kUse,
      [=](const Caller& caller) { return OipModelStatistics(context_, caller, stats_, *request, response); });
}

Reactor* OipService::RepositoryIndex(Call* call, const inference::RepositoryIndexRequest* request,
                                     inference::RepositoryIndexResponse* response) {
  return AnswerFromPool(context_, context_.session_pool, call, "RepositoryIndex", Right::kUse,
                        [=](const Caller& caller) { return OipIndex(context_, caller, *request, response); });
}

Reactor* OipService::RepositoryModelLoad(Call* call, const inference::RepositoryModelLoadRequest* request,
                                         inference::RepositoryModelLoadResponse* /*response*/) {
  return AnswerFromPool(context_, context_.model_pool, call, "RepositoryModelLoad", Right::kAdmin,
                        [=](const Caller& caller) { return OipLoad(context_, caller, *request); });
}

Reactor* OipService::RepositoryModelUnload(Call* call, const inference::RepositoryModelUnloadRequest* request,
                                           inference::RepositoryModelUnloadResponse* /*response*/) {
  return AnswerFromPool(context_, context_.model_pool, call, "RepositoryModelUnload", Right::kAdmin,
                        [=](const Caller& caller) { return OipUnload(context_, caller, *request); });
}

// What clients may try and can do without.
#define LSTMD_NOT_SERVED(Rpc)                                                                                     \
  Reactor* OipService::Rpc(Call* call, const inference::Rpc##Request* /*request*/,                                \
                           inference::Rpc##Response* /*response*/) {                                              \
    return Answer(context_, call, #Rpc, Right::kAdmin, [](const Caller&) { return NotInThisRelease(#Rpc, ""); }); \
  }
LSTMD_NOT_SERVED(SystemSharedMemoryStatus)
LSTMD_NOT_SERVED(SystemSharedMemoryRegister)
LSTMD_NOT_SERVED(SystemSharedMemoryUnregister)
LSTMD_NOT_SERVED(CudaSharedMemoryStatus)
LSTMD_NOT_SERVED(CudaSharedMemoryRegister)
LSTMD_NOT_SERVED(CudaSharedMemoryUnregister)
LSTMD_NOT_SERVED(TraceSetting)
LSTMD_NOT_SERVED(LogSettings)
#undef LSTMD_NOT_SERVED

}  // namespace lstmd::server
