// SPDX-License-Identifier: Apache-2.0
#include "server/step_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/errors.h"
#include "server/convert_model.h"
#include "server/logging.h"
#include "server/rpc.h"

namespace lstmd::server {
namespace {

constexpr size_t kFreeFrames = 16;

// Parts of a frame that are answered one by one.
int64_t CountParts(const v1::StreamStepsRequest& request) {
  int64_t parts = int64_t{request.binds_size()} + request.unbinds_size();
  for (const v1::StepBlock& block : request.steps()) parts += std::max(1, block.handles_size());
  return parts;
}

}  // namespace

void StepStream::Start() {
  context_.streams->Add(this);
  Advance();
}

void StepStream::OnReadDone(bool ok) {
  StreamFrame* frame = nullptr;
  {
    MutexLock lock(&mutex_);
    reading_ = false;
    if (finished_) return;
    if (!ok) {
      reads_done_ = true;
    } else if (!broken_) {
      processing_ = true;
      frame = &reading_frame_.front();
    }
  }
  if (frame != nullptr) {
    Process(frame);
    MutexLock lock(&mutex_);
    processing_ = false;
  }
  Advance();
}

void StepStream::OnWriteDone(bool ok) {
  {
    MutexLock lock(&mutex_);
    writing_ = false;
    in_flight_.items -= writing_credit_.items;
    in_flight_.bytes -= writing_credit_.bytes;
    writing_credit_ = {};
    if (!ok) Break();
  }
  Advance();
}

void StepStream::OnCancel() {
  {
    MutexLock lock(&mutex_);
    Break();
  }
  Advance();
}

// gRPC: all is over, and no reaction runs any more.
void StepStream::OnDone() {
  context_.streams->Remove(this);
  delete this;
}

void StepStream::SendGoAway(absl::Time deadline) {
  {
    MutexLock lock(&mutex_);
    if (finished_ || broken_) return;
    reply_.SetGoAway(deadline);
  }
  Advance();
}

void StepStream::StopReading() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  Advance();
}

// --- What happens next. ---

void StepStream::Advance() {
  {
    MutexLock lock(&mutex_);
    ++busy_;
  }
  AdvanceBusy();
}

void StepStream::AdvanceBusy() {
  while (true) {
    bool read = false;
    bool write = false;
    v1::StreamStepsRequest* request = nullptr;
    grpc::Status status;
    {
      MutexLock lock(&mutex_);
      if (!writing_ && !broken_ && !finished_ && !reply_.empty()) {
        writing_ = write = true;
        writing_credit_ = reply_.Take(&writing_message_);
      }
      if (MayRead()) {
        reading_ = read = true;
        request = &NextFrame()->request;
      }
      if (!read && !write) {
        --busy_;
        if (!MayFinish()) return;
        finished_ = true;
        if (broken_) status = grpc::Status(grpc::StatusCode::CANCELLED, "the client went away");
      }
    }
    // Outside the lock: these may serialise, write to the socket, and, the last, lead to the end of this object.
    if (write) StartWrite(&writing_message_);
    if (read) StartRead(request);
    if (read || write) continue;
    Finish(status);
    return;
  }
}

bool StepStream::MayRead() const {
  return !reading_ && !processing_ && !reads_done_ && !stopping_ && !broken_ && !finished_ &&
         in_flight_.items < context_.limits.max_in_flight_per_stream &&
         in_flight_.bytes < context_.limits.max_message_bytes;
}

bool StepStream::MayFinish() const {
  return !finished_ && (reads_done_ || stopping_ || broken_) && !processing_ && !writing_ && pending_ == 0 &&
         busy_ == 0 && open_batches_.empty() && (broken_ || reply_.empty());
}

StreamFrame* StepStream::NextFrame() {
  // A frame without work was not handed on; it serves again.
  if (!reading_frame_.empty() && !reading_frame_.front().Recycle()) reading_frame_.clear();
  if (reading_frame_.empty()) {
    if (free_frames_.empty()) free_frames_.emplace_back();
    reading_frame_.splice(reading_frame_.begin(), free_frames_, free_frames_.begin());
  }
  return &reading_frame_.front();
}

void StepStream::Break() {
  broken_ = true;
  const Credit dropped = reply_.Drop();
  in_flight_.items -= dropped.items;
  in_flight_.bytes -= dropped.bytes;
  for (StreamFrame& frame : active_frames_) {
    for (size_t i = 0; i < frame.used(); ++i) frame.work(i).cancelled.store(true, std::memory_order_relaxed);
  }
}

// --- Results. ---

void StepStream::OnDone(Work* ended, const absl::Status& status) {
  auto& work = *static_cast<StepWork*>(ended);
  MutexLock lock(&mutex_);
  open_batches_.Enter();
  --pending_;
  if (broken_) {
    in_flight_.items -= 1;
    in_flight_.bytes -= work.bytes;
  } else if (status.ok()) {
    reply_.AddResult(work);
  } else {
    LogFailure(Plane::kData, "StreamSteps", status);
    reply_.AddFailure(work.handle, work.id, work.seq, status, work.bytes);
  }
  StreamFrame& frame = *work.frame;
  if (--frame.pending > 0) return;
  if (free_frames_.size() < kFreeFrames && frame.Recycle()) {
    free_frames_.splice(free_frames_.begin(), active_frames_, frame.self);
  } else {
    active_frames_.erase(frame.self);
  }
}

void StepStream::OnBatchEnd() {
  {
    MutexLock lock(&mutex_);
    open_batches_.Leave();
    reply_.Seal();
    ++busy_;
  }
  AdvanceBusy();
}

// --- Frames in. ---

void StepStream::Process(StreamFrame* frame) {
  const v1::StreamStepsRequest& request = frame->request;
  const int64_t parts = CountParts(request);
  if (parts == 0) {
    Refuse(0, 0, 0, InvalidArgument("EMPTY_FRAME", "got a frame without binds, steps or unbinds"));
    return;
  }
  if (parts > kMaxRows) {
    Refuse(0, 0, 0,
           InvalidArgument("FRAME_TOO_LARGE",
                           absl::StrCat("got a frame of ", parts, " binds, steps and unbinds, want at most ", kMaxRows,
                                        "; nothing of it was done")));
    return;
  }
  Binds(request);
  handles_.Decode(frame);
  for (const StepRefusal& refusal : frame->refusals) Refuse(refusal.handle, refusal.id, refusal.seq, refusal.status);
  if (request.unbinds_size() == 0) {
    Submit(frame);
    return;
  }
  // The frame may be over, and reused, before Submit returns.
  v1::StreamStepsRequest unbinds;
  unbinds.mutable_unbinds()->Swap(frame->request.mutable_unbinds());
  Submit(frame);
  Unbinds(unbinds);
}

void StepStream::Binds(const v1::StreamStepsRequest& request) {
  for (int i = 0; i < request.binds_size(); ++i) {
    v1::Bound bound;
    const absl::Status status = handles_.Bind(request.binds(i), &bound);
    if (!status.ok()) {
      Refuse(request.binds(i).handle(), 0, 0, InItem(status, "binds", static_cast<size_t>(i)));
      continue;
    }
    bound.set_max_in_flight(context_.limits.max_in_flight_per_stream);
    MutexLock lock(&mutex_);
    if (broken_) return;
    reply_.AddBound()->Swap(&bound);
    in_flight_.items += 1;
  }
}

void StepStream::Submit(StreamFrame* frame) {
  if (frame->batch.empty()) return;
  // Out of the frame: its works may all have ended, and the frame be read into again, before SubmitAll returns.
  batch_.clear();
  batch_.swap(frame->batch);
  {
    MutexLock lock(&mutex_);
    frame->pending = batch_.size();
    pending_ += batch_.size();
    in_flight_.items += batch_.size();
    for (size_t i = 0; i < frame->used(); ++i) {
      StepWork& work = frame->work(i);
      work.sink = this;
      work.cancelled.store(broken_, std::memory_order_relaxed);
      in_flight_.bytes += work.bytes;
    }
    frame->self = reading_frame_.begin();
    active_frames_.splice(active_frames_.end(), reading_frame_, frame->self);
  }
  context_.engine->SubmitAll(batch_);
  MutexLock lock(&mutex_);
  open_batches_.Leave();
}

void StepStream::Unbinds(const v1::StreamStepsRequest& request) {
  for (int i = 0; i < request.unbinds_size(); ++i) {
    const v1::Unbind& unbind = request.unbinds(i);
    absl::StatusOr<std::shared_ptr<Session>> session = handles_.Unbind(unbind.handle());
    if (!session.ok()) {
      Refuse(unbind.handle(), 0, 0, InItem(session.status(), "unbinds", static_cast<size_t>(i)));
    } else if (unbind.delete_session()) {
      DeleteSession(unbind.handle(), **session);
    }
  }
}

void StepStream::DeleteSession(uint32_t handle, const Session& session) {
  {
    MutexLock lock(&mutex_);
    ++pending_;
  }
  const auto run = [this, handle, model = NameOf(ModelOf(session)), id = IdOf(session)] {
    const absl::Status status = context_.engine->DeleteSession(model, id);
    if (status.ok()) {
      MutexLock lock(&mutex_);
      if (!broken_) {
        v1::SessionEvent& event = *reply_.AddEvent();
        event.set_session(FormatSessionName(model, id));
        event.set_kind(v1::SessionEvent::DELETED);
        event.set_reason("unbound with delete_session");
        ToProto(absl::Now(), event.mutable_time());
      }
    } else {
      Refuse(handle, 0, 0, status);
    }
    {
      MutexLock lock(&mutex_);
      --pending_;
      ++busy_;
    }
    AdvanceBusy();
  };
  if (!context_.session_pool->Run(run)) {
    Refuse(handle, 0, 0, PoolFull());
    MutexLock lock(&mutex_);
    --pending_;
  }
}

void StepStream::Refuse(uint32_t handle, uint64_t id, uint64_t seq, const absl::Status& status) {
  LogFailure(Plane::kData, "StreamSteps", status);
  MutexLock lock(&mutex_);
  if (broken_) return;
  reply_.AddFailure(handle, id, seq, status);
  in_flight_.items += 1;
}

}  // namespace lstmd::server
