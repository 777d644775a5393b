// SPDX-License-Identifier: Apache-2.0
//
// The life of a bidirectional stream, whatever its messages: StepStream and OipStream say what a message means.
//
// Three kinds of threads meet here: gRPC's (reactions OnReadDone, OnWriteDone, OnCancel, OnDone), the engine's (OnDone
// of a work, OnBatchEnd), and the server's (drain, jobs of the pool). All state but the reader's own is under one lock,
// and one function, Advance, decides what may be started next: a read while the bounds allow it, a write when there are
// replies, the end when nothing is left. At most one read and one write are under way, and none is read while a message
// is processed. The stream deletes itself after its end, and it ends only when no other thread will touch it any more.
#ifndef LSTMD_SERVER_BIDI_STREAM_H_
#define LSTMD_SERVER_BIDI_STREAM_H_

#include <cstddef>
#include <functional>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/types/span.h"
#include "engine/mutex.h"
#include "engine/work.h"
#include "grpcpp/support/server_callback.h"
#include "server/caller.h"
#include "server/context.h"
#include "server/credit.h"
#include "server/logging.h"
#include "server/open_batches.h"
#include "server/refusal_hold.h"
#include "server/reply_times.h"
#include "server/slow_log.h"
#include "server/stream_registry.h"
#include "server/telemetry.h"

namespace lstmd::server {

template <typename Request, typename Response>
class BidiStream : public grpc::ServerBidiReactor<Request, Response>, private WorkSink, private DrainableStream {
 public:
  // Registers the stream and begins to read. Once, before the reactor is given to gRPC.
  void Start() {
    counters_.open_streams.Add(1);
    context_.streams->Add(this);
    Advance();
  }

  void OnReadDone(bool ok) final;
  void OnWriteDone(bool ok) final;
  void OnCancel() final;
  // gRPC: all is over, and no reaction runs any more.
  void OnDone() final {
    counters_.open_streams.Add(-1);
    counters_.Ended(code_);
    context_.streams->Remove(this);
    delete this;
  }

 protected:
  // `context` outlives the stream; `call` is that of gRPC, which does too. `caller`: who opened it.
  BidiStream(const Context& context, const grpc::CallbackServerContext& call, std::string_view rpc, Caller caller)
      : context_(context), caller_(std::move(caller)), call_(call), rpc_(rpc), counters_(Telemetry::Get().Rpc(rpc)) {}
  ~BidiStream() override = default;

  // --- What a stream is made of. ---
  // A message to read into; stays until it is processed, or until the stream is deleted.
  virtual Request* NextRequest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;
  // The message has been read. The only one at a time, without the lock: "the reader".
  virtual void Process() = 0;
  // Whether to process it may block: then that happens on the pool of sessions, with may_block_ set.
  virtual bool MayBlock() { return false; }
  virtual bool HasReply() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;
  // The next reply, which stays until the next call, what it answers, and the works among that. REQUIRES: HasReply().
  virtual Response* TakeReply(Credit* answered, ReplyTimes* times) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;
  // The client is gone: cancels works, forgets the replies and gives back what they answer.
  virtual void Drop() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;
  // WorkSink's calls.
  virtual void WorkDone(Work* work, const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;
  virtual void BatchEnd() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {}
  // How the call ends where the client has not gone.
  virtual grpc::Status FinalStatus() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return grpc::Status::OK; }
  void SendGoAway(absl::Time /*deadline*/, const std::string& /*new_address*/) override {}

  // --- For them. ---
  WorkSink* sink() { return this; }
  // To the engine; taken from the caller's quota before (Caller::Enter). Only the reader and jobs. The works may have
  // ended, and what holds them be gone, when it returns.
  void Submit(absl::Span<Work* const> works);
  // Runs `job` on the pool of sessions; the stream lives as long. False: it will not run.
  bool RunJob(std::function<void()> job);
  // Reads nothing as long as `refusal` is held (server/refusal_hold.h).
  void HoldReading(const absl::Status& refusal);
  // Counts and logs a part of a message that failed.
  void ReportFailure(const absl::Status& status) const { LogFailure(Plane::kData, rpc_, status, &call_); }
  // When the message that the reader processes had arrived.
  absl::Time received() const { return received_; }
  // When the work ended that WorkDone is told of.
  absl::Time ended() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ended_; }
  // Starts whatever may be started now. To be called after a change, by threads that keep the stream alive.
  void Advance();

  const Context& context_;
  const Caller caller_;
  bool may_block_ = false;  // the reader's
  Mutex mutex_;
  Credit in_flight_ ABSL_GUARDED_BY(mutex_);       // accepted and not yet written
  size_t pending_ ABSL_GUARDED_BY(mutex_) = 0;     // works in the engine, jobs in the pool: the stream waits for them
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;  // reads no more
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;    // the client is gone
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;

 private:
  void OnDone(Work* work, const absl::Status& status) final {
    MutexLock lock(&mutex_);
    open_batches_.Enter();
    caller_.Leave(1);
    if (ended_ == absl::InfinitePast()) ended_ = absl::Now();  // once a batch: works come by the hundreds
    WorkDone(work, status);
  }
  void OnBatchEnd() final;
  void StopReading() final;

  // After ++busy_ in the lock that made the last change: the stream cannot end under the caller then.
  void AdvanceBusy();
  // What counted as pending_ is over. The stream may be, too, when this returns.
  void JobDone();
  bool MayRead() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !reading_ && !processing_ && holds_ == 0 && !reads_done_ && !stopping_ && !broken_ && !finished_ &&
           in_flight_.items < context_.limits.max_in_flight_per_stream &&
           in_flight_.bytes < context_.limits.max_message_bytes;
  }
  bool MayFinish() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !finished_ && (reads_done_ || stopping_ || broken_) && !processing_ && !writing_ && pending_ == 0 &&
           busy_ == 0 && open_batches_.empty() && (broken_ || !HasReply());
  }
  void Break() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    broken_ = true;
    Drop();
  }

  const grpc::CallbackServerContext& call_;
  const std::string_view rpc_;
  RpcCounters& counters_;
  absl::Time received_;                                 // the reader's
  absl::StatusCode code_ = absl::StatusCode::kUnknown;  // how the call ends; of who ends it

  absl::Time ended_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  ReplyTimes writing_times_ ABSL_GUARDED_BY(mutex_);
  OpenBatches open_batches_ ABSL_GUARDED_BY(mutex_);
  Credit writing_credit_ ABSL_GUARDED_BY(mutex_);
  int busy_ ABSL_GUARDED_BY(mutex_) = 0;  // threads in AdvanceBusy
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  int holds_ ABSL_GUARDED_BY(mutex_) = 0;  // each counts as pending_
  bool processing_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread::id reader_ ABSL_GUARDED_BY(mutex_);  // where Process runs
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool reads_done_ ABSL_GUARDED_BY(mutex_) = false;  // the client has half-closed
};

template <typename Request, typename Response>
void BidiStream<Request, Response>::OnReadDone(bool ok) {
  bool process = false;
  {
    MutexLock lock(&mutex_);
    reading_ = false;
    if (finished_) return;
    if (!ok) {
      reads_done_ = true;
    } else if (!broken_) {
      processing_ = process = true;
      reader_ = std::this_thread::get_id();
    }
    if (!process) ++busy_;
  }
  if (process) {
    counters_.messages_in.Add();
    received_ = absl::Now();
    const auto block = [this] {
      may_block_ = true;
      Process();
      may_block_ = false;
      MutexLock lock(&mutex_);
      processing_ = false;
    };
    if (MayBlock()) {
      {
        // What ends on this thread meanwhile does not wait for the job.
        MutexLock lock(&mutex_);
        reader_ = {};
      }
      // The stream may be over when the job is.
      if (RunJob(block)) return;
    }
    Process();
    MutexLock lock(&mutex_);
    processing_ = false;
    ++busy_;
  }
  AdvanceBusy();
}

template <typename Request, typename Response>
void BidiStream<Request, Response>::OnWriteDone(bool ok) {
  std::optional<RequestTimes> slow;
  {
    MutexLock lock(&mutex_);
    writing_ = false;
    in_flight_ -= writing_credit_;
    writing_credit_ = {};
    if (ok) {
      slow = writing_times_.Written(absl::Now(), *context_.slow_log);
    } else {
      writing_times_.Clear();
      Break();
    }
    ++busy_;
  }
  if (ok) counters_.messages_out.Add();
  if (slow) context_.slow_log->Report(rpc_, *slow, call_);
  AdvanceBusy();
}

template <typename Request, typename Response>
void BidiStream<Request, Response>::OnCancel() {
  {
    MutexLock lock(&mutex_);
    Break();
    ++busy_;
  }
  AdvanceBusy();
}

template <typename Request, typename Response>
void BidiStream<Request, Response>::StopReading() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    ++busy_;
  }
  AdvanceBusy();
}

template <typename Request, typename Response>
void BidiStream<Request, Response>::OnBatchEnd() {
  {
    MutexLock lock(&mutex_);
    open_batches_.Leave();
    ended_ = absl::InfinitePast();
    BatchEnd();
    // Work that ended where it arrived: the reader is about to read again, and both start together.
    if (processing_ && reader_ == std::this_thread::get_id()) return;
    ++busy_;
  }
  AdvanceBusy();
}

template <typename Request, typename Response>
void BidiStream<Request, Response>::Submit(absl::Span<Work* const> works) {
  context_.engine->SubmitAll(works);
  MutexLock lock(&mutex_);
  open_batches_.Leave();
}

template <typename Request, typename Response>
bool BidiStream<Request, Response>::RunJob(std::function<void()> job) {
  {
    MutexLock lock(&mutex_);
    ++pending_;
  }
  const bool runs = context_.session_pool->Run([this, job = std::move(job)] {
    job();
    JobDone();
  });
  if (runs) return true;
  MutexLock lock(&mutex_);
  --pending_;
  return false;
}

template <typename Request, typename Response>
void BidiStream<Request, Response>::HoldReading(const absl::Status& refusal) {
  if (HoldOf(refusal) == absl::ZeroDuration()) return;
  {
    MutexLock lock(&mutex_);
    ++pending_;
    ++holds_;
  }
  AfterHold(refusal, [this] {
    {
      MutexLock lock(&mutex_);
      --holds_;
    }
    JobDone();
  });
}

template <typename Request, typename Response>
void BidiStream<Request, Response>::JobDone() {
  {
    MutexLock lock(&mutex_);
    --pending_;
    ++busy_;
  }
  AdvanceBusy();
}

template <typename Request, typename Response>
void BidiStream<Request, Response>::Advance() {
  {
    MutexLock lock(&mutex_);
    ++busy_;
  }
  AdvanceBusy();
}

template <typename Request, typename Response>
void BidiStream<Request, Response>::AdvanceBusy() {
  while (true) {
    Request* request = nullptr;
    Response* reply = nullptr;
    grpc::Status status;
    {
      MutexLock lock(&mutex_);
      if (!writing_ && !broken_ && !finished_ && HasReply()) {
        writing_ = true;
        reply = TakeReply(&writing_credit_, &writing_times_);
      }
      if (MayRead()) {
        reading_ = true;
        request = NextRequest();
      }
      if (reply == nullptr && request == nullptr) {
        --busy_;
        if (!MayFinish()) return;
        finished_ = true;
        status = broken_ ? grpc::Status(grpc::StatusCode::CANCELLED, "the client went away") : FinalStatus();
        code_ = static_cast<absl::StatusCode>(status.error_code());
      }
    }
    // Outside the lock: these may serialise, write to the socket, and, the last, lead to the end of this object. The
    // reply first: it takes the flow control's update along, which a read would send, and wake the client with, alone.
    if (reply != nullptr) this->StartWrite(reply);
    if (request != nullptr) this->StartRead(request);
    if (reply != nullptr || request != nullptr) continue;
    this->Finish(status);
    return;
  }
}

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_BIDI_STREAM_H_
