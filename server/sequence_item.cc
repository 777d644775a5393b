// SPDX-License-Identifier: Apache-2.0
#include "server/sequence_item.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "server/convert_session.h"

namespace lstmd::server {
namespace {

absl::Status WrongField(std::string_view reason, std::string_view field, const std::string& message) {
  return InvalidArgument(reason, message).Field(field);
}

absl::StatusOr<OutputMode> ReadMode(v1::OutputMode mode) {
  switch (mode) {
    case v1::OUTPUT_MODE_UNSPECIFIED:
    case v1::OUTPUT_MODE_ALL:
      return OutputMode::kAll;
    case v1::OUTPUT_MODE_LAST:
      return OutputMode::kLast;
    case v1::OUTPUT_MODE_FINAL:
      return OutputMode::kFinal;
    default:
      return WrongField("OUTPUT_MODE", "output_mode",
                        absl::StrCat("got ", static_cast<int>(mode), ", which is no value of OutputMode"));
  }
}

// [N, cells, size] to [cells, N, size].
void StatesToBatch(const float* from, int64_t rows, uint32_t cells, uint32_t size, v1::Tensor* to) {
  SetTensor(v1::DATA_TYPE_F32, {cells, rows, size}, to);
  char* out = to->mutable_data()->data();
  for (int64_t cell = 0; cell < cells; ++cell) {
    for (int64_t n = 0; n < rows; ++n) {
      WriteFloats(from + (n * cells + cell) * size, size, v1::DATA_TYPE_F32, out);
      out += size * sizeof(float);
    }
  }
}

}  // namespace

absl::Status SequenceItem::Check(const Context& context, const Caller& caller, Lookup lookup, FloatScratch* scratch,
                                 ReplyBudget* budget, int64_t* rows_left) {
  scratch_ = scratch;
  absl::StatusOr<OutputMode> mode = ReadMode(sequence_.output_mode());
  if (!mode.ok()) return mode.status();
  mode_ = *mode;
  absl::Status status = CheckSession(context.engine, caller, lookup);
  if (status.ok()) status = CheckInput(context.limits);
  if (!status.ok()) return status;
  if (rows_ > *rows_left) {
    return WrongField(
        "ROW_COUNT", "input.shape",
        absl::StrCat("got a batch of ", rows_, " sequences, want at most ", context.limits.max_rows, " in one call"));
  }
  *rows_left -= rows_;
  status = CheckLengths();
  if (!status.ok()) return status;
  if (sequence_.has_initial_state()) {
    absl::StatusOr<StateView> initial =
        ViewState(sequence_.initial_state(), spec(), batched_ ? std::optional<int64_t>(rows_) : std::nullopt);
    if (!initial.ok()) return PrefixField(initial.status(), "initial_state.");
    initial_ = *initial;
  }
  return CheckOutput(budget);
}

absl::Status SequenceItem::CheckSession(Engine* engine, const Caller& caller, Lookup lookup) {
  if (sequence_.session().empty()) {
    if (sequence_.seq() == 0 && sequence_.epoch() == 0) return absl::OkStatus();
    return WrongField("SESSION_REQUIRED", sequence_.seq() != 0 ? "seq" : "epoch",
                      "got seq or epoch without a session, which is what they are of");
  }
  if (sequence_.has_initial_state()) {
    return WrongField("INITIAL_STATE", "initial_state",
                      "got a session and an initial state; a session starts from its own");
  }
  absl::StatusOr<StepTarget> target = FindTarget(engine, caller, sequence_.session(), false, lookup);
  if (!target.ok()) return target.status();
  session_ = std::move(target->session);
  const Model& model = ModelOf(*session_);
  if (NameOf(model) != NameOf(*model_)) {
    return WrongField(
        "SESSION_MODEL", "session",
        absl::StrCat("got a session of model '", NameOf(model), "', want one of '", NameOf(*model_), "'"));
  }
  return absl::OkStatus();
}

absl::Status SequenceItem::CheckInput(const Limits& limits) {
  absl::StatusOr<TensorView> input = ViewTensor(sequence_.input());
  if (!input.ok()) return PrefixField(input.status(), "input.");
  input_ = *input;
  const size_t rank = input_.shape.size();
  const std::string size = std::to_string(spec().input_size);
  if ((rank != 2 && rank != 3) || input_.shape[rank - 1] != spec().input_size) {
    const std::string batch = sequence_.time_major() ? "[T, N, " : "[N, T, ";
    return PrefixField(ShapeError("the input", input_.shape, absl::StrCat("[T, ", size, "] or ", batch, size, "]")),
                       "input.");
  }
  batched_ = rank == 3;
  if (!batched_ && sequence_.time_major()) {
    return WrongField("TIME_MAJOR", "time_major", "got time_major with an input [T, I]; it is for batches only");
  }
  if (batched_ && session_) {
    return PrefixField(ShapeError("the input of a session", input_.shape, absl::StrCat("[T, ", size, "]")), "input.");
  }
  steps_ = input_.shape[batched_ && !sequence_.time_major() ? 1 : 0];
  rows_ = batched_ ? input_.shape[sequence_.time_major() ? 1 : 0] : 1;
  if (steps_ > limits.max_sequence_length) return PrefixField(TooLong(steps_, limits), "input.");
  if (session_ && steps_ < 1) {
    return PrefixField(ShapeError("the input of a session", input_.shape, absl::StrCat("[T, ", size, "] with T >= 1")),
                       "input.");
  }
  return absl::OkStatus();
}

absl::Status SequenceItem::CheckLengths() {
  const int lengths = sequence_.lengths_size();
  if (lengths > 0 && !sequence_.mask().empty()) {
    return WrongField("MASK", "mask", "got lengths and a mask, want one of them");
  }
  if (lengths > 0 && lengths != rows_) {
    return WrongField("SEQUENCE_LENGTH", "lengths", absl::StrCat("got ", lengths, " lengths, want ", rows_));
  }
  for (int n = 0; n < lengths; ++n) {
    if (sequence_.lengths(n) > steps_) {
      return WrongField("SEQUENCE_LENGTH", absl::StrCat("lengths[", n, "]"),
                        absl::StrCat("got a length of ", sequence_.lengths(n), ", want 0 to ", steps_));
    }
  }
  const std::string& mask = sequence_.mask();
  if (mask.empty()) return absl::OkStatus();
  if (mask.size() != static_cast<uint64_t>(rows_) * static_cast<uint64_t>(steps_)) {
    return WrongField("MASK", "mask", absl::StrCat("got ", mask.size(), " bytes, want ", rows_, " x ", steps_));
  }
  const size_t wrong = mask.find_first_not_of(std::string("\0\1", 2));
  if (wrong == std::string::npos) return absl::OkStatus();
  return WrongField(
      "MASK", "mask",
      absl::StrCat("got ", static_cast<int>(static_cast<uint8_t>(mask[wrong])), " at byte ", wrong, ", want 0 or 1"));
}

absl::Status SequenceItem::CheckOutput(ReplyBudget* budget) {
  const ModelSpec& model = spec();
  uint64_t row_bytes = 0;
  const uint64_t row_steps = last_only() ? 1 : static_cast<uint64_t>(steps_);
  absl::Status status;
  if (__builtin_mul_overflow(row_steps, model.output_size() * ElementSize(input_.dtype), &row_bytes)) {
    row_bytes = UINT64_MAX;
  }
  status = budget->Take(static_cast<uint64_t>(rows_), row_bytes);
  if (status.ok() && sequence_.return_final_state()) {
    status = budget->Take(static_cast<uint64_t>(rows_), (uint64_t{model.h_size()} + model.c_size()) * sizeof(float));
  }
  if (!status.ok()) return PrefixField(status, "input");

  v1::Tensor* output = result_.mutable_output();
  const int64_t size = model.output_size();
  if (!batched_) {
    last_only() ? SetTensor(input_.dtype, {size}, output) : SetTensor(input_.dtype, {steps_, size}, output);
  } else if (last_only()) {
    SetTensor(input_.dtype, {rows_, size}, output);
  } else if (sequence_.time_major()) {
    SetTensor(input_.dtype, {steps_, rows_, size}, output);
  } else {
    SetTensor(input_.dtype, {rows_, steps_, size}, output);
  }
  in_reply_ = input_.dtype == v1::DATA_TYPE_F32 && (last_only() || !sequence_.time_major());
  outputs_ = in_reply_ ? reinterpret_cast<float*>(output->mutable_data()->data())
                       : scratch_->Allocate(static_cast<size_t>(rows_) * row_output());
  if (sequence_.return_final_state()) {
    final_h_ = scratch_->Allocate(static_cast<size_t>(rows_) * model.h_size());
    final_c_ = scratch_->Allocate(static_cast<size_t>(rows_) * model.c_size());
  }
  return absl::OkStatus();
}

const float* SequenceItem::RowInput(int64_t n) {
  const auto size = static_cast<int64_t>(spec().input_size);
  const auto row = static_cast<size_t>(steps_ * size);
  if (!batched_ || !sequence_.time_major()) {
    const size_t offset = static_cast<size_t>(n) * row;
    if (input_.in_place()) return input_.floats() + offset;
    float* floats = scratch_->Allocate(row);
    ReadFloats(input_, offset, row, floats);
    return floats;
  }
  float* floats = scratch_->Allocate(row);
  for (int64_t t = 0; t < steps_; ++t) {
    ReadFloats(input_, static_cast<size_t>((t * rows_ + n) * size), static_cast<size_t>(size), floats + t * size);
  }
  return floats;
}

const uint8_t* SequenceItem::RowMask(int64_t n, uint32_t* steps) {
  *steps = static_cast<uint32_t>(steps_);
  if (!sequence_.mask().empty()) {
    return reinterpret_cast<const uint8_t*>(sequence_.mask().data()) + static_cast<size_t>(n * steps_);
  }
  if (sequence_.lengths_size() == 0) return nullptr;
  const uint32_t length = sequence_.lengths(static_cast<int>(n));
  if (length == *steps) return nullptr;
  // A row that is shorter needs no time for its padding where that stays zero and comes last.
  const bool may_cut = spec().padding_output == PaddingOutput::kZeros && spec().direction != Direction::kGoBackwards;
  if (may_cut && !(session_ && length == 0)) {
    *steps = length;
    return nullptr;
  }
  auto* mask = reinterpret_cast<uint8_t*>(scratch_->Allocate(static_cast<size_t>(steps_) / sizeof(float) + 1));
  std::fill_n(mask, length, uint8_t{1});
  std::fill_n(mask + length, static_cast<size_t>(steps_) - length, uint8_t{0});
  return mask;
}

void SequenceItem::Prepare(int64_t n, ItemWork* work) {
  const ModelSpec& model = spec();
  if (session_) {
    work->session = session_;
    work->seq = sequence_.seq();
    work->epoch = sequence_.epoch();
  } else {
    work->model = model_;
  }
  work->mask = RowMask(n, &work->steps);
  work->input = RowInput(n);
  work->output_mode = mode_;
  work->output = outputs_ + static_cast<size_t>(n) * row_output();
  const uint64_t written =
      last_only() ? (work->steps > 0 ? row_output() : 0) : static_cast<uint64_t>(work->steps) * model.output_size();
  std::fill(work->output + written, work->output + row_output(), 0.0f);
  if (sequence_.has_initial_state()) {
    float* h = scratch_->Allocate(model.h_size());
    float* c = scratch_->Allocate(model.c_size());
    const size_t h_size = model.hidden_state_size();
    const size_t c_size = model.hidden_size;
    for (size_t cell = 0; cell < model.cells(); ++cell) {
      const size_t from = cell * static_cast<size_t>(rows_) + static_cast<size_t>(n);
      ReadFloats(initial_.h, from * h_size, h_size, h + cell * h_size);
      ReadFloats(initial_.c, from * c_size, c_size, c + cell * c_size);
    }
    work->initial_h = h;
    work->initial_c = c;
  }
  if (final_h_ != nullptr) {
    work->final_h = final_h_ + static_cast<size_t>(n) * model.h_size();
    work->final_c = final_c_ + static_cast<size_t>(n) * model.c_size();
  }
}

void SequenceItem::Take(const ItemWork& work) {
  if (session_) {
    result_.set_seq(work.result_seq);
    result_.set_epoch(work.result_epoch);
    result_.set_durable_seq(work.result_durable_seq);
    result_.set_replayed(work.replayed);
  }
  ToProto(work.timing, result_.mutable_timing());
}

void SequenceItem::Assemble() {
  const ModelSpec& model = spec();
  v1::Tensor& output = *result_.mutable_output();
  if (!in_reply_) {
    char* to = output.mutable_data()->data();
    const auto size = static_cast<size_t>(model.output_size());
    if (last_only() || !sequence_.time_major()) {
      WriteFloats(outputs_, static_cast<size_t>(rows_) * row_output(), input_.dtype, to);
    } else {
      for (int64_t t = 0; t < steps_; ++t) {
        for (int64_t n = 0; n < rows_; ++n) {
          WriteFloats(outputs_ + static_cast<size_t>(n * steps_ + t) * size, size, input_.dtype, to);
          to += size * ElementSize(input_.dtype);
        }
      }
    }
  }
  if (final_h_ == nullptr) return;
  v1::LstmState& state = *result_.mutable_final_state();
  if (batched_) {
    StatesToBatch(final_h_, rows_, model.cells(), model.hidden_state_size(), state.mutable_h());
    StatesToBatch(final_c_, rows_, model.cells(), model.hidden_size, state.mutable_c());
  } else {
    SetState(model, final_h_, final_c_, &state);
  }
}

}  // namespace lstmd::server
