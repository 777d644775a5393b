// SPDX-License-Identifier: Apache-2.0
#include "server/stream_handles.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "server/convert_session.h"
#include "server/step_item.h"

namespace lstmd::server {
namespace {

constexpr uint32_t kMaxHandle = 1'048'575;

absl::Status Unbound(uint32_t handle) {
  return InvalidArgument("HANDLE_UNBOUND", absl::StrCat("handle ", handle, " is not bound on this stream"))
      .With("handle", std::to_string(handle));
}

}  // namespace

absl::Status StreamHandles::Bind(const v1::Bind& bind, Lookup lookup, SessionWatch* watch, v1::Bound* bound) {
  if (bind.handle() > kMaxHandle) {
    return InvalidArgument("HANDLE_RANGE", absl::StrCat("got handle ", bind.handle(), ", want 0 to ", kMaxHandle))
        .Field("handle");
  }
  if (bindings_.contains(bind.handle())) {
    return InvalidArgument("HANDLE_BOUND", absl::StrCat("handle ", bind.handle(), " is bound already; unbind it first"))
        .Field("handle")
        .With("handle", std::to_string(bind.handle()));
  }
  absl::StatusOr<StepTarget> target =
      FindTarget(context_.engine, caller_, bind.session(), bind.create_if_missing(), lookup);
  if (!target.ok()) return target.status();
  if (absl::Status status = EnsureSession(context_.engine, &*target, lookup); !status.ok()) return status;
  // First follow, then look: an end that is not seen now is told.
  watch->Follow(*target->session);
  const auto unfollow = [&](const absl::Status& status) {
    watch->Unfollow(*target->session);
    return status;
  };
  if (absl::Status status = LivingOr(*target->session); !status.ok()) return unfollow(status);
  const SessionInfo info = context_.engine->Describe(*target->session);
  if (bind.epoch() != 0 && bind.epoch() != info.epoch) {
    return unfollow(Error(absl::StatusCode::kAborted, "SESSION_FENCED",
                          absl::StrCat("the session is in epoch ", info.epoch, ", the caller believes ", bind.epoch()))
                        .Field("epoch")
                        .Resource(bind.session())
                        .With("epoch", std::to_string(info.epoch)));
  }
  const ModelSpec& spec = target->spec();
  bound->set_handle(bind.handle());
  ToProto(info, nullptr, bound->mutable_session());
  bound->set_input_size(spec.input_size);
  bound->set_output_size(spec.output_size());
  bindings_[bind.handle()] = {std::move(target->session), &spec, bind.epoch()};
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<Session>> StreamHandles::Unbind(uint32_t handle, SessionWatch* watch) {
  const auto found = bindings_.find(handle);
  if (found == bindings_.end()) return PrefixField(Unbound(handle), "handle");
  std::shared_ptr<Session> session = std::move(found->second.session);
  bindings_.erase(found);
  watch->Unfollow(*session);
  return session;
}

absl::Status StreamHandles::CheckBlock(const v1::StepBlock& block, TensorView* input) const {
  const int64_t count = block.handles_size();
  if (count == 0) return InvalidArgument("EMPTY_BLOCK", "got no handles, want at least one").Field("handles");
  if (block.seqs_size() != 0 && block.seqs_size() != count) {
    return InvalidArgument("SEQ_COUNT", absl::StrCat("got ", block.seqs_size(),
                                                     " numbers, want none or one for each of the ", count, " handles"))
        .Field("seqs");
  }
  absl::StatusOr<TensorView> view = ViewTensor(block.input());
  if (!view.ok()) return PrefixField(view.status(), "input.");
  const size_t rank = view->shape.size();
  if ((rank != 2 && rank != 3) || view->shape[0] != count || (rank == 3 && view->shape[1] < 1)) {
    return PrefixField(
        ShapeError("the input", view->shape,
                   absl::StrCat("[", count, ", I] or [", count, ", T, I] with T >= 1, for ", count, " handles")),
        "input.");
  }
  if (rank == 3 && view->shape[1] > context_.limits.max_sequence_length) {
    return PrefixField(TooLong(view->shape[1], context_.limits), "input.");
  }
  *input = *view;
  return absl::OkStatus();
}

absl::Status StreamHandles::DecodeStep(const v1::StepBlock& block, int index, const TensorView& input,
                                       const float* floats, ReplyBudget* budget, StreamFrame* frame) const {
  const uint32_t handle = block.handles(index);
  const auto found = bindings_.find(handle);
  if (found == bindings_.end()) return PrefixField(Unbound(handle), absl::StrCat("handles[", index, "]"));
  const Binding& binding = found->second;
  const ModelSpec& spec = *binding.spec;
  const bool many_steps = input.shape.size() == 3;
  const auto steps = static_cast<uint32_t>(many_steps ? input.shape[1] : 1);
  if (input.shape.back() != spec.input_size) {
    return PrefixField(ShapeError(absl::StrCat("the input of handle ", handle), input.shape,
                                  absl::StrCat("an input size of ", spec.input_size)),
                       "input.");
  }
  const uint64_t output = uint64_t{steps} * spec.output_size() * sizeof(float);
  const uint64_t state = block.return_state() ? (uint64_t{spec.h_size()} + spec.c_size()) * sizeof(float) : 0;
  if (absl::Status status = budget->Take(1, output + state); !status.ok()) return PrefixField(status, "input");

  StepWork& work = *frame->AddWork();
  work.session = binding.session;
  work.epoch = binding.epoch;
  work.seq = block.seqs_size() == 0 ? 0 : block.seqs(index);
  work.handle = handle;
  work.id = block.id();
  work.dtype = input.dtype;
  work.many_steps = many_steps;
  work.steps = steps;
  work.output_size = spec.output_size();
  work.bytes = uint64_t{steps} * spec.input_size * ElementSize(input.dtype) + output + state;
  work.input = floats + static_cast<size_t>(index) * steps * spec.input_size;
  work.output = frame->scratch.Allocate(size_t{steps} * spec.output_size());
  if (block.return_state()) {
    work.final_h = frame->scratch.Allocate(spec.h_size());
    work.final_c = frame->scratch.Allocate(spec.c_size());
  }
  frame->batch.push_back(&work);
  return absl::OkStatus();
}

void StreamHandles::Decode(StreamFrame* frame) const {
  ReplyBudget budget(context_.limits.max_message_bytes);
  for (int b = 0; b < frame->request.steps_size(); ++b) {
    const v1::StepBlock& block = frame->request.steps(b);
    const auto refuse = [&](int index, const absl::Status& status) {
      frame->refusals.push_back({block.handles_size() == 0 ? 0 : block.handles(index), block.id(),
                                 index < block.seqs_size() ? block.seqs(index) : 0,
                                 InItem(status, "steps", static_cast<size_t>(b))});
    };
    TensorView input;
    if (absl::Status status = CheckBlock(block, &input); !status.ok()) {
      for (int i = 0; i < std::max(1, block.handles_size()); ++i) refuse(i, status);
      continue;
    }
    const float* floats = nullptr;
    if (input.in_place()) {
      floats = input.floats();
    } else {
      float* copy = frame->scratch.Allocate(input.elements);
      ReadFloats(input, 0, input.elements, copy);
      floats = copy;
    }
    for (int i = 0; i < block.handles_size(); ++i) {
      if (absl::Status status = DecodeStep(block, i, input, floats, &budget, frame); !status.ok()) refuse(i, status);
    }
  }
  Charge(frame);
}

void StreamHandles::Charge(StreamFrame* frame) const {
  if (frame->batch.empty()) return;
  absl::Status status = caller_.CheckValid();
  if (status.ok()) status = context_.engine->CheckMemory();
  if (status.ok()) {
    uint64_t steps = 0;
    const absl::Time latest = LatestEnd(context_.limits);
    for (Work* work : frame->batch) {
      steps += work->steps;
      work->deadline = latest;
    }
    status = caller_.Enter(frame->batch.size(), steps);
  }
  if (status.ok()) return;
  for (const Work* work : frame->batch) {
    const auto& step = *static_cast<const StepWork*>(work);
    frame->refusals.push_back({step.handle, step.id, step.seq, status});
  }
  frame->batch.clear();
}

}  // namespace lstmd::server
