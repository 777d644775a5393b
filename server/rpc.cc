// SPDX-License-Identifier: Apache-2.0
#include "server/rpc.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/errors.h"
#include "server/errors.h"
#include "server/logging.h"
#include "server/stream_registry.h"
#include "server/telemetry.h"

namespace lstmd::server {
namespace {

// `call` may be gone afterwards.
void Finish(const grpc::CallbackServerContext& call, grpc::ServerUnaryReactor* reactor, std::string_view rpc,
            absl::Time start, const absl::Status& status) {
  if (!status.ok()) LogFailure(Plane::kControl, rpc, status, &call);
  RpcCounters& counters = Telemetry::Get().Rpc(rpc);
  counters.Ended(status.code());
  counters.duration.Add(ToTicks(absl::Now() - start));
  AfterHold(status, [reactor, status] { reactor->Finish(ToGrpcStatus(status)); });
}

}  // namespace

absl::StatusOr<Caller> Admit(const Context& context, const grpc::CallbackServerContext& call, std::string_view rpc,
                             Right right) {
  if (context.access == nullptr) return Caller();
  return context.access->Admit(call, rpc, right);
}

absl::StatusOr<Caller> AdmitStream(const Context& context, const grpc::CallbackServerContext& call,
                                   std::string_view rpc) {
  absl::StatusOr<Caller> caller = Admit(context, call, rpc, Right::kUse);
  if (!caller.ok()) return caller;
  if (absl::Status status = context.engine->CheckMemory(); !status.ok()) return status;
  if (context.streams->open() < context.limits.max_streams) return caller;
  return ResourceExhausted("STREAM_LIMIT", absl::StrCat("the server has ", context.limits.max_streams,
                                                        " open streams, as many as it is set to"))
      .RetryAfter(absl::Seconds(1))
      .Quota("streams")
      .With("limit", std::to_string(context.limits.max_streams));
}

grpc::ServerUnaryReactor* Answer(const Context& context, grpc::CallbackServerContext* call, std::string_view rpc,
                                 Right right, absl::FunctionRef<absl::Status(const Caller&)> body) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  const absl::Time start = absl::Now();
  const absl::StatusOr<Caller> caller = Admit(context, *call, rpc, right);
  Finish(*call, reactor, rpc, start, caller.ok() ? body(*caller) : caller.status());
  return reactor;
}

grpc::ServerUnaryReactor* AnswerFromPool(const Context& context, BlockingPool* pool, grpc::CallbackServerContext* call,
                                         std::string_view rpc, Right right,
                                         std::function<absl::Status(const Caller&)> body) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  const absl::Time start = absl::Now();
  absl::StatusOr<Caller> caller = Admit(context, *call, rpc, right);
  if (!caller.ok()) {
    Finish(*call, reactor, rpc, start, caller.status());
    return reactor;
  }
  const bool queued = pool->Run([call, reactor, rpc, start, caller = *std::move(caller), body = std::move(body)] {
    const absl::Status status = call->IsCancelled() ? Error(absl::StatusCode::kCancelled, "CANCELLED",
                                                            "the client gave up before its turn came")
                                                    : body(caller);
    Finish(*call, reactor, rpc, start, status);
  });
  if (!queued) Finish(*call, reactor, rpc, start, PoolFull());
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
