// SPDX-License-Identifier: Apache-2.0
//
// How the calls of the control plane are answered.
#ifndef LSTMD_SERVER_RPC_H_
#define LSTMD_SERVER_RPC_H_

#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "server/blocking_pool.h"

namespace lstmd::server {

// Answers a call at once.
grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* call, std::string_view rpc, const absl::Status& status);

// Answers a call with what `body` returns, which runs on `pool` and may block. Request and response outlive it. A call
// that the client has given up by the time its turn comes is not run.
grpc::ServerUnaryReactor* AnswerFromPool(BlockingPool* pool, grpc::CallbackServerContext* call, std::string_view rpc,
                                         std::function<absl::Status()> body);

// RESOURCE_EXHAUSTED / QUEUE_FULL: more calls wait for the pool than may.
absl::Status PoolFull();

// UNIMPLEMENTED / NOT_IN_THIS_RELEASE.
absl::Status NotInThisRelease(std::string_view rpc, std::string_view instead);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_RPC_H_
