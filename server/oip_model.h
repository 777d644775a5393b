// SPDX-License-Identifier: Apache-2.0
//
// Models as the Open Inference Protocol and its model repository extension show them.
#ifndef LSTMD_SERVER_OIP_MODEL_H_
#define LSTMD_SERVER_OIP_MODEL_H_

#include <string>

#include "absl/status/status.h"
#include "inference/grpc_service.pb.h"
#include "server/caller.h"
#include "server/context.h"
#include "server/oip_stats.h"

namespace lstmd::server {

// Each answers one rpc; they may block. Errors of Engine, MODEL_VERSION.
absl::Status OipModelReady(const Context& context, const Caller& caller, const inference::ModelReadyRequest& request,
                           inference::ModelReadyResponse* response);
absl::Status OipModelMetadata(const Context& context, const Caller& caller,
                              const inference::ModelMetadataRequest& request,
                              inference::ModelMetadataResponse* response);
absl::Status OipModelConfig(const Context& context, const Caller& caller, const inference::ModelConfigRequest& request,
                            inference::ModelConfigResponse* response);
absl::Status OipModelStatistics(const Context& context, const Caller& caller, const OipStats& stats,
                                const inference::ModelStatisticsRequest& request,
                                inference::ModelStatisticsResponse* response);
absl::Status OipIndex(const Context& context, const Caller& caller, const inference::RepositoryIndexRequest& request,
                      inference::RepositoryIndexResponse* response);
absl::Status OipLoad(const Context& context, const Caller& caller,
                     const inference::RepositoryModelLoadRequest& request);
absl::Status OipUnload(const Context& context, const Caller& caller,
                       const inference::RepositoryModelUnloadRequest& request);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_OIP_MODEL_H_
