// SPDX-License-Identifier: Apache-2.0
#include "server/oip_infer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/errors.h"
#include "engine/names.h"
#include "server/errors.h"

namespace lstmd::server {
namespace {

// A start competes with ends and other starts of its sequence; each turn it loses, another has won one.
constexpr int kStartTries = 16;

void SetNumber(const char* key, uint64_t value, inference::ModelInferResponse* response) {
  (*response->mutable_parameters())[key].set_int64_param(static_cast<int64_t>(value));
}

// Clear deletes the messages below the one that is cleared; each step has these again.
void ClearSequence(v1::Sequence* sequence) {
  v1::Tensor* const input = sequence->release_input();
  sequence->Clear();
  if (input == nullptr) return;
  input->Clear();
  sequence->set_allocated_input(input);
}

void ClearResult(v1::SequenceResult* result) {
  v1::Tensor* const output = result->release_output();
  v1::Timing* const timing = result->release_timing();
  result->Clear();
  if (output != nullptr) output->Clear();
  result->set_allocated_output(output);
  result->set_allocated_timing(timing);
}

std::vector<float> Floats(const v1::Tensor& tensor) {
  // It was checked by Parse.
  const absl::StatusOr<TensorView> view = ViewTensor(tensor);
  std::vector<float> floats(view->elements);
  ReadFloats(*view, 0, view->elements, floats.data());
  return floats;
}

}  // namespace

absl::Status OipInference::Parse(const inference::ModelInferRequest& request, FloatScratch* scratch) {
  arrival_ = absl::Now();
  request_ = &request;
  absl::StatusOr<OipParams> params = ReadOipParams(request);
  if (!params.ok()) return params.status();
  params_ = *std::move(params);
  if (params_.in_sequence()) {
    session_name_ = FormatSessionName(request.model_name(), params_.session);
    key_ = OwnedId(caller_.owner(), params_.session);
  }
  const absl::StatusOr<int64_t> version = ReadOipVersion(request.model_version(), "model_version");
  if (!version.ok()) return version.status();
  if (absl::Status status = caller_.CheckModel(request.model_name()); !status.ok()) {
    return PrefixField(status, "model_name");
  }
  absl::StatusOr<std::shared_ptr<Model>> model = context_.engine->FindModel(request.model_name(), *version);
  if (!model.ok()) return PrefixField(model.status(), "model_name");
  model_ = *std::move(model);
  version_ = VersionOf(*model_);
  absl::StatusOr<OipOutputs> outputs = ReadOipOutputs(request);
  if (!outputs.ok()) return outputs.status();
  outputs_ = *std::move(outputs);
  const ModelSpec& spec = SpecOf(*model_);
  if (params_.in_sequence() && !spec.steppable()) {
    return FailedPrecondition("NOT_STEPPABLE", absl::StrCat("model '", request.model_name(),
                                                            "' needs the whole sequence and so has no sequences by "
                                                            "sequence_id: send batches [N, T, I] without one"))
        .Field("parameters[sequence_id]");
  }
  absl::Status status = ReadOipInputs(request, spec, params_.in_sequence(), &sequence_, &without_time_);
  if (!status.ok()) return status;
  for (const OipOutput output : outputs_) {
    if (output != OipOutput::kOutput) sequence_.set_return_final_state(true);
  }
  if (params_.in_sequence() && !params_.start && sequence_.has_initial_state()) {
    return InvalidArgument("INITIAL_STATE", "got h_0 and c_0 in a running sequence, want them with sequence_start only")
        .Field("inputs");
  }
  // What is to start is checked as if it ran without a session, so that nothing is made for a request that fails.
  if (!params_.start) return absl::OkStatus();
  return Check(scratch);
}

absl::Status OipInference::Check(FloatScratch* scratch) {
  ReplyBudget budget(context_.limits.max_message_bytes);
  int64_t rows_left = context_.limits.max_rows;
  ClearResult(&result_);
  item_.emplace(sequence_, model_, &result_);
  return item_->Check(context_, caller_, lookup_, scratch, &budget, &rows_left);
}

absl::Status OipInference::CreateSession(const std::optional<StateValues>& initial) const {
  CreateSessionParams create;
  create.model = request_->model_name();
  create.owner = caller_.owner();
  create.id = params_.session;
  create.model_version = version_;
  create.initial_state = initial;
  return context_.engine->CreateSession(create).status();
}

bool OipInference::MayBlock() const {
  return params_.in_sequence() && !params_.start && !IsInMemory(context_.engine, caller_, session_name_);
}

std::optional<absl::Status> OipInference::StartAtOnce() {
  if (sequence_.has_initial_state() || context_.engine->may_block()) return std::nullopt;
  const absl::Status status = CreateSession(std::nullopt);
  if (absl::IsAlreadyExists(status)) return std::nullopt;
  return status;
}

absl::Status OipInference::StartSession() {
  std::optional<StateValues> initial;
  if (sequence_.has_initial_state()) {
    initial = StateValues{Floats(sequence_.initial_state().h()), Floats(sequence_.initial_state().c())};
  }
  absl::Status status;
  for (int i = 0; i < kStartTries; ++i) {
    const absl::StatusOr<std::shared_ptr<Session>> living =
        context_.engine->RestoreSession(request_->model_name(), key_, false);
    if (living.ok() && VersionOf(ModelOf(**living)) == version_) {
      status = context_.engine->ResetSession(request_->model_name(), key_, initial).status();
      if (!absl::IsNotFound(status)) break;
      continue;
    }
    if (living.ok()) {
      // It runs in another version, and starts anew in this one.
      status = context_.engine->DeleteSession(request_->model_name(), key_);
      if (!status.ok() && !absl::IsNotFound(status)) break;
    }
    status = CreateSession(initial);
    if (!absl::IsAlreadyExists(status)) break;
  }
  sequence_.clear_initial_state();
  return status;
}

absl::Status OipInference::Prepare(FloatScratch* scratch, absl::FunctionRef<ItemWork&(size_t row)> add) {
  if (params_.in_sequence()) {
    sequence_.set_session(session_name_);
    sequence_.set_seq(params_.seq);
    sequence_.set_epoch(params_.epoch);
  }
  if (absl::Status status = Check(scratch); !status.ok()) return status;
  for (int64_t n = 0; n < item_->rows(); ++n) {
    ItemWork& work = add(static_cast<size_t>(n));
    item_->Prepare(n, &work);
    work.end_session = params_.end;
    work.deadline = std::min(work.deadline, arrival_ + params_.timeout);
    if (!work.session) continue;
    const int64_t version = VersionOf(ModelOf(*work.session));
    if (!request_->model_version().empty() && request_->model_version() != "0" && version != version_) {
      return InvalidArgument("SESSION_MODEL", absl::StrCat("sequence ", params_.sequence, " runs in version ", version,
                                                           " of the model, got version ", version_))
          .Field("model_version");
    }
    version_ = version;
  }
  return absl::OkStatus();
}

void OipInference::Reset() {
  lookup_ = Lookup::kMemory;
  key_.clear();
  params_ = {};
  outputs_.clear();
  model_.reset();
  session_name_.clear();
  ClearSequence(&sequence_);
  ClearResult(&result_);
  item_.reset();
  version_ = 0;
  times_.rows = 0;
  times_.queue = absl::ZeroDuration();
  times_.batches.clear();
  failure_ = absl::OkStatus();
}

size_t OipInference::reply_bytes() const {
  const ModelSpec& spec = SpecOf(*model_);
  const size_t state = sequence_.return_final_state() ? (size_t{spec.h_size()} + spec.c_size()) * sizeof(float) : 0;
  return result_.output().data().size() + static_cast<size_t>(item_->rows()) * state;
}

void OipInference::Take(const ItemWork& work) {
  item_->Take(work);
  times_.Add(work.timing);
}

void OipInference::Fail(const absl::Status& status) {
  if (failure_.ok()) failure_ = status;
}

absl::Status OipInference::Explain(const absl::Status& status) const {
  if (GetCause(status).reason != "SESSION_NOT_FOUND") return status;
  const ErrorCause cause = GetCause(status);
  Error error =
      InvalidArgument(cause.reason, absl::StrCat("inference request for sequence ", params_.sequence, " to model '",
                                                 request_->model_name(),
                                                 "' must specify the START flag on the first request of the sequence"));
  error.Field("parameters[sequence_start]").Resource(session_name_);
  for (const auto& [key, value] : cause.metadata) error.With(key, value);
  return error;
}

absl::Status OipInference::Complete(const absl::Status& status, inference::ModelInferResponse* response) {
  response->set_id(request_->id());
  const absl::Status ended = status.ok() ? failure_ : status;
  const absl::Duration total = absl::Now() - arrival_;
  if (!ended.ok()) {
    if (model_) stats_.Failed(NameOf(*model_), version_, total);
    return Explain(ended);
  }
  item_->Assemble();
  response->set_model_name(NameOf(*model_));
  response->set_model_version(std::to_string(version_));
  WriteOipOutputs(outputs_, params_.in_sequence(), without_time_, &result_, response);
  if (params_.numbered) {
    SetNumber("lstmd_seq", result_.seq(), response);
    SetNumber("lstmd_epoch", result_.epoch(), response);
  }
  if (result_.replayed()) (*response->mutable_parameters())["lstmd_replayed"].set_bool_param(true);
  if (params_.marks_final) (*response->mutable_parameters())["triton_final_response"].set_bool_param(true);
  stats_.Succeeded(NameOf(*model_), version_, total, times_);
  return absl::OkStatus();
}

}  // namespace lstmd::server
