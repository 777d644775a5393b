// SPDX-License-Identifier: Apache-2.0
#include "server/admin_service.h"

#include "server/logging.h"
#include "server/monitor/stats.h"
#include "server/rpc.h"
#include "spdlog/spdlog.h"

namespace lstmd::server {

grpc::ServerUnaryReactor* AdminService::GetStats(grpc::CallbackServerContext* call, const v1::GetStatsRequest* request,
                                                 v1::ServerStats* response) {
  return AnswerFromPool(context_, context_.session_pool, call, "GetStats", Right::kAdmin, [=](const Caller&) {
    *response = AnswerStats(context_, *request);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AdminService::SetLogLevel(grpc::CallbackServerContext* call,
                                                    const v1::SetLogLevelRequest* request, v1::LogLevel* response) {
  return Answer(context_, call, "SetLogLevel", Right::kAdmin, [&](const Caller&) {
    const std::string before = LogLevel();
    const absl::Status status = server::SetLogLevel(request->level());
    response->set_level(LogLevel());
    if (status.ok()) spdlog::warn("the log level is {} from now on; it was {}", response->level(), before);
    return status;
  });
}

grpc::ServerUnaryReactor* AdminService::GetLogLevel(grpc::CallbackServerContext* call,
                                                    const v1::GetLogLevelRequest* /*request*/, v1::LogLevel* response) {
  return Answer(context_, call, "GetLogLevel", Right::kAdmin, [&](const Caller&) {
    response->set_level(LogLevel());
    return absl::OkStatus();
  });
}

}  // namespace lstmd::server
