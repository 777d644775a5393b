// SPDX-License-Identifier: Apache-2.0
#include "client/resume_link.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/array.h"
#include "client/error.h"

namespace lstmd::client {
namespace {

constexpr size_t kFrameParts = 8192;

bool SameShape(const v1::StepBlock& block, uint64_t round, const SentSteps& steps) {
  const v1::Tensor& input = block.input();
  const bool many = steps.time_steps > 0;
  return block.id() == round && block.return_state() == steps.return_state && input.shape_size() == (many ? 3 : 2) &&
         (!many || input.shape(1) == steps.time_steps) &&
         input.data().size() == static_cast<size_t>(block.handles_size()) * steps.step_floats * sizeof(float);
}

// What a reply must keep to, whatever is in it. Fills `outputs`.
absl::Status Decode(Reply* reply) {
  reply->outputs.resize(static_cast<size_t>(reply->message.results_size()));
  for (int i = 0; i < reply->message.results_size(); ++i) {
    const v1::ResultBlock& block = reply->message.results(i);
    std::vector<float>& output = reply->outputs[static_cast<size_t>(i)];
    if (absl::Status status = ReadTensor(block.output(), &output); !status.ok()) return status;
    const int count = block.handles_size();
    const auto fits = [count](int size) { return size == 0 || size == count; };
    if (count == 0 || output.size() % static_cast<size_t>(count) != 0 || block.seqs_size() != count ||
        !fits(block.states_size()) || !fits(block.replayed_size()) || !fits(block.durable_seqs_size())) {
      return absl::InternalError("the server broke the protocol: arrays of a block of results differ in length");
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::shared_ptr<ResumeLink> ResumeLink::Open(const Endpoint& endpoint, std::unique_ptr<grpc::ClientContext> context,
                                             Owner* owner) {
  std::shared_ptr<ResumeLink> link(new ResumeLink(endpoint, std::move(context), owner));
  link->self_ = link;
  link->stub_->async()->StreamSteps(link->context_.get(), link.get());
  link->AddHold();  // for writes that start outside of reactions; removed when nothing can be written any more
  link->StartRead(&link->reply_->message);
  link->StartCall();
  return link;
}

ResumeLink::ResumeLink(const Endpoint& endpoint, std::unique_ptr<grpc::ClientContext> context, Owner* owner)
    : address_(endpoint.address),
      stub_(endpoint.inference),
      context_(std::move(context)),
      owner_(owner),
      reply_(std::make_shared<Reply>()) {}

FrameQueue::Frame* ResumeLink::FrameFor(size_t bytes) {
  FrameQueue::Frame* frame = frames_.last();
  const bool fits = frame != nullptr && frame->bytes + bytes <= FrameQueue::kFrameBytes && frame->parts < kFrameParts;
  if (!fits) frame = frames_.Add();
  frame->bytes += bytes;
  ++frame->parts;
  return frame;
}

void ResumeLink::AddBind(uint32_t handle, const std::string& session, uint64_t epoch, bool create) {
  MutexLock lock(&mutex_);
  if (closed_) return;
  v1::Bind* bind = FrameFor(session.size() + 16)->message.add_binds();
  bind->set_handle(handle);
  bind->set_session(session);
  bind->set_epoch(epoch);
  bind->set_create_if_missing(create);
}

void ResumeLink::AddStep(uint32_t handle, uint64_t round, const ResumeSession::Outgoing& step) {
  const SentSteps& steps = *step.steps;
  MutexLock lock(&mutex_);
  if (closed_) return;
  v1::StreamStepsRequest& message = FrameFor(steps.step_floats * sizeof(float) + 12)->message;
  v1::StepBlock* block = message.steps_size() == 0 ? nullptr : message.mutable_steps(message.steps_size() - 1);
  v1::Tensor* input = nullptr;
  if (block != nullptr && SameShape(*block, round, steps)) {
    input = block->mutable_input();
  } else {
    block = message.add_steps();
    block->set_id(round);
    block->set_return_state(steps.return_state);
    input = block->mutable_input();
    input->set_dtype(v1::DATA_TYPE_F32);
    input->add_shape(0);
    if (steps.time_steps > 0) input->add_shape(steps.time_steps);
    input->add_shape(static_cast<int64_t>(steps.step_floats / std::max<size_t>(steps.time_steps, 1)));
  }
  block->add_handles(handle);
  block->add_seqs(step.seq);
  input->set_shape(0, block->handles_size());
  const absl::Span<const float> values = steps.InputOf(step.index);
  input->mutable_data()->append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

void ResumeLink::AddUnbind(uint32_t handle, bool delete_session) {
  MutexLock lock(&mutex_);
  if (closed_) return;
  v1::Unbind* unbind = FrameFor(8)->message.add_unbinds();
  unbind->set_handle(handle);
  unbind->set_delete_session(delete_session);
}

void ResumeLink::Flush() {
  MutexLock lock(&mutex_);
  FlushLocked();
}

void ResumeLink::HalfClose() {
  MutexLock lock(&mutex_);
  frames_.HalfClose();
  FlushLocked();
}

void ResumeLink::FlushLocked() {
  if (closed_) return;
  if (FrameQueue::Frame* next = frames_.Next()) {
    StartWrite(&next->message);
  } else if (frames_.TakeEnd()) {
    StartWritesDone();
  }
}

void ResumeLink::OnWriteDone(bool ok) {
  MutexLock lock(&mutex_);
  frames_.Written();
  if (ok) FlushLocked();  // otherwise the read side is about to hear why
}

void ResumeLink::OnReadDone(bool ok) {
  if (ok) {
    if (broken_.ok()) {
      broken_ = Decode(reply_.get());
      if (broken_.ok()) {
        owner_->OnReply(this, std::exchange(reply_, std::make_shared<Reply>()));
      } else {
        context_->TryCancel();
      }
    }
    StartRead(&reply_->message);
    return;
  }
  {
    MutexLock lock(&mutex_);
    closed_ = true;
    frames_.Drop();
  }
  RemoveHold();
}

void ResumeLink::OnDone(const grpc::Status& status) {
  const absl::Status end = broken_.ok() ? FromGrpc(status) : broken_;
  owner_->OnEnd(std::move(self_), end);
}

}  // namespace lstmd::client
