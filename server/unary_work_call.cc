// SPDX-License-Identifier: Apache-2.0
#include "server/unary_work_call.h"

#include <utility>

#include "absl/time/clock.h"
#include "server/errors.h"
#include "server/logging.h"
#include "server/refusal_hold.h"
#include "server/rpc.h"

namespace lstmd::server {

UnaryWorkCall::UnaryWorkCall(const Context& context, const grpc::CallbackServerContext& call, std::string_view rpc)
    : context_(context),
      call_(call),
      rpc_(rpc),
      counters_(Telemetry::Get().Rpc(rpc)),
      received_(absl::Now()),
      deadline_(absl::FromChrono(call.deadline())) {
  absl::StatusOr<Caller> caller = Admit(context, call, rpc, Right::kUse);
  if (caller.ok()) {
    caller_ = *std::move(caller);
    admission_ = context.engine->CheckMemory();
  } else {
    admission_ = caller.status();
  }
}

void UnaryWorkCall::Start() {
  if (admission_.ok()) {
    Begin();
  } else {
    Fail(admission_);
  }
}

ItemWork& UnaryWorkCall::AddWork(size_t item, size_t row) {
  ItemWork& work = works_.emplace_back();
  work.item = item;
  work.row = row;
  work.sink = this;
  work.alone = true;
  work.deadline = deadline_;
  return work;
}

void UnaryWorkCall::Run() {
  uint64_t steps = 0;
  for (const ItemWork& work : works_) steps += work.steps;
  if (absl::Status status = caller_.Enter(works_.size(), steps); !status.ok()) {
    Fail(status);
    return;
  }
  std::vector<Work*> batch;
  batch.reserve(works_.size());
  {
    MutexLock lock(&mutex_);
    pending_ += works_.size();
    for (ItemWork& work : works_) {
      work.cancelled.store(cancelled_, std::memory_order_relaxed);
      batch.push_back(&work);
    }
  }
  if (!batch.empty()) context_.engine->SubmitAll(batch);
  {
    MutexLock lock(&mutex_);
    --pending_;
    open_batches_.Leave();
    if (!MayFinish()) return;
  }
  FinishCall();
}

void UnaryWorkCall::RunInPool(std::function<void()> job) {
  if (!context_.session_pool->Run(std::move(job))) Fail(PoolFull());
}

void UnaryWorkCall::Fail(const absl::Status& status) {
  AfterHold(status, [this, status] { End(status); });
}

void UnaryWorkCall::OnCancel() {
  MutexLock lock(&mutex_);
  cancelled_ = true;
  // Before Run the works are still being added; Run passes the word on.
  if (pending_ <= 1) return;
  for (ItemWork& work : works_) work.cancelled.store(true, std::memory_order_relaxed);
}

void UnaryWorkCall::OnDone(Work* work, const absl::Status& status) {
  MutexLock lock(&mutex_);
  open_batches_.Enter();
  if (status.ok()) times_.Add(*work, received_, absl::Now(), context_.slow_log->on());
  OnWorkDone(*static_cast<ItemWork*>(work), status);
  --pending_;
}

void UnaryWorkCall::OnBatchEnd() {
  {
    MutexLock lock(&mutex_);
    open_batches_.Leave();
    if (!MayFinish()) return;
  }
  FinishCall();
}

bool UnaryWorkCall::MayFinish() {
  if (finished_ || pending_ > 0 || !open_batches_.empty()) return false;
  finished_ = true;
  return true;
}

void UnaryWorkCall::FinishCall() {
  caller_.Leave(works_.size());
  End(Complete());
}

void UnaryWorkCall::End(const absl::Status& status) {
  if (!status.ok()) ReportItem(status);
  code_ = status.code();
  finished_at_ = absl::Now();
  Finish(ToGrpcStatus(status));
}

// gRPC: the reply is on its way, and no reaction runs any more.
void UnaryWorkCall::OnDone() {
  const absl::Time now = absl::Now();
  counters_.Ended(code_);
  counters_.duration.Add(ToTicks(now - received_));
  std::optional<RequestTimes> slow = times_.Written(now, *context_.slow_log);
  if (!slow && context_.slow_log->IsSlow(now - received_)) {
    slow.emplace();  // nothing of it was done
    slow->received = received_;
    slow->ended = finished_at_;
    slow->written = now;
  }
  if (slow) context_.slow_log->Report(rpc_, *slow, call_);
  delete this;
}

}  // namespace lstmd::server
