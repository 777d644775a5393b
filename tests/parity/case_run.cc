// SPDX-License-Identifier: Apache-2.0
#include "tests/parity/case_run.h"

#include <chrono>
#include <cstring>
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "grpcpp/client_context.h"

namespace lstmd::parity {
namespace {

constexpr std::chrono::minutes kTimeout(2);

absl::Status ToStatus(const grpc::Status& status) {
  return {static_cast<absl::StatusCode>(status.error_code()), std::string(status.error_message())};
}

// A unary call with a deadline.
template <typename Response>
absl::StatusOr<Response> Ask(const std::function<grpc::Status(grpc::ClientContext*, Response*)>& call) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kTimeout);
  Response response;
  const grpc::Status status = call(&context, &response);
  if (!status.ok()) return ToStatus(status);
  return response;
}

std::string ModelName(const std::string& model) { return absl::StrCat("models/", model); }

std::string SessionName(const std::string& model, int64_t row) {
  return absl::StrCat("models/", model, "/sessions/row-", row);
}

absl::StatusOr<Bytes> Answered(const v1::Tensor& tensor, const std::string& what, std::vector<int64_t> want) {
  absl::StatusOr<Bytes> got = FromProto(tensor);
  if (got.ok() && got->shape != want) {
    return absl::InternalError(absl::StrCat("the server answered ", what, " of shape [",
                                            absl::StrJoin(got->shape, ", "), "], want [", absl::StrJoin(want, ", "),
                                            "]"));
  }
  return got;
}

// Whether the layer answers its last output only, and how that is asked for.
v1::OutputMode ModeOf(const Case& c) {
  if (c.last_only) return v1::OUTPUT_MODE_FINAL;
  return c.head && c.head->last ? v1::OUTPUT_MODE_LAST : v1::OUTPUT_MODE_ALL;
}

int64_t OutputSize(const Case& c) {
  if (!c.head) return c.spec.layer_output_size();
  return static_cast<int64_t>(c.tensors.tensors.at(c.head->weight.tensor).shape[c.head->weight.transpose ? 1 : 0]);
}

v1::Sequence BuildSequence(const Case& c, const Call& call) {
  v1::Sequence sequence;
  *sequence.mutable_input() = ToProto(call.input);
  sequence.set_time_major(call.time_major);
  for (uint32_t length : call.lengths) sequence.add_lengths(length);
  sequence.set_mask(call.mask);
  if (call.state) {
    const auto& [h, cell] = *call.state;
    *sequence.mutable_initial_state()->mutable_h() = ToProto(call.batched ? h : Slice(h, 1, 0));
    *sequence.mutable_initial_state()->mutable_c() = ToProto(call.batched ? cell : Slice(cell, 1, 0));
  }
  sequence.set_output_mode(ModeOf(c));
  sequence.set_return_final_state(true);
  return sequence;
}

absl::StatusOr<Answer> ReadSequence(const Case& c, const Call& call, const v1::SequenceResult& result) {
  const int64_t n = call.rows, t = call.steps, o = OutputSize(c), cells = c.spec.cells();
  std::vector<int64_t> shape = {n, t, o};
  if (call.time_major) shape = {t, n, o};
  if (ModeOf(c) != v1::OUTPUT_MODE_ALL) shape = {n, o};
  if (!call.batched) shape.erase(shape.begin());
  absl::StatusOr<Bytes> output = Answered(result.output(), "an output", shape);
  if (!output.ok()) return output.status();
  if (output->dtype != call.input.dtype) return absl::InternalError("the output's dtype is not the input's");
  if (ModeOf(c) != v1::OUTPUT_MODE_ALL) {
    *output = Reshape(*output, {n, o});
  } else {
    *output = call.time_major ? Permute(*output, {1, 0, 2}) : Reshape(*output, {n, t, o});
  }
  const auto state = [&](const v1::Tensor& tensor, int64_t size) -> absl::StatusOr<Bytes> {
    std::vector<int64_t> want = {cells, n, size};
    if (!call.batched) want = {cells, size};
    absl::StatusOr<Bytes> got = Answered(tensor, "a final state", want);
    if (got.ok()) *got = Reshape(*got, {cells, n, size});
    return got;
  };
  absl::StatusOr<Bytes> h = state(result.final_state().h(), c.spec.hidden_state_size());
  if (!h.ok()) return h.status();
  absl::StatusOr<Bytes> cell = state(result.final_state().c(), c.spec.hidden_size);
  if (!cell.ok()) return cell.status();
  return Answer{*std::move(output), *std::move(h), *std::move(cell)};
}

// Whether two arrays are the same numbers, bit for bit; the wire types may differ.
absl::Status SameBits(const Bytes& steps, const Bytes& sequence, const std::string& what) {
  const std::vector<float> a = ToFloats(steps), b = ToFloats(sequence);
  for (size_t k = 0; k < a.size() && k < b.size(); ++k) {
    if (std::memcmp(&a[k], &b[k], sizeof(float)) != 0 && !(a[k] != a[k] && b[k] != b[k])) {
      return absl::InternalError(absl::StrCat(what, " by steps differs from the sequence's at element ", k, ": ", a[k],
                                              ", want ", b[k], " (difference ", a[k] - b[k], ")"));
    }
  }
  return a.size() == b.size() ? absl::OkStatus() : absl::InternalError(absl::StrCat(what, ": sizes differ"));
}

// The place of one row's number in an array: all of `part` goes to [row, step] of `output` or [row] of it.
void Place(const Bytes& part, int64_t row, int64_t step, Bytes* output) {
  const size_t width = part.data.size();
  const int64_t at = output->shape.size() == 3 ? row * output->shape[1] + step : row;
  std::memcpy(&output->data[static_cast<size_t>(at) * width], part.data.data(), width);
}

// Puts one row's state [cells, size] into [cells, N, size].
void PlaceState(const Bytes& part, int64_t row, Bytes* all) {
  const size_t width = static_cast<size_t>(part.shape[1]) * part.item();
  if (all->dtype != part.dtype)
    *all = Bytes{part.dtype, all->shape, std::string(width * all->shape[0] * all->shape[1], 0)};
  for (int64_t cell = 0; cell < part.shape[0]; ++cell) {
    const int64_t at = cell * all->shape[1] + row;
    std::memcpy(&all->data[static_cast<size_t>(at) * width], &part.data[static_cast<size_t>(cell) * width], width);
  }
}

}  // namespace

std::string WhyNotSteps(const Case& c) {
  if (c.spec.direction == Direction::kBidirectional) return "bidirectional";
  return c.spec.steppable() ? "" : "reads its input backwards";
}

Runner::Runner(const std::shared_ptr<grpc::Channel>& channel)
    : models_(v1::ModelService::NewStub(channel)),
      sessions_(v1::SessionService::NewStub(channel)),
      inference_(v1::InferenceService::NewStub(channel)) {}

absl::Status Runner::LoadModel(const std::string& model, const std::string& device) {
  v1::LoadModelRequest request;
  request.set_name(ModelName(model));
  request.set_device(device);
  return Ask<v1::Model>([&](auto* context, auto* response) { return models_->LoadModel(context, request, response); })
      .status();
}

void Runner::UnloadModel(const std::string& model) {
  v1::UnloadModelRequest request;
  request.set_name(ModelName(model));
  request.set_force(true);
  const auto unload = [&](auto* context, auto* response) { return models_->UnloadModel(context, request, response); };
  (void)Ask<google::protobuf::Empty>(unload);  // a model that is still there harms nothing
}

absl::StatusOr<std::vector<Answer>> Runner::RunSequences(const Case& c, const std::string& model) {
  std::vector<Answer> answers;
  for (int index = 0; index < c.calls; ++index) {
    absl::StatusOr<Call> call = ReadCall(c, index);
    if (!call.ok()) return call.status();
    if (index > 0 && c.stateful) call->state = std::make_pair(answers.back().h, answers.back().c);
    v1::RunSequencesRequest request;
    request.set_model(ModelName(model));
    *request.add_sequences() = BuildSequence(c, *call);
    const auto run = [&](auto* context, auto* response) {
      return inference_->RunSequences(context, request, response);
    };
    absl::StatusOr<v1::RunSequencesResponse> response = Ask<v1::RunSequencesResponse>(run);
    if (!response.ok()) return response.status();
    if (response->results_size() != 1) return absl::InternalError("the server answered another number of results");
    absl::StatusOr<Answer> answer = ReadSequence(c, *call, response->results(0));
    if (!answer.ok()) return answer.status();
    answers.push_back(*std::move(answer));
  }
  return answers;
}

absl::Status Runner::StartSessions(const Call& call, const std::string& model) {
  for (int64_t row = 0; row < call.rows; ++row) {
    v1::DeleteSessionRequest old;
    old.set_name(SessionName(model, row));
    old.set_allow_missing(true);
    const auto remove = [&](auto* context, auto* response) { return sessions_->DeleteSession(context, old, response); };
    if (absl::Status status = Ask<google::protobuf::Empty>(remove).status(); !status.ok()) return status;
    v1::CreateSessionRequest request;
    request.set_parent(ModelName(model));
    request.set_session_id(absl::StrCat("row-", row));
    if (call.state) {
      *request.mutable_initial_state()->mutable_h() = ToProto(Slice(call.state->first, 1, row));
      *request.mutable_initial_state()->mutable_c() = ToProto(Slice(call.state->second, 1, row));
    }
    const auto create = [&](auto* context, auto* response) {
      return sessions_->CreateSession(context, request, response);
    };
    if (absl::Status status = Ask<v1::Session>(create).status(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Runner::TakeState(const v1::LstmState& state, int64_t row, Answer* answer) {
  absl::StatusOr<Bytes> h = Answered(state.h(), "a session's h", {answer->h.shape[0], answer->h.shape[2]});
  if (!h.ok()) return h.status();
  absl::StatusOr<Bytes> c = Answered(state.c(), "a session's c", {answer->c.shape[0], answer->c.shape[2]});
  if (!c.ok()) return c.status();
  PlaceState(*h, row, &answer->h);
  PlaceState(*c, row, &answer->c);
  return absl::OkStatus();
}

// The state of a session that made no step in this call.
absl::Status Runner::ReadSession(const std::string& model, int64_t row, Answer* answer) {
  v1::GetSessionRequest request;
  request.set_name(SessionName(model, row));
  request.set_include_state(true);
  const auto get = [&](auto* context, auto* response) { return sessions_->GetSession(context, request, response); };
  absl::StatusOr<v1::Session> session = Ask<v1::Session>(get);
  return session.ok() ? TakeState(session->state(), row, answer) : session.status();
}

// All rows that have a valid step at time t, in one request. last[row]: that row's last valid step.
absl::Status Runner::StepOnce(const Call& call, int64_t t, const std::vector<int64_t>& last, const std::string& model,
                              Answer* answer) {
  v1::StepRequest request;
  std::vector<int64_t> rows;
  const Bytes now = Slice(call.input, call.time_major || !call.batched ? 0 : 1, t);  // [N, I] or [I]
  for (int64_t row = 0; row < call.rows; ++row) {
    if (!call.Valid(row, t)) continue;
    v1::StepItem* item = request.add_items();
    item->set_session(SessionName(model, row));
    *item->mutable_input() = ToProto(call.batched ? Slice(now, 0, row) : now);
    item->set_return_state(t == last[static_cast<size_t>(row)]);
    rows.push_back(row);
  }
  if (rows.empty()) return absl::OkStatus();
  const auto step = [&](auto* context, auto* response) { return inference_->Step(context, request, response); };
  absl::StatusOr<v1::StepResponse> response = Ask<v1::StepResponse>(step);
  if (!response.ok()) return response.status();
  if (response->results_size() != request.items_size()) return absl::InternalError("a step has no result");
  for (int k = 0; k < response->results_size(); ++k) {
    const v1::StepResult& result = response->results(k);
    if (result.error().code() != 0) {
      return {static_cast<absl::StatusCode>(result.error().code()), result.error().message()};
    }
    absl::StatusOr<Bytes> output = Answered(result.output(), "an output", {answer->output.shape.back()});
    if (!output.ok()) return output.status();
    const int64_t row = rows[static_cast<size_t>(k)];
    if (output->dtype != answer->output.dtype) return absl::InternalError("the output's dtype is not the input's");
    if (answer->output.shape.size() == 3 || t == last[static_cast<size_t>(row)]) {
      Place(*output, row, t, &answer->output);
    }
    if (t == last[static_cast<size_t>(row)]) {
      if (absl::Status status = TakeState(result.state(), row, answer); !status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Answer>> Runner::RunSteps(const Case& c, const std::string& model,
                                                     const std::vector<Answer>& sequences) {
  std::vector<Answer> answers;
  for (int index = 0; index < c.calls; ++index) {
    absl::StatusOr<Call> call = ReadCall(c, index);
    if (!call.ok()) return call.status();
    if (index == 0 || !c.stateful) {
      if (absl::Status status = StartSessions(*call, model); !status.ok()) return status;
    }
    const Answer& wanted = sequences[static_cast<size_t>(index)];
    Answer answer = wanted;
    std::vector<int64_t> last(static_cast<size_t>(call->rows), -1);
    for (int64_t row = 0; row < call->rows; ++row) {
      for (int64_t t = 0; t < call->steps; ++t) {
        if (call->Valid(row, t)) last[static_cast<size_t>(row)] = t;
      }
    }
    for (int64_t t = 0; t < call->steps; ++t) {
      if (absl::Status status = StepOnce(*call, t, last, model, &answer); !status.ok()) return status;
    }
    for (int64_t row = 0; row < call->rows && c.spec.zero_length_state == ZeroLengthState::kInitial; ++row) {
      if (last[static_cast<size_t>(row)] >= 0) continue;
      if (absl::Status status = ReadSession(model, row, &answer); !status.ok()) return status;
    }
    for (const auto& [what, got, want] :
         {std::make_tuple("output", &answer.output, &wanted.output), std::make_tuple("final h", &answer.h, &wanted.h),
          std::make_tuple("final c", &answer.c, &wanted.c)}) {
      if (absl::Status status = SameBits(*got, *want, what); !status.ok()) return status;
    }
    answers.push_back(std::move(answer));
  }
  return answers;
}

}  // namespace lstmd::parity
