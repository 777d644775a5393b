// SPDX-License-Identifier: Apache-2.0
#include "server/step_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/errors.h"
#include "server/convert_model.h"
#include "server/rpc.h"
#include "server/watch_call.h"

namespace lstmd::server {
namespace {

constexpr size_t kFreeFrames = 16;
constexpr int kGather = 64;

// Parts of a frame that are answered one by one.
int64_t CountParts(const v1::StreamStepsRequest& request) {
  int64_t parts = int64_t{request.binds_size()} + request.unbinds_size();
  for (const v1::StepBlock& block : request.steps()) parts += std::max(1, block.handles_size());
  return parts;
}

}  // namespace

void StepStream::SendGoAway(absl::Time deadline, const std::string& new_address) {
  {
    MutexLock lock(&mutex_);
    if (finished_ || broken_) return;
    reply_.SetGoAway(deadline, new_address);
  }
  Advance();
}

v1::StreamStepsRequest* StepStream::NextRequest() {
  // A frame without work was not handed on; it serves again.
  if (!reading_frame_.empty() && !reading_frame_.front().Recycle()) reading_frame_.clear();
  if (reading_frame_.empty()) {
    if (free_frames_.empty()) free_frames_.emplace_back();
    reading_frame_.splice(reading_frame_.begin(), free_frames_, free_frames_.begin());
  }
  return &reading_frame_.front().request;
}

v1::StreamStepsResponse* StepStream::TakeReply(Credit* answered, ReplyTimes* times) {
  *answered = reply_.Take(&writing_message_, times);
  return &writing_message_;
}

void StepStream::Drop() {
  in_flight_ -= reply_.Drop();
  for (StreamFrame& frame : active_frames_) {
    for (size_t i = 0; i < frame.used(); ++i) frame.work(i).cancelled.store(true, std::memory_order_relaxed);
  }
}

// --- Results. ---

void StepStream::WorkDone(Work* ended, const absl::Status& status) {
  auto& work = *static_cast<StepWork*>(ended);
  --pending_;
  if (broken_) {
    in_flight_ -= {1, work.bytes};
  } else if (status.ok()) {
    reply_.AddResult(work, this->ended(), context_.slow_log->on());
  } else {
    ReportFailure(status);
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

// --- Frames in. ---

bool StepStream::MayBlock() {
  if (!context_.engine->may_block()) return false;
  MutexLock lock(&mutex_);
  const auto& binds = reading_frame_.front().request.binds();
  return !std::all_of(binds.begin(), binds.end(),
                      [this](const v1::Bind& bind) { return IsInMemory(context_.engine, caller_, bind.session()); });
}

void StepStream::Process() {
  StreamFrame* frame;
  {
    MutexLock lock(&mutex_);
    frame = &reading_frame_.front();
  }
  frame->received = received();
  const v1::StreamStepsRequest& request = frame->request;
  const int64_t parts = CountParts(request);
  if (parts == 0) {
    Refuse(0, 0, 0, InvalidArgument("EMPTY_FRAME", "got a frame without binds, steps or unbinds"));
    return;
  }
  if (parts > context_.limits.max_rows) {
    Refuse(0, 0, 0,
           InvalidArgument("FRAME_TOO_LARGE",
                           absl::StrCat("got a frame of ", parts, " binds, steps and unbinds, want at most ",
                                        context_.limits.max_rows, "; nothing of it was done")));
    return;
  }
  Binds(request);
  handles_.Decode(frame);
  for (const StepRefusal& refusal : frame->refusals) Refuse(refusal.handle, refusal.id, refusal.seq, refusal.status);
  // Of all works together, where one is for a quota: it comes last.
  if (!frame->refusals.empty()) HoldReading(frame->refusals.back().status);
  if (request.unbinds_size() == 0) {
    SubmitFrame(frame);
    return;
  }
  // The frame may be over, and reused, before SubmitFrame returns.
  v1::StreamStepsRequest unbinds;
  unbinds.mutable_unbinds()->Swap(frame->request.mutable_unbinds());
  SubmitFrame(frame);
  Unbinds(unbinds);
}

void StepStream::Binds(const v1::StreamStepsRequest& request) {
  for (int i = 0; i < request.binds_size(); ++i) {
    v1::Bound bound;
    const absl::Status status =
        handles_.Bind(request.binds(i), may_block_ ? Lookup::kStore : Lookup::kMemory, watch_.get(), &bound);
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

void StepStream::SubmitFrame(StreamFrame* frame) {
  if (frame->batch.empty()) return;
  // Out of the frame: its works may all have ended, and the frame be read into again, before Submit returns.
  batch_.clear();
  batch_.swap(frame->batch);
  {
    MutexLock lock(&mutex_);
    frame->pending = batch_.size();
    // Where several messages are in flight, replies can go together: such a stream is left to gather for a while.
    gathering_ = pending_ > 0 || !reply_.empty() ? kGather : gathering_ - (gathering_ > 0 ? 1 : 0);
    batch_.front()->alone = gathering_ == 0;
    pending_ += batch_.size();
    in_flight_.items += batch_.size();
    for (size_t i = 0; i < frame->used(); ++i) {
      StepWork& work = frame->work(i);
      work.sink = sink();
      work.cancelled.store(broken_, std::memory_order_relaxed);
      in_flight_.bytes += work.bytes;
    }
    frame->self = reading_frame_.begin();
    active_frames_.splice(active_frames_.end(), reading_frame_, frame->self);
  }
  Submit(batch_);
}

void StepStream::Unbinds(const v1::StreamStepsRequest& request) {
  for (int i = 0; i < request.unbinds_size(); ++i) {
    const v1::Unbind& unbind = request.unbinds(i);
    absl::StatusOr<std::shared_ptr<Session>> session = handles_.Unbind(unbind.handle(), watch_.get());
    if (!session.ok()) {
      Refuse(unbind.handle(), 0, 0, InItem(session.status(), "unbinds", static_cast<size_t>(i)));
    } else if (unbind.delete_session()) {
      DeleteSession(unbind.handle(), **session);
    }
  }
}

void StepStream::DeleteSession(uint32_t handle, const Session& session) {
  const auto run = [this, handle, model = NameOf(ModelOf(session)), id = IdOf(session)] {
    const absl::Status status = context_.engine->DeleteSession(model, id);
    if (!status.ok()) {
      Refuse(handle, 0, 0, status);
      return;
    }
    MutexLock lock(&mutex_);
    if (broken_) return;
    v1::SessionEvent& event = *reply_.AddEvent();
    event.set_session(FormatSessionName(model, id));
    event.set_kind(v1::SessionEvent::DELETED);
    event.set_reason("unbound with delete_session");
    ToProto(absl::Now(), event.mutable_time());
  };
  if (!RunJob(run)) Refuse(handle, 0, 0, PoolFull());
}

void StepStream::SendEvents() {
  {
    MutexLock lock(&mutex_);
    for (const SessionEvent& event : watch_->Take(SIZE_MAX)) {
      if (!broken_) ToProto(event, reply_.AddEvent());
    }
  }
  Advance();
}

void StepStream::Refuse(uint32_t handle, uint64_t id, uint64_t seq, const absl::Status& status) {
  ReportFailure(status);
  MutexLock lock(&mutex_);
  if (broken_) return;
  reply_.AddFailure(handle, id, seq, status);
  in_flight_.items += 1;
}

}  // namespace lstmd::server
