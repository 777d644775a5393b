// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_MODEL_SERVICE_H_
#define LSTMD_SERVER_MODEL_SERVICE_H_

#include "lstmd/v1/model_service.grpc.pb.h"
#include "server/context.h"

namespace lstmd::server {

// See lstmd.v1.ModelService.
class ModelService final : public v1::ModelService::CallbackService {
 public:
  // `context` outlives the service.
  explicit ModelService(const Context& context) : context_(context) {}

  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* call, const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* call, const v1::GetModelRequest* request,
                                     v1::Model* response) override;
  grpc::ServerUnaryReactor* LoadModel(grpc::CallbackServerContext* call, const v1::LoadModelRequest* request,
                                      v1::Model* response) override;
  grpc::ServerUnaryReactor* UnloadModel(grpc::CallbackServerContext* call, const v1::UnloadModelRequest* request,
                                        google::protobuf::Empty* response) override;
  grpc::ServerUnaryReactor* UpdateWeights(grpc::CallbackServerContext* call, const v1::UpdateWeightsRequest* request,
                                          v1::Model* response) override;
  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* call, const v1::GetServerInfoRequest* request,
                                          v1::ServerInfo* response) override;
  grpc::ServerUnaryReactor* Drain(grpc::CallbackServerContext* call, const v1::DrainRequest* request,
                                  v1::DrainResponse* response) override;

 private:
  const Context& context_;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_MODEL_SERVICE_H_
