// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_ADMIN_SERVICE_H_
#define LSTMD_SERVER_ADMIN_SERVICE_H_

#include "lstmd/v1/admin_service.grpc.pb.h"
#include "server/context.h"

namespace lstmd::server {

// See lstmd.v1.AdminService.
class AdminService final : public v1::AdminService::CallbackService {
 public:
  // `context` outlives the service.
  explicit AdminService(const Context& context) : context_(context) {}

  grpc::ServerUnaryReactor* GetStats(grpc::CallbackServerContext* call, const v1::GetStatsRequest* request,
                                     v1::ServerStats* response) override;
  grpc::ServerUnaryReactor* SetLogLevel(grpc::CallbackServerContext* call, const v1::SetLogLevelRequest* request,
                                        v1::LogLevel* response) override;
  grpc::ServerUnaryReactor* GetLogLevel(grpc::CallbackServerContext* call, const v1::GetLogLevelRequest* request,
                                        v1::LogLevel* response) override;

 private:
  const Context& context_;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_ADMIN_SERVICE_H_
