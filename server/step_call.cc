// SPDX-License-Identifier: Apache-2.0
#include "server/step_call.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "server/convert_session.h"
#include "server/errors.h"

namespace lstmd::server {

StepCall::StepCall(const Context& context, const grpc::CallbackServerContext& call, const v1::StepRequest* request,
                   v1::StepResponse* response)
    : UnaryWorkCall(context, call, "Step"), request_(*request), response_(*response) {}

void StepCall::Begin() {
  const int items = request_.items_size();
  const int most = context().limits.max_items;
  if (items < 1 || items > most) {
    Fail(InvalidArgument("ITEM_COUNT", absl::StrCat("got ", items, " items, want 1 to ", most))
             .Field("items")
             .With("got", std::to_string(items)));
    return;
  }
  const bool in_memory =
      std::all_of(request_.items().begin(), request_.items().end(),
                  [this](const v1::StepItem& item) { return IsInMemory(context().engine, caller(), item.session()); });
  in_memory ? AddAll(Lookup::kMemory) : RunInPool([this] { AddAll(Lookup::kStore); });
}

void StepCall::AddAll(Lookup lookup) {
  const int items = request_.items_size();
  latest_ = LatestEnd(context().limits);
  ReplyBudget budget(context().limits.max_message_bytes);
  response_.mutable_results()->Reserve(items);
  for (int i = 0; i < items; ++i) response_.add_results();
  for (int i = 0; i < items; ++i) {
    const auto index = static_cast<size_t>(i);
    const absl::Status status = Add(index, lookup, &budget);
    if (!status.ok()) SetError(index, status);
  }
  Run();
}

absl::Status StepCall::Add(size_t index, Lookup lookup, ReplyBudget* budget) {
  const v1::StepItem& item = request_.items(static_cast<int>(index));
  v1::StepResult& result = *response_.mutable_results(static_cast<int>(index));
  absl::StatusOr<StepTarget> target =
      FindTarget(context().engine, caller(), item.session(), item.create_if_missing(), lookup);
  if (!target.ok()) return target.status();
  const ModelSpec& spec = target->spec();

  absl::StatusOr<TensorView> input = ViewTensor(item.input());
  if (!input.ok()) return PrefixField(input.status(), "input.");
  absl::StatusOr<uint32_t> steps = CheckStepInput(*input, spec, context().limits);
  if (!steps.ok()) return PrefixField(steps.status(), "input.");
  absl::Status status = budget->Take(*steps, uint64_t{spec.output_size()} * ElementSize(input->dtype));
  if (status.ok() && item.return_state()) {
    status = budget->Take(uint64_t{spec.h_size()} + spec.c_size(), sizeof(float));
  }
  if (!status.ok()) return PrefixField(status, "input");
  status = EnsureSession(context().engine, &*target, lookup);
  if (!status.ok()) return status;

  const int64_t outputs = spec.output_size();
  if (input->shape.size() == 1) {
    SetTensor(input->dtype, {outputs}, result.mutable_output());
  } else {
    SetTensor(input->dtype, {*steps, outputs}, result.mutable_output());
  }
  ItemWork& work = AddWork(index, 0);
  work.deadline = std::min(work.deadline, latest_);
  work.seq = item.seq();
  work.epoch = item.epoch();
  work.end_session = item.end_session();
  work.steps = *steps;
  if (input->in_place()) {
    work.input = input->floats();
  } else {
    float* floats = scratch().Allocate(input->elements);
    ReadFloats(*input, 0, input->elements, floats);
    work.input = floats;
  }
  work.output = input->dtype == v1::DATA_TYPE_F32
                    ? reinterpret_cast<float*>(result.mutable_output()->mutable_data()->data())
                    : scratch().Allocate(static_cast<size_t>(*steps) * spec.output_size());
  if (item.return_state()) {
    work.final_h = scratch().Allocate(spec.h_size());
    work.final_c = scratch().Allocate(spec.c_size());
  }
  work.session = std::move(target->session);
  return absl::OkStatus();
}

void StepCall::SetError(size_t item, const absl::Status& cause) {
  const absl::Status status = InItem(cause, "items", item);
  v1::StepResult& result = *response_.mutable_results(static_cast<int>(item));
  result.Clear();
  if (request_.items_size() == 1) {
    single_error_ = status;
  } else {
    ReportItem(status);
    SetRpcStatus(status, result.mutable_error());
  }
}

void StepCall::OnWorkDone(ItemWork& work, const absl::Status& status) {
  if (!status.ok()) {
    SetError(work.item, status);
    return;
  }
  v1::StepResult& result = *response_.mutable_results(static_cast<int>(work.item));
  const ModelSpec& spec = SpecOf(ModelOf(*work.session));
  v1::Tensor& output = *result.mutable_output();
  if (output.dtype() != v1::DATA_TYPE_F32) {
    WriteFloats(work.output, static_cast<size_t>(work.steps) * spec.output_size(), output.dtype(),
                output.mutable_data()->data());
  }
  result.set_seq(work.result_seq);
  result.set_epoch(work.result_epoch);
  result.set_durable_seq(work.result_durable_seq);
  result.set_replayed(work.replayed);
  if (work.final_h != nullptr) SetState(spec, work.final_h, work.final_c, result.mutable_state());
  ToProto(work.timing, result.mutable_timing());
}

absl::Status StepCall::Complete() { return single_error_; }

}  // namespace lstmd::server
