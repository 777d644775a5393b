// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_OIP_SERVICE_H_
#define LSTMD_SERVER_OIP_SERVICE_H_

#include <functional>
#include <utility>

#include "inference/grpc_service.grpc.pb.h"
#include "server/context.h"
#include "server/oip_stats.h"

namespace lstmd::server {

// inference.GRPCInferenceService, over the same engine as lstmd.v1.
class OipService final : public inference::GRPCInferenceService::CallbackService {
 public:
  // `context` outlives the service. `healthy`: see Server::healthy.
  OipService(const Context& context, std::function<bool()> healthy) : context_(context), healthy_(std::move(healthy)) {}

  using Call = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;

  Reactor* ServerLive(Call* call, const inference::ServerLiveRequest* request,
                      inference::ServerLiveResponse* response) override;
  Reactor* ServerReady(Call* call, const inference::ServerReadyRequest* request,
                       inference::ServerReadyResponse* response) override;
  Reactor* ModelReady(Call* call, const inference::ModelReadyRequest* request,
                      inference::ModelReadyResponse* response) override;
  Reactor* ServerMetadata(Call* call, const inference::ServerMetadataRequest* request,
                          inference::ServerMetadataResponse* response) override;
  Reactor* ModelMetadata(Call* call, const inference::ModelMetadataRequest* request,
                         inference::ModelMetadataResponse* response) override;
  Reactor* ModelInfer(Call* call, const inference::ModelInferRequest* request,
                      inference::ModelInferResponse* response) override;
  grpc::ServerBidiReactor<inference::ModelInferRequest, inference::ModelStreamInferResponse>* ModelStreamInfer(
      Call* call) override;
  Reactor* ModelConfig(Call* call, const inference::ModelConfigRequest* request,
                       inference::ModelConfigResponse* response) override;
  Reactor* ModelStatistics(Call* call, const inference::ModelStatisticsRequest* request,
                           inference::ModelStatisticsResponse* response) override;
  Reactor* RepositoryIndex(Call* call, const inference::RepositoryIndexRequest* request,
                           inference::RepositoryIndexResponse* response) override;
  Reactor* RepositoryModelLoad(Call* call, const inference::RepositoryModelLoadRequest* request,
                               inference::RepositoryModelLoadResponse* response) override;
  Reactor* RepositoryModelUnload(Call* call, const inference::RepositoryModelUnloadRequest* request,
                                 inference::RepositoryModelUnloadResponse* response) override;

  Reactor* SystemSharedMemoryStatus(Call* call, const inference::SystemSharedMemoryStatusRequest*,
                                    inference::SystemSharedMemoryStatusResponse*) override;
  Reactor* SystemSharedMemoryRegister(Call* call, const inference::SystemSharedMemoryRegisterRequest*,
                                      inference::SystemSharedMemoryRegisterResponse*) override;
  Reactor* SystemSharedMemoryUnregister(Call* call, const inference::SystemSharedMemoryUnregisterRequest*,
                                        inference::SystemSharedMemoryUnregisterResponse*) override;
  Reactor* CudaSharedMemoryStatus(Call* call, const inference::CudaSharedMemoryStatusRequest*,
                                  inference::CudaSharedMemoryStatusResponse*) override;
  Reactor* CudaSharedMemoryRegister(Call* call, const inference::CudaSharedMemoryRegisterRequest*,
                                    inference::CudaSharedMemoryRegisterResponse*) override;
  Reactor* CudaSharedMemoryUnregister(Call* call, const inference::CudaSharedMemoryUnregisterRequest*,
                                      inference::CudaSharedMemoryUnregisterResponse*) override;
  Reactor* TraceSetting(Call* call, const inference::TraceSettingRequest*, inference::TraceSettingResponse*) override;
  Reactor* LogSettings(Call* call, const inference::LogSettingsRequest*, inference::LogSettingsResponse*) override;

 private:
  const Context& context_;
  const std::function<bool()> healthy_;
  OipStats stats_;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_OIP_SERVICE_H_
