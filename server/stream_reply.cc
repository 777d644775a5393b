// SPDX-License-Identifier: Apache-2.0
#include "server/stream_reply.h"

#include <algorithm>
#include <utility>

#include "server/convert_model.h"
#include "server/convert_session.h"
#include "server/errors.h"

namespace lstmd::server {
namespace {

constexpr size_t kFrameBytes = size_t{1} << 20;
// Of a result beyond its tensors, and of a failure with its details.
constexpr size_t kResultBytes = 16;
constexpr size_t kFailureBytes = 512;
constexpr size_t kBoundBytes = 512;

}  // namespace

StreamReply::Frame& StreamReply::Room(size_t size) {
  if (frames_.empty() || (frames_.back().size > 0 && frames_.back().size + size > kFrameBytes)) {
    Seal();
    Frame& frame = frames_.emplace_back();
    frame.message = spare_ ? std::move(spare_) : std::make_unique<v1::StreamStepsResponse>();
  }
  frames_.back().size += size;
  return frames_.back();
}

StreamReply::OpenBlock& StreamReply::FindBlock(Frame* frame, const StepWork& work) {
  const bool with_state = work.final_h != nullptr;
  for (OpenBlock& block : open_) {
    if (block.steps == work.steps && block.output_size == work.output_size && block.dtype == work.dtype &&
        block.many_steps == work.many_steps && block.with_state == with_state) {
      return block;
    }
  }
  OpenBlock& block = open_.emplace_back();
  block.index = frame->message->results_size();
  block.steps = work.steps;
  block.output_size = work.output_size;
  block.dtype = work.dtype;
  block.many_steps = work.many_steps;
  block.with_state = with_state;
  v1::ResultBlock& result = *frame->message->add_results();
  v1::Tensor& output = *result.mutable_output();
  output.set_dtype(work.dtype);
  output.add_shape(0);
  if (work.many_steps) output.add_shape(work.steps);
  output.add_shape(work.output_size);
  ToProto(work.timing, result.mutable_timing());
  return block;
}

void StreamReply::AddResult(const StepWork& work, absl::Time ended, bool slow) {
  const size_t floats = static_cast<size_t>(work.steps) * work.output_size;
  const size_t bytes = floats * ElementSize(work.dtype);
  const ModelSpec& spec = SpecOf(ModelOf(*work.session));
  const size_t state = work.final_h == nullptr ? 0 : (size_t{spec.h_size()} + spec.c_size()) * sizeof(float);
  Frame& frame = Room(kResultBytes + bytes + state);
  OpenBlock& block = FindBlock(&frame, work);
  v1::ResultBlock& result = *frame.message->mutable_results(block.index);

  result.add_ids(work.id);
  result.add_handles(work.handle);
  result.add_seqs(work.result_seq);
  result.add_replayed(work.replayed);
  result.add_durable_seqs(work.result_durable_seq);
  block.any_durable |= work.result_durable_seq != 0;
  block.any_id |= work.id != 0;
  block.any_seq |= work.seq != 0;
  block.any_replayed |= work.replayed;

  v1::Tensor& output = *result.mutable_output();
  output.set_shape(0, output.shape(0) + 1);
  std::string& data = *output.mutable_data();
  if (work.dtype == v1::DATA_TYPE_F32) {
    data.append(reinterpret_cast<const char*>(work.output), bytes);
  } else {
    const size_t before = data.size();
    data.resize(before + bytes);
    WriteFloats(work.output, floats, work.dtype, data.data() + before);
  }
  if (work.final_h != nullptr) SetState(spec, work.final_h, work.final_c, result.add_states());
  v1::Timing& timing = *result.mutable_timing();
  timing.set_queue_ns(std::max(
      timing.queue_ns(), static_cast<uint64_t>(std::max<int64_t>(0, absl::ToInt64Nanoseconds(work.timing.queue)))));
  frame.credit += {1, work.bytes};
  frame.times.Add(work, work.frame->received, ended, slow);
}

void StreamReply::AddFailure(uint32_t handle, uint64_t steps_id, uint64_t seq, const absl::Status& status,
                             uint64_t bytes) {
  Frame& frame = Room(kFailureBytes);
  v1::StepFailure& failure = *frame.message->add_failures();
  failure.set_handle(handle);
  failure.set_steps_id(steps_id);
  failure.set_seq(seq);
  SetRpcStatus(status, failure.mutable_error());
  frame.credit += {1, bytes};
}

v1::Bound* StreamReply::AddBound() {
  Frame& frame = Room(kBoundBytes);
  frame.credit.items += 1;
  return frame.message->add_bound();
}

v1::SessionEvent* StreamReply::AddEvent() { return Room(kBoundBytes).message->add_events(); }

void StreamReply::SetGoAway(absl::Time deadline, const std::string& new_address) {
  v1::GoAway& go_away = *Room(kResultBytes).message->mutable_go_away();
  ToProto(deadline, go_away.mutable_deadline());
  go_away.set_new_address(new_address);
}

void StreamReply::Seal() {
  for (const OpenBlock& block : open_) {
    v1::ResultBlock& result = *frames_.back().message->mutable_results(block.index);
    if (!block.any_id) result.clear_ids();
    if (!block.any_seq) result.clear_seqs();
    if (!block.any_replayed) result.clear_replayed();
    if (!block.any_durable) result.clear_durable_seqs();
  }
  open_.clear();
}

Credit StreamReply::Take(v1::StreamStepsResponse* out, ReplyTimes* times) {
  if (frames_.size() == 1) Seal();
  Frame& frame = frames_.front();
  out->Swap(frame.message.get());
  frame.message->Clear();
  // The swap put the message written before in its place: its memory serves the next frame, unless it is large.
  if (frame.size <= kFrameBytes) spare_ = std::move(frame.message);
  const Credit credit = frame.credit;
  times->Take(&frame.times);
  frames_.pop_front();
  return credit;
}

Credit StreamReply::Drop() {
  Credit credit;
  for (const Frame& frame : frames_) credit += frame.credit;
  open_.clear();
  frames_.clear();
  return credit;
}

}  // namespace lstmd::server
