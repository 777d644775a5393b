// SPDX-License-Identifier: Apache-2.0
#include "client/stream_core.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/array.h"
#include "client/error.h"

namespace lstmd::client {
namespace {

constexpr uint32_t kMaxHandles = 1 << 20;

}  // namespace

absl::Status BrokenProtocol(absl::string_view what) {
  return absl::InternalError(absl::StrCat("the server broke the protocol of the stream: ", what));
}

thread_local const Stream::Core* Stream::Core::dispatching_ = nullptr;

Stream::Core::Core(std::shared_ptr<v1::InferenceService::Stub> stub, std::unique_ptr<grpc::ClientContext> context,
                   StreamOptions options)
    : stub_(std::move(stub)),
      context_(std::move(context)),
      options_(std::move(options)),
      limit_(std::max<uint32_t>(options_.max_in_flight, 1)) {
  stub_->async()->StreamSteps(context_.get(), this);
  AddHold();  // for writes that start outside of reactions; removed when nothing can be written any more
  StartRead(&response_);
  StartCall();
}

Stream::Core::~Core() {
  context_->TryCancel();
  MutexLock lock(&mutex_);
  while (!done_) changed_.Wait(&mutex_);
}

absl::Status Stream::Core::Sendable() const {
  if (done_) {
    return status_.ok() ? absl::FailedPreconditionError("the stream has ended") : status_;
  }
  if (!broken_.ok()) return broken_;
  if (frames_.half_closed()) return absl::FailedPreconditionError("the stream was finished; nothing more can be sent");
  if (closed_) return absl::UnavailableError("the stream is ending");
  return absl::OkStatus();
}

v1::StreamStepsRequest* Stream::Core::FrameFor(size_t bytes, bool block, bool before_unbinds) {
  FrameQueue::Frame* frame = frames_.last();
  const bool fits = frame != nullptr && frame->bytes + bytes <= FrameQueue::kFrameBytes &&
                    !(before_unbinds && frame->message.unbinds_size() > 0) &&
                    !(block && !options_.coalesce && frame->message.steps_size() > 0);
  if (!fits) frame = frames_.Add();
  frame->bytes += bytes;
  return &frame->message;
}

void Stream::Core::Flush() {
  if (closed_) return;
  if (FrameQueue::Frame* next = frames_.Next()) {
    grpc::WriteOptions write;
    if (frames_.last() != nullptr) write.set_buffer_hint();
    StartWrite(&next->message, write);
  } else if (frames_.TakeEnd()) {
    StartWritesDone();
  }
}

void Stream::Core::OnWriteDone(bool ok) {
  MutexLock lock(&mutex_);
  frames_.Written();
  if (ok) Flush();  // otherwise the read side is about to hear why
}

void Stream::Core::Bind(const std::string& session, const BindOptions& options, BindCallback done) {
  absl::Status status;
  {
    MutexLock lock(&mutex_);
    status = Sendable();
    uint32_t handle = static_cast<uint32_t>(handles_.size());
    if (handle < kMaxHandles) {
      if (status.ok()) handles_.emplace_back();
    } else if (!free_handles_.empty()) {
      // The handle that was unbound longest ago: the server is done with it.
      handle = free_handles_.front();
      if (status.ok()) free_handles_.pop_front();
    } else if (status.ok()) {
      status = absl::ResourceExhaustedError(absl::StrCat("all ", kMaxHandles, " handles of the stream are bound"));
    }
    if (status.ok()) {
      handles_[handle].state = Handle::kBinding;
      handles_[handle].done = std::move(done);
      v1::Bind* bind = FrameFor(session.size() + 16, /*block=*/false, /*before_unbinds=*/true)->add_binds();
      bind->set_handle(handle);
      bind->set_session(session);
      bind->set_epoch(options.epoch);
      bind->set_create_if_missing(options.create_if_missing);
      if (!InCallback()) Flush();
      return;
    }
  }
  done(status);
}

absl::Status Stream::Core::Unbind(uint32_t handle, bool delete_session) {
  MutexLock lock(&mutex_);
  if (absl::Status status = Sendable(); !status.ok()) return status;
  if (handle >= handles_.size() || handles_[handle].state != Handle::kBound) {
    return absl::InvalidArgumentError(absl::StrCat("handle ", handle, " is not bound"));
  }
  handles_[handle].state = Handle::kFree;
  free_handles_.push_back(handle);
  v1::Unbind* unbind = FrameFor(8, /*block=*/false, /*before_unbinds=*/false)->add_unbinds();
  unbind->set_handle(handle);
  unbind->set_delete_session(delete_session);
  if (!InCallback()) Flush();
  return absl::OkStatus();
}

absl::Status Stream::Core::Send(const Steps& steps, StepCallback done, bool wait) {
  const size_t count = steps.handles.size();
  const size_t rows = count * std::max<size_t>(steps.time_steps, 1);
  if (count == 0 || steps.input.size() % rows != 0) {
    return absl::InvalidArgumentError(absl::StrCat("input of ", count, " handles, ", steps.time_steps,
                                                   " time steps: got ", steps.input.size(), " numbers"));
  }
  if (!steps.seqs.empty() && steps.seqs.size() != count) {
    return absl::InvalidArgumentError(absl::StrCat("seqs: got ", steps.seqs.size(), ", want none or ", count));
  }
  MutexLock lock(&mutex_);
  absl::Status status = Sendable();
  while (status.ok() && in_flight_ > 0 && in_flight_ + count > limit_) {
    if (!wait || InCallback()) {
      return absl::ResourceExhaustedError(absl::StrCat(in_flight_, " steps are in flight, at most ", limit_));
    }
    changed_.Wait(&mutex_);
    status = Sendable();
  }
  if (!status.ok()) return status;
  in_flight_ += static_cast<uint32_t>(count);

  uint32_t slot;
  if (free_blocks_.empty()) {
    slot = static_cast<uint32_t>(blocks_.size());
    blocks_.emplace_back();
  } else {
    slot = free_blocks_.back();
    free_blocks_.pop_back();
  }
  Block& block = blocks_[slot];
  block.done = std::move(done);
  block.handles.assign(steps.handles.begin(), steps.handles.end());
  block.first = 0;
  block.remaining = static_cast<uint32_t>(count);

  const size_t bytes = steps.input.size() * sizeof(float) + count * (steps.seqs.empty() ? 4 : 12) + 32;
  v1::StepBlock* message = FrameFor(bytes, /*block=*/true, /*before_unbinds=*/true)->add_steps();
  message->set_id(uint64_t{block.generation} << 32 | (slot + 1));
  message->mutable_handles()->Add(steps.handles.begin(), steps.handles.end());
  message->mutable_seqs()->Add(steps.seqs.begin(), steps.seqs.end());
  message->set_return_state(steps.return_state);
  const int64_t inputs = static_cast<int64_t>(steps.input.size() / rows);
  const int64_t shape[] = {static_cast<int64_t>(count), steps.time_steps, inputs};
  const int64_t flat[] = {static_cast<int64_t>(count), inputs};
  ToTensor(steps.input, steps.time_steps > 0 ? absl::MakeConstSpan(shape) : absl::MakeConstSpan(flat),
           message->mutable_input());
  if (!InCallback()) Flush();
  return absl::OkStatus();
}

absl::Status Stream::Core::Finish() {
  if (InCallback()) return absl::FailedPreconditionError("Finish was called from a callback, for which it would wait");
  MutexLock lock(&mutex_);
  frames_.HalfClose();
  Flush();
  while (!done_) changed_.Wait(&mutex_);
  return status_;
}

void Stream::Core::OnReadDone(bool ok) {
  if (ok) {
    dispatching_ = this;
    const bool good = Dispatch();
    dispatching_ = nullptr;
    if (!good) context_->TryCancel();
    {
      MutexLock lock(&mutex_);
      Flush();
    }
    StartRead(&response_);
    return;
  }
  {
    MutexLock lock(&mutex_);
    closed_ = true;
    frames_.Drop();
    changed_.SignalAll();
  }
  RemoveHold();
}

void Stream::Core::OnDone(const grpc::Status& grpc_status) {
  absl::Status status = FromGrpc(grpc_status);
  std::vector<BindCallback> binds;
  std::vector<std::pair<StepCallback, std::vector<uint32_t>>> steps;
  {
    MutexLock lock(&mutex_);
    if (!broken_.ok()) status = broken_;
    for (Handle& handle : handles_) {
      if (handle.state == Handle::kBinding) binds.push_back(std::exchange(handle.done, nullptr));
      handle.state = Handle::kFree;
    }
    for (Block& block : blocks_) {
      if (block.remaining > 0) steps.emplace_back(std::exchange(block.done, nullptr), std::move(block.handles));
    }
    if (status.ok() && (!binds.empty() || !steps.empty())) {
      status = BrokenProtocol("it ended before all was answered");
    }
    broken_ = status;
    closed_ = true;
  }
  dispatching_ = this;
  for (const BindCallback& done : binds) done(status);
  for (const auto& [done, handles] : steps) {
    for (uint32_t index = 0; index < handles.size(); ++index) {
      if (handles[index] == kAnswered) continue;
      StepResult result;
      result.status = status;
      result.handle = handles[index];
      result.index = index;
      done(result);
    }
  }
  dispatching_ = nullptr;
  MutexLock lock(&mutex_);
  status_ = status;
  in_flight_ = 0;
  done_ = true;
  changed_.SignalAll();
}

}  // namespace lstmd::client
