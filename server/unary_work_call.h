// SPDX-License-Identifier: Apache-2.0
//
// What Step and RunSequences have in common: a unary call that turns into pieces of engine work and is answered when
// the last of them has ended.
#ifndef LSTMD_SERVER_UNARY_WORK_CALL_H_
#define LSTMD_SERVER_UNARY_WORK_CALL_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/mutex.h"
#include "engine/work.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "server/caller.h"
#include "server/context.h"
#include "server/convert_tensor.h"
#include "server/logging.h"
#include "server/open_batches.h"
#include "server/reply_times.h"
#include "server/telemetry.h"

namespace lstmd::server {

// A piece of work and the place its result goes to.
struct ItemWork : Work {
  size_t item = 0;
  size_t row = 0;  // of the item's batch
};

// Life: the service makes it and calls Start once; where the caller is admitted, that calls Begin. It deletes itself
// when gRPC is done with it. Nothing of it is touched by the engine then: it finishes only after the last work has
// ended and every engine thread that reported to it has left.
class UnaryWorkCall : public grpc::ServerUnaryReactor, private WorkSink {
 public:
  void Start();
  void OnCancel() final;
  void OnDone() final;

 protected:
  UnaryWorkCall(const Context& context, const grpc::CallbackServerContext& call, std::string_view rpc);
  ~UnaryWorkCall() override = default;

  // Checks the request, adds its work and calls Run, now or later; or Fail.
  virtual void Begin() = 0;
  // New work with sink and deadline set. Only before Run.
  ItemWork& AddWork(size_t item, size_t row);
  // Submits what was added, unless that is above the caller's quota; Finish follows, possibly before this returns. Last
  // call of the subclass on itself.
  void Run();
  // Runs `job` on the pool of sessions, where it may block, or fails the call.
  void RunInPool(std::function<void()> job);
  // Ends the call without work, a refusal for a quota after a while. Instead of Run.
  void Fail(const absl::Status& status);

  // One work has ended. Never two calls at a time.
  virtual void OnWorkDone(ItemWork& work, const absl::Status& status) = 0;
  // All work has ended: completes the reply and returns the status of the call.
  virtual absl::Status Complete() = 0;

  // Counts and logs an item of the call that failed.
  void ReportItem(const absl::Status& status) const { LogFailure(Plane::kData, rpc_, status, &call_); }

  const Context& context() const { return context_; }
  const Caller& caller() const { return caller_; }
  FloatScratch& scratch() { return scratch_; }

 private:
  void OnDone(Work* work, const absl::Status& status) final;
  void OnBatchEnd() final;
  bool MayFinish() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FinishCall();
  void End(const absl::Status& status);

  const Context& context_;
  const grpc::CallbackServerContext& call_;
  const std::string_view rpc_;
  RpcCounters& counters_;
  const absl::Time received_;
  const absl::Time deadline_;
  absl::Status admission_;
  Caller caller_;
  FloatScratch scratch_;
  std::deque<ItemWork> works_;  // grows only before Run

  Mutex mutex_;
  size_t pending_ ABSL_GUARDED_BY(mutex_) = 1;  // works, and one for Run itself
  OpenBatches open_batches_ ABSL_GUARDED_BY(mutex_);
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  ReplyTimes times_;         // under the lock until the call is finished
  absl::StatusCode code_{};  // how it was finished, and when
  absl::Time finished_at_;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_UNARY_WORK_CALL_H_
