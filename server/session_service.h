// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_SESSION_SERVICE_H_
#define LSTMD_SERVER_SESSION_SERVICE_H_

#include "lstmd/v1/session_service.grpc.pb.h"
#include "server/caller.h"
#include "server/context.h"

namespace lstmd::server {

// See lstmd.v1.SessionService.
class SessionService final : public v1::SessionService::CallbackService {
 public:
  // `context` outlives the service.
  explicit SessionService(const Context& context) : context_(context) {}

  grpc::ServerUnaryReactor* CreateSession(grpc::CallbackServerContext* call, const v1::CreateSessionRequest* request,
                                          v1::Session* response) override;
  grpc::ServerUnaryReactor* GetSession(grpc::CallbackServerContext* call, const v1::GetSessionRequest* request,
                                       v1::Session* response) override;
  grpc::ServerUnaryReactor* ListSessions(grpc::CallbackServerContext* call, const v1::ListSessionsRequest* request,
                                         v1::ListSessionsResponse* response) override;
  grpc::ServerUnaryReactor* UpdateSession(grpc::CallbackServerContext* call, const v1::UpdateSessionRequest* request,
                                          v1::Session* response) override;
  grpc::ServerUnaryReactor* DeleteSession(grpc::CallbackServerContext* call, const v1::DeleteSessionRequest* request,
                                          google::protobuf::Empty* response) override;
  grpc::ServerUnaryReactor* ResetSession(grpc::CallbackServerContext* call, const v1::ResetSessionRequest* request,
                                         v1::Session* response) override;

  grpc::ServerUnaryReactor* ForkSession(grpc::CallbackServerContext* call, const v1::ForkSessionRequest* request,
                                        v1::Session* response) override;
  grpc::ServerUnaryReactor* ExportSession(grpc::CallbackServerContext* call, const v1::ExportSessionRequest* request,
                                          v1::SessionSnapshot* response) override;
  grpc::ServerUnaryReactor* ImportSession(grpc::CallbackServerContext* call, const v1::ImportSessionRequest* request,
                                          v1::Session* response) override;
  grpc::ServerUnaryReactor* CheckpointSession(grpc::CallbackServerContext* call,
                                              const v1::CheckpointSessionRequest* request,
                                              v1::Session* response) override;
  grpc::ServerWriteReactor<v1::SessionEvent>* WatchSessions(grpc::CallbackServerContext* call,
                                                            const v1::WatchSessionsRequest* request) override;

 private:
  absl::Status Create(const Caller& caller, const v1::CreateSessionRequest& request, v1::Session* response);
  absl::Status Get(const Caller& caller, const v1::GetSessionRequest& request, v1::Session* response);
  absl::Status List(const Caller& caller, const v1::ListSessionsRequest& request, v1::ListSessionsResponse* response);
  absl::Status Update(const Caller& caller, const v1::UpdateSessionRequest& request, v1::Session* response);
  absl::Status Delete(const Caller& caller, const v1::DeleteSessionRequest& request);
  absl::Status Reset(const Caller& caller, const v1::ResetSessionRequest& request, v1::Session* response);
  // session_snapshots.cc
  absl::Status Fork(const Caller& caller, const v1::ForkSessionRequest& request, v1::Session* response);
  absl::Status Export(const Caller& caller, const v1::ExportSessionRequest& request, v1::SessionSnapshot* response);
  absl::Status Import(const Caller& caller, const v1::ImportSessionRequest& request, v1::Session* response);

  const Context& context_;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_SESSION_SERVICE_H_
