// SPDX-License-Identifier: Apache-2.0
#include "server/inference_service.h"

#include <utility>

#include "server/rpc.h"
#include "server/run_sequences.h"
#include "server/step_call.h"
#include "server/step_stream.h"

namespace lstmd::server {

grpc::ServerUnaryReactor* InferenceService::Step(grpc::CallbackServerContext* call, const v1::StepRequest* request,
                                                 v1::StepResponse* response) {
  auto* reactor = new StepCall(context_, *call, request, response);
  reactor->Start();
  return reactor;
}

grpc::ServerBidiReactor<v1::StreamStepsRequest, v1::StreamStepsResponse>* InferenceService::StreamSteps(
    grpc::CallbackServerContext* call) {
  absl::StatusOr<Caller> caller = AdmitStream(context_, *call, "StreamSteps");
  if (!caller.ok()) {
    return RefuseStream<grpc::ServerBidiReactor<v1::StreamStepsRequest, v1::StreamStepsResponse>>(*call, "StreamSteps",
                                                                                                  caller.status());
  }
  auto* reactor = new StepStream(context_, *call, *std::move(caller));
  reactor->Start();
  return reactor;
}

grpc::ServerUnaryReactor* InferenceService::RunSequences(grpc::CallbackServerContext* call,
                                                         const v1::RunSequencesRequest* request,
                                                         v1::RunSequencesResponse* response) {
  auto* reactor = new RunSequencesCall(context_, *call, request, response);
  reactor->Start();
  return reactor;
}

}  // namespace lstmd::server
