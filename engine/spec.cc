// SPDX-License-Identifier: Apache-2.0
#include "engine/spec.h"

#include <cmath>
#include <initializer_list>

#include "absl/strings/str_cat.h"
#include "engine/errors.h"

namespace lstmd {
namespace {

constexpr uint32_t kMaxSize = 65536;
constexpr uint32_t kMaxLayers = 64;
constexpr uint32_t kMaxHeadSize = 1u << 20;

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

Error SpecError(std::string_view field, std::string_view what) {
  return InvalidArgument("MODEL_SPEC", absl::StrCat(View(field), ": ", View(what))).Field(field);
}

// What a function takes, and what it gets where it is not told.
struct Parameter {
  enum Kind { kNone, kNeeded, kDefault } kind = kNone;
  float value = 0;
};

struct FunctionRow {
  Function function;
  std::string_view name;
  Parameter alpha;
  Parameter beta;
};

constexpr FunctionRow kFunctions[] = {
    {Function::kSigmoid, "SIGMOID", {}, {}},
    {Function::kTanh, "TANH", {}, {}},
    {Function::kHardSigmoid, "HARD_SIGMOID", {Parameter::kDefault, 0.2f}, {Parameter::kDefault, 0.5f}},
    {Function::kRelu, "RELU", {}, {}},
    {Function::kLinear, "LINEAR", {}, {}},
    {Function::kSoftsign, "SOFTSIGN", {}, {}},
    {Function::kSoftplus, "SOFTPLUS", {}, {}},
    {Function::kElu, "ELU", {Parameter::kDefault, 1.0f}, {}},
    {Function::kSelu, "SELU", {}, {}},
    {Function::kSilu, "SILU", {}, {}},
    {Function::kGelu, "GELU", {}, {}},
    {Function::kLeakyRelu, "LEAKY_RELU", {Parameter::kDefault, 0.01f}, {}},
    {Function::kThresholdedRelu, "THRESHOLDED_RELU", {Parameter::kNeeded}, {}},
    {Function::kScaledTanh, "SCALED_TANH", {Parameter::kNeeded}, {Parameter::kNeeded}},
    {Function::kAffine, "AFFINE", {Parameter::kNeeded}, {Parameter::kNeeded}},
};

const FunctionRow* FindRow(Function function) {
  for (const FunctionRow& row : kFunctions) {
    if (row.function == function) return &row;
  }
  return nullptr;
}

absl::Status Resolve(const FunctionRow& row, std::string_view name, const Parameter& parameter,
                     std::optional<float> given, float* value) {
  if (given && parameter.kind == Parameter::kNone) {
    return SpecError(name, absl::StrCat("got ", *given, ", but ", View(row.name), " has no such parameter"));
  }
  if (!given && parameter.kind == Parameter::kNeeded) {
    return SpecError(name, absl::StrCat("missing, but ", View(row.name), " needs it"));
  }
  *value = given.value_or(parameter.value);
  if (!std::isfinite(*value)) return SpecError(name, absl::StrCat("got ", *value, ", want a finite number"));
  return absl::OkStatus();
}

absl::Status CheckActivation(const Activation& activation, std::string_view path) {
  const FunctionRow* row = FindRow(activation.function);
  if (row == nullptr) {
    return SpecError(absl::StrCat(View(path), ".function"),
                     absl::StrCat("got ", static_cast<int>(activation.function), ", want a function of model.proto"));
  }
  // A parameter that the function does not have is kept as 0.
  const auto given = [](const Parameter& parameter, float value) {
    return parameter.kind == Parameter::kNone && value == 0 ? std::nullopt : std::optional<float>(value);
  };
  const absl::Status status =
      MakeActivation(activation.function, given(row->alpha, activation.alpha), given(row->beta, activation.beta))
          .status();
  const std::string prefix = absl::StrCat(View(path), ".");
  return PrefixMessage(PrefixField(status, prefix), prefix);
}

absl::Status CheckActivations(const Activations& activations, std::string_view path) {
  for (const auto& [name, activation] : {std::pair<std::string_view, const Activation&>{"gate", activations.gate},
                                         {"cell", activations.cell},
                                         {"output", activations.output}}) {
    absl::Status status = CheckActivation(activation, absl::StrCat(View(path), ".", View(name)));
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status CheckRange(std::string_view field, uint32_t got, uint32_t most) {
  if (got >= 1 && got <= most) return absl::OkStatus();
  return SpecError(field, absl::StrCat("got ", got, ", want 1 to ", most));
}

absl::Status CheckSizes(const ModelSpec& spec) {
  absl::Status status = CheckRange("input_size", spec.input_size, kMaxSize);
  if (status.ok()) status = CheckRange("hidden_size", spec.hidden_size, kMaxSize);
  if (status.ok()) status = CheckRange("num_layers", spec.num_layers, kMaxLayers);
  if (!status.ok()) return status;
  if (spec.projection_size >= spec.hidden_size) {
    return SpecError("projection_size", absl::StrCat("got ", spec.projection_size,
                                                     ", want less than hidden_size, which is ", spec.hidden_size));
  }
  return absl::OkStatus();
}

// Values of enums may come from casts.
absl::Status CheckEnums(const ModelSpec& spec) {
  const std::pair<std::string_view, std::string_view> names[] = {
      {"direction", Name(spec.direction)},
      {"merge_mode", Name(spec.merge_mode)},
      {"precision", Name(spec.precision)},
      {"padding_output", Name(spec.padding_output)},
      {"zero_length_state", Name(spec.zero_length_state)},
  };
  for (const auto& [field, name] : names) {
    if (name.empty()) return SpecError(field, "not a value of model.proto");
  }
  return absl::OkStatus();
}

template <typename E>
std::string_view At(std::initializer_list<std::string_view> names, E value) {
  const auto index = static_cast<size_t>(value);
  return index < names.size() ? names.begin()[index] : std::string_view();
}

}  // namespace

absl::StatusOr<Activation> MakeActivation(Function function, std::optional<float> alpha, std::optional<float> beta) {
  const FunctionRow* row = FindRow(function);
  if (row == nullptr) {
    return SpecError("function", absl::StrCat("got ", static_cast<int>(function), ", want a function of model.proto"));
  }
  Activation activation{function};
  absl::Status status = Resolve(*row, "alpha", row->alpha, alpha, &activation.alpha);
  if (status.ok()) status = Resolve(*row, "beta", row->beta, beta, &activation.beta);
  if (!status.ok()) return status;
  return activation;
}

absl::Status Validate(const ModelSpec& spec) {
  absl::Status status = CheckEnums(spec);
  if (status.ok()) status = CheckSizes(spec);
  if (status.ok()) status = CheckActivations(spec.activations[0], "activations");
  if (!status.ok()) return status;
  if (spec.direction == Direction::kBidirectional) {
    status = CheckActivations(spec.activations[1], "reverse_activations");
    if (!status.ok()) return status;
  } else if (spec.merge_mode != MergeMode::kConcat) {
    return SpecError("merge_mode", absl::StrCat("got ", View(Name(spec.merge_mode)), " with ",
                                                View(Name(spec.direction)), ", want DIRECTION_BIDIRECTIONAL"));
  }
  if (!std::isfinite(spec.clip) || spec.clip < 0) {
    return SpecError("clip", absl::StrCat("got ", spec.clip, ", want 0 (none) or a finite number above it"));
  }
  if (spec.head) {
    status = CheckRange("head.output_size", spec.head->output_size, kMaxHeadSize);
    if (status.ok()) status = CheckActivation(spec.head->activation, "head.activation");
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

std::string_view Name(Function function) {
  const FunctionRow* row = FindRow(function);
  return row == nullptr ? std::string_view() : row->name;
}

std::string_view Name(Direction direction) {
  return At({"DIRECTION_FORWARD", "DIRECTION_REVERSE", "DIRECTION_GO_BACKWARDS", "DIRECTION_BIDIRECTIONAL"}, direction);
}

std::string_view Name(MergeMode mode) {
  return At({"MERGE_MODE_CONCAT", "MERGE_MODE_SUM", "MERGE_MODE_MUL", "MERGE_MODE_AVE"}, mode);
}

std::string_view Name(Precision precision) {
  return At({"PRECISION_F32", "PRECISION_BF16_WEIGHTS", "PRECISION_INT8_WEIGHTS", "PRECISION_BF16", "PRECISION_F16"},
            precision);
}

std::string_view Name(PaddingOutput padding) {
  return At({"PADDING_OUTPUT_ZEROS", "PADDING_OUTPUT_REPEAT_LAST", "PADDING_OUTPUT_CELL"}, padding);
}

std::string_view Name(ZeroLengthState state) {
  return At({"ZERO_LENGTH_STATE_INITIAL", "ZERO_LENGTH_STATE_ZEROS"}, state);
}

}  // namespace lstmd
