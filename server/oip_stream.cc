// SPDX-License-Identifier: Apache-2.0
#include "server/oip_stream.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "server/errors.h"
#include "server/logging.h"
#include "server/rpc.h"

namespace lstmd::server {

void OipStream::Start() {
  context_.streams->Add(this);
  Advance();
}

void OipStream::OnReadDone(bool ok) {
  Request* request = nullptr;
  {
    MutexLock lock(&mutex_);
    reading_ = false;
    if (finished_) return;
    if (!ok) {
      reads_done_ = true;
    } else if (!Ending()) {
      processing_ = true;
      request = &reading_request_.front();
    }
  }
  if (request != nullptr) {
    Process(request);
    MutexLock lock(&mutex_);
    processing_ = false;
  }
  Advance();
}

void OipStream::OnWriteDone(bool ok) {
  {
    MutexLock lock(&mutex_);
    writing_ = false;
    Erase(&replies_, replies_.begin());
    if (!ok) Break();
  }
  Advance();
}

void OipStream::OnCancel() {
  {
    MutexLock lock(&mutex_);
    Break();
  }
  Advance();
}

// gRPC: all is over, and no reaction runs any more.
void OipStream::OnDone() {
  context_.streams->Remove(this);
  delete this;
}

void OipStream::StopReading() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  Advance();
}

// --- What happens next. ---

void OipStream::Advance() {
  {
    MutexLock lock(&mutex_);
    ++busy_;
  }
  AdvanceBusy();
}

void OipStream::AdvanceBusy() {
  while (true) {
    inference::ModelStreamInferResponse* reply = nullptr;
    inference::ModelInferRequest* message = nullptr;
    grpc::Status status;
    {
      MutexLock lock(&mutex_);
      if (!writing_ && !broken_ && !finished_ && !replies_.empty()) {
        writing_ = true;
        reply = &replies_.front().reply;
      }
      if (MayRead()) {
        reading_ = true;
        reading_request_.clear();
        message = &reading_request_.emplace_back(context_, stats_).message;
      }
      if (reply == nullptr && message == nullptr) {
        --busy_;
        if (!MayFinish()) return;
        finished_ = true;
        if (broken_) {
          status = grpc::Status(grpc::StatusCode::CANCELLED, "the client went away");
        } else if (error_) {
          status = ToGrpcStatus(*error_);
        }
      }
    }
    // Outside the lock: these may serialise, write to the socket, and, the last, lead to the end of this object.
    if (reply != nullptr) StartWrite(reply);
    if (message != nullptr) StartRead(message);
    if (reply != nullptr || message != nullptr) continue;
    Finish(status);
    return;
  }
}

bool OipStream::MayRead() const {
  return !reading_ && !processing_ && !reads_done_ && !stopping_ && !broken_ && !finished_ &&
         in_flight_rows_ < context_.limits.max_in_flight_per_stream &&
         in_flight_bytes_ < context_.limits.max_message_bytes;
}

bool OipStream::MayFinish() const {
  return !finished_ && (reads_done_ || stopping_ || broken_) && !processing_ && !writing_ && jobs_ == 0 && busy_ == 0 &&
         active_.empty() && open_batches_.empty() && (broken_ || replies_.empty());
}

void OipStream::Break() {
  broken_ = true;
  CancelWorks();
  // gRPC may still look at the one it writes.
  while (replies_.size() > (writing_ ? 1u : 0u)) Erase(&replies_, std::prev(replies_.end()));
}

void OipStream::CancelWorks() {
  for (Request& request : active_) {
    if (!request.submitted) continue;
    for (RowWork& work : request.works) work.cancelled.store(true, std::memory_order_relaxed);
  }
}

// --- Results. ---

void OipStream::OnDone(Work* ended, const absl::Status& status) {
  auto& work = *static_cast<RowWork*>(ended);
  MutexLock lock(&mutex_);
  open_batches_.Enter();
  Request& request = *work.request;
  if (status.ok()) {
    request.infer.Take(work);
  } else {
    request.infer.Fail(status);
  }
  if (--request.pending == 0) Complete(&request, absl::OkStatus());
}

void OipStream::OnBatchEnd() {
  {
    MutexLock lock(&mutex_);
    open_batches_.Leave();
    ++busy_;
  }
  AdvanceBusy();
}

void OipStream::Complete(Request* request, const absl::Status& status) {
  inference::ModelInferResponse& response = *request->reply.mutable_infer_response();
  const absl::Status ended = request->infer.Complete(status, &response);
  if (!ended.ok()) {
    LogFailure(Plane::kData, "ModelStreamInfer", ended);
    request->reply.set_error_message(absl::StrCat("[", GetCause(ended).reason, "] ",
                                                  Printable({ended.message().data(), ended.message().size()}, 1024)));
    if (end_at_error_ && !Ending()) {
      error_ = ended;
      stopping_ = true;
      CancelWorks();
    }
  }
  request->done = true;
  if (request->line.empty()) {
    Leave(request);
    return;
  }
  const auto found = lines_.find(request->line);
  std::deque<Request*>& line = found->second.requests;
  while (!line.empty() && line.front()->done) {
    Request* const first = line.front();
    line.pop_front();
    Leave(first);
  }
  if (line.empty() && !found->second.starting) lines_.erase(found);
}

void OipStream::Leave(Request* request) {
  if (Ending()) {
    Erase(&active_, request->self);
  } else {
    replies_.splice(replies_.end(), active_, request->self);
  }
}

void OipStream::Erase(Requests* from, Requests::iterator request) {
  in_flight_rows_ -= request->rows;
  in_flight_bytes_ -= request->bytes;
  from->erase(request);
}

void OipStream::Count(Request* request, uint64_t rows, uint64_t bytes) {
  request->rows += rows;
  request->bytes += bytes;
  in_flight_rows_ += rows;
  in_flight_bytes_ += bytes;
}

// --- Requests in. ---

void OipStream::Process(Request* request) {
  if (!Enter(request, request->infer.Parse(request->message, &request->scratch))) return;
  if (!request->infer.starts()) {
    Submit(request);
    return;
  }
  if (std::optional<absl::Status> started = request->infer.StartAtOnce()) {
    if (started->ok()) {
      Submit(request);
      return;
    }
    MutexLock lock(&mutex_);
    Complete(request, *started);
    return;
  }
  {
    MutexLock lock(&mutex_);
    lines_[request->line].starting = true;
    ++jobs_;
  }
  if (context_.session_pool->Run([this, request] { RunLine(request); })) return;
  MutexLock lock(&mutex_);
  --jobs_;
  lines_[request->line].starting = false;
  Complete(request, PoolFull());
}

bool OipStream::Enter(Request* request, const absl::Status& status) {
  MutexLock lock(&mutex_);
  request->self = reading_request_.begin();
  active_.splice(active_.end(), reading_request_, request->self);
  Count(request, 1, request->message.ByteSizeLong());
  request->line = request->infer.session();
  if (!request->line.empty()) {
    Line& line = lines_[request->line];
    line.requests.push_back(request);
    request->held = status.ok() && line.starting;
  }
  if (!status.ok()) Complete(request, status);
  return status.ok() && !request->held;
}

void OipStream::RunLine(Request* request) {
  const std::string key = request->line;
  while (request != nullptr) {
    StartInLine(request);
    request = NextInLine(key);
    Advance();
  }
  {
    MutexLock lock(&mutex_);
    --jobs_;
    ++busy_;
  }
  AdvanceBusy();
}

void OipStream::StartInLine(Request* request) {
  absl::Status status;
  {
    MutexLock lock(&mutex_);
    if (Ending()) status = Error(absl::StatusCode::kCancelled, "CANCELLED", "the stream has ended");
  }
  if (status.ok() && request->infer.starts()) status = request->infer.StartSession();
  if (status.ok()) {
    Submit(request);
    return;
  }
  MutexLock lock(&mutex_);
  Complete(request, status);
}

OipStream::Request* OipStream::NextInLine(const std::string& key) {
  MutexLock lock(&mutex_);
  const auto found = lines_.find(key);
  Line& line = found->second;
  const auto next =
      std::find_if(line.requests.begin(), line.requests.end(), [](const Request* request) { return request->held; });
  if (next != line.requests.end()) {
    (*next)->held = false;
    return *next;
  }
  line.starting = false;
  if (line.requests.empty()) lines_.erase(found);
  return nullptr;
}

void OipStream::Submit(Request* request) {
  const absl::Status status = request->infer.Prepare(&request->scratch, [&](size_t row) -> ItemWork& {
    RowWork& work = request->works.emplace_back();
    work.row = row;
    work.sink = this;
    work.request = request;
    return work;
  });
  absl::InlinedVector<Work*, 4> batch;
  {
    MutexLock lock(&mutex_);
    if (!status.ok() || request->works.empty()) {
      Complete(request, status);
      return;
    }
    for (RowWork& work : request->works) {
      work.cancelled.store(Ending(), std::memory_order_relaxed);
      batch.push_back(&work);
    }
    request->pending = batch.size();
    request->submitted = true;
    Count(request, batch.size() - 1, request->infer.reply_bytes());
  }
  // The request may be answered and gone before this returns.
  context_.engine->SubmitAll(batch);
  MutexLock lock(&mutex_);
  open_batches_.Leave();
}

}  // namespace lstmd::server
