// SPDX-License-Identifier: Apache-2.0
#include "server/rpc.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "engine/errors.h"
#include "server/errors.h"
#include "server/logging.h"

namespace lstmd::server {
namespace {

void Finish(grpc::ServerUnaryReactor* reactor, std::string_view rpc, const absl::Status& status) {
  if (!status.ok()) LogFailure(Plane::kControl, rpc, status);
  reactor->Finish(ToGrpcStatus(status));
}

}  // namespace

grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* call, std::string_view rpc, const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  Finish(reactor, rpc, status);
  return reactor;
}

grpc::ServerUnaryReactor* AnswerFromPool(BlockingPool* pool, grpc::CallbackServerContext* call, std::string_view rpc,
                                         std::function<absl::Status()> body) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  const bool queued = pool->Run([call, reactor, rpc, body = std::move(body)] {
    if (call->IsCancelled()) {
      reactor->Finish(grpc::Status(grpc::StatusCode::CANCELLED, "the client gave up before the call's turn came"));
      return;
    }
    Finish(reactor, rpc, body());
  });
  if (!queued) Finish(reactor, rpc, PoolFull());
  return reactor;
}

absl::Status PoolFull() {
  return ResourceExhausted("QUEUE_FULL", "too many calls that create, change or delete wait already")
      .RetryAfter(absl::Milliseconds(100))
      .Quota("server:control");
}

absl::Status NotInThisRelease(std::string_view rpc, std::string_view instead) {
  std::string message(rpc);
  message += " is not in this release";
  if (!instead.empty()) message.append("; ").append(instead);
  return Unimplemented("NOT_IN_THIS_RELEASE", message).With("rpc", rpc);
}

}  // namespace lstmd::server
