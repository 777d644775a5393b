// SPDX-License-Identifier: Apache-2.0
#include "server/oip_stream.h"

#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "server/errors.h"
#include "server/rpc.h"

namespace lstmd::server {
namespace {

constexpr size_t kFreeRequests = 64;
constexpr uint64_t kKeepBytes = uint64_t{64} << 10;
constexpr int kKeepTensors = 8;

}  // namespace

inference::ModelInferRequest* OipStream::NextRequest() {
  // One that was not processed, as the stream ends.
  reading_request_.clear();
  if (free_.empty()) free_.emplace_back(context_, stats_, caller_);
  reading_request_.splice(reading_request_.begin(), free_, free_.begin());
  return &reading_request_.front().message;
}

void OipStream::Recycle(Requests* from, Requests::iterator request) {
  // Sizes that a step has. What a request has more of would stay.
  const bool keep = free_.size() < kFreeRequests && request->credit.bytes <= kKeepBytes &&
                    request->message.inputs_size() <= kKeepTensors && request->message.outputs_size() <= kKeepTensors &&
                    request->message.raw_input_contents_size() <= kKeepTensors && request->works.size() <= 1;
  if (!keep) {
    from->erase(request);
    return;
  }
  request->message.Clear();
  // Not all of it, which would delete the response.
  request->reply.clear_error_message();
  request->reply.mutable_infer_response()->Clear();
  request->infer.Reset();
  request->scratch.Reset();
  request->works.clear();
  request->submitted = request->held = request->done = false;
  request->credit = {};
  request->times.Clear();
  request->behind = nullptr;
  free_.splice(free_.begin(), *from, request);
}

inference::ModelStreamInferResponse* OipStream::TakeReply(Credit* answered, ReplyTimes* times) {
  if (!written_.empty()) Recycle(&written_, written_.begin());
  written_.splice(written_.begin(), replies_, replies_.begin());
  *answered = written_.front().credit;
  times->Take(&written_.front().times);
  return &written_.front().reply;
}

grpc::Status OipStream::FinalStatus() const { return error_ ? ToGrpcStatus(*error_) : grpc::Status::OK; }

void OipStream::Drop() {
  CancelWorks();
  for (const Request& request : replies_) in_flight_ -= request.credit;
  replies_.clear();
}

void OipStream::CancelWorks() {
  for (Request& request : active_) {
    if (!request.submitted) continue;
    for (RowWork& work : request.works) work.cancelled.store(true, std::memory_order_relaxed);
  }
}

// --- Results. ---

void OipStream::WorkDone(Work* ended, const absl::Status& status) {
  auto& work = *static_cast<RowWork*>(ended);
  Request& request = *work.request;
  if (status.ok()) {
    request.times.Add(work, request.received, this->ended(), context_.slow_log->on());
    request.infer.Take(work);
  } else {
    request.infer.Fail(status);
  }
  if (--request.pending == 0) Complete(&request, absl::OkStatus());
}

void OipStream::Complete(Request* request, const absl::Status& status) {
  inference::ModelInferResponse& response = *request->reply.mutable_infer_response();
  const absl::Status ended = request->infer.Complete(status, &response);
  if (!ended.ok()) {
    ReportFailure(ended);
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
  Line& line = found->second;
  while (line.first != nullptr && line.first->done) {
    Request* const first = line.first;
    line.first = first->behind;
    Leave(first);
  }
  if (line.first == nullptr && !line.starting) lines_.erase(found);
}

void OipStream::Leave(Request* request) {
  --pending_;
  if (Ending()) {
    in_flight_ -= request->credit;
    Recycle(&active_, request->self);
  } else {
    replies_.splice(replies_.end(), active_, request->self);
  }
}

void OipStream::Count(Request* request, Credit credit) {
  request->credit += credit;
  in_flight_ += credit;
}

// --- Requests in. ---

void OipStream::Process() {
  Request* request;
  {
    MutexLock lock(&mutex_);
    if (Ending()) return;
    request = &reading_request_.front();
  }
  request->received = received();
  if (!Enter(request, request->infer.Parse(request->message, &request->scratch))) return;
  if (!request->infer.starts() && !request->infer.MayBlock()) {
    SubmitRequest(request);
    return;
  }
  std::optional<absl::Status> started;
  if (request->infer.starts()) started = request->infer.StartAtOnce();
  if (started) {
    if (started->ok()) {
      SubmitRequest(request);
      return;
    }
    MutexLock lock(&mutex_);
    Complete(request, *started);
    return;
  }
  {
    MutexLock lock(&mutex_);
    lines_[request->line].starting = true;
  }
  if (RunJob([this, request] { RunLine(request); })) return;
  MutexLock lock(&mutex_);
  lines_[request->line].starting = false;
  Complete(request, PoolFull());
}

bool OipStream::Enter(Request* request, const absl::Status& status) {
  MutexLock lock(&mutex_);
  request->self = reading_request_.begin();
  active_.splice(active_.end(), reading_request_, request->self);
  ++pending_;
  Count(request, {1, request->message.ByteSizeLong()});
  request->line = request->infer.session();
  if (!request->line.empty()) {
    Line& line = lines_[request->line];
    (line.first == nullptr ? line.first : line.last->behind) = request;
    line.last = request;
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
}

void OipStream::StartInLine(Request* request) {
  absl::Status status;
  {
    MutexLock lock(&mutex_);
    if (Ending()) status = Error(absl::StatusCode::kCancelled, "CANCELLED", "the stream has ended");
  }
  request->infer.AllowBlocking();
  if (status.ok() && request->infer.starts()) status = request->infer.StartSession();
  if (status.ok()) {
    SubmitRequest(request);
    return;
  }
  MutexLock lock(&mutex_);
  Complete(request, status);
}

OipStream::Request* OipStream::NextInLine(const std::string& key) {
  MutexLock lock(&mutex_);
  const auto found = lines_.find(key);
  Line& line = found->second;
  for (Request* next = line.first; next != nullptr; next = next->behind) {
    if (!next->held) continue;
    next->held = false;
    return next;
  }
  line.starting = false;
  if (line.first == nullptr) lines_.erase(found);
  return nullptr;
}

void OipStream::SubmitRequest(Request* request) {
  absl::Status status = request->infer.Prepare(&request->scratch, [&](size_t row) -> ItemWork& {
    RowWork& work = request->works.emplace_back();
    work.row = row;
    work.sink = sink();
    work.request = request;
    return work;
  });
  uint64_t steps = 0;
  for (const RowWork& work : request->works) steps += work.steps;
  if (status.ok()) status = caller_.CheckValid();
  if (status.ok()) status = context_.engine->CheckMemory();
  if (status.ok()) status = caller_.Enter(request->works.size(), steps);
  HoldReading(status);
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
    // Nothing else of the stream is on its way that its reply could wait for.
    request->works.front().alone = pending_ == 1 && replies_.empty();
    Count(request, {batch.size() - 1, request->infer.reply_bytes()});
  }
  // The request may be answered and gone before this returns.
  Submit(batch);
}

}  // namespace lstmd::server
