// SPDX-License-Identifier: Apache-2.0
//
// How calls are let in, and those of the control plane answered. No rpc does anything before it is admitted.
#ifndef LSTMD_SERVER_RPC_H_
#define LSTMD_SERVER_RPC_H_

#include <functional>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "server/access.h"
#include "server/context.h"
#include "server/errors.h"
#include "server/logging.h"
#include "server/refusal_hold.h"
#include "server/telemetry.h"

namespace lstmd::server {

// Errors of AccessControl::Admit.
absl::StatusOr<Caller> Admit(const Context& context, const grpc::CallbackServerContext& call, std::string_view rpc,
                             Right right);

// The same for a stream. Also RESOURCE_EXHAUSTED / STREAM_LIMIT, MEMORY_LIMIT.
absl::StatusOr<Caller> AdmitStream(const Context& context, const grpc::CallbackServerContext& call,
                                   std::string_view rpc);

// Answers a call at once with what `body` returns.
grpc::ServerUnaryReactor* Answer(const Context& context, grpc::CallbackServerContext* call, std::string_view rpc,
                                 Right right, absl::FunctionRef<absl::Status(const Caller&)> body);

// Answers a call with what `body` returns, which runs on `pool` and may block. Request and response outlive it. A call
// that the client has given up by the time its turn comes is not run.
grpc::ServerUnaryReactor* AnswerFromPool(const Context& context, BlockingPool* pool, grpc::CallbackServerContext* call,
                                         std::string_view rpc, Right right,
                                         std::function<absl::Status(const Caller&)> body);

// Answers a stream that is not admitted. Reactor: the stream's class in grpc.
template <typename Reactor>
Reactor* RefuseStream(const grpc::CallbackServerContext& call, std::string_view rpc, const absl::Status& status) {
  class Refusal final : public Reactor {
   public:
    explicit Refusal(const absl::Status& status) {
      AfterHold(status, [this, status] { this->Finish(ToGrpcStatus(status)); });
    }
    void OnDone() override { delete this; }
  };
  LogFailure(Plane::kData, rpc, status, &call);
  Telemetry::Get().Rpc(rpc).Ended(status.code());
  return new Refusal(status);
}

// RESOURCE_EXHAUSTED / QUEUE_FULL: more calls wait for the pool than may.
absl::Status PoolFull();

// UNIMPLEMENTED / NOT_IN_THIS_RELEASE.
absl::Status NotInThisRelease(std::string_view rpc, std::string_view instead);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_RPC_H_
