// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_INFERENCE_SERVICE_H_
#define LSTMD_SERVER_INFERENCE_SERVICE_H_

#include "lstmd/v1/inference_service.grpc.pb.h"
#include "server/context.h"

namespace lstmd::server {

// The data plane: see lstmd.v1.InferenceService.
class InferenceService final : public v1::InferenceService::CallbackService {
 public:
  // `context` outlives the service.
  explicit InferenceService(const Context& context) : context_(context) {}

  grpc::ServerUnaryReactor* Step(grpc::CallbackServerContext* call, const v1::StepRequest* request,
                                 v1::StepResponse* response) override;
  grpc::ServerBidiReactor<v1::StreamStepsRequest, v1::StreamStepsResponse>* StreamSteps(
      grpc::CallbackServerContext* call) override;
  grpc::ServerUnaryReactor* RunSequences(grpc::CallbackServerContext* call, const v1::RunSequencesRequest* request,
                                         v1::RunSequencesResponse* response) override;

 private:
  const Context& context_;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_INFERENCE_SERVICE_H_
