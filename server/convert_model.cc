// SPDX-License-Identifier: Apache-2.0
#include "server/convert_model.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "server/names.h"

namespace lstmd::server {
namespace {

// One table per enum; the first entry of a value is what ToProto writes, the rest are other spellings of it.
template <typename Proto, typename Native>
struct Pair {
  Proto proto;
  Native native;
};

constexpr Pair<v1::Activation::Function, Function> kFunctions[] = {
    {v1::Activation::SIGMOID, Function::kSigmoid},
    {v1::Activation::TANH, Function::kTanh},
    {v1::Activation::HARD_SIGMOID, Function::kHardSigmoid},
    {v1::Activation::RELU, Function::kRelu},
    {v1::Activation::LINEAR, Function::kLinear},
    {v1::Activation::SOFTSIGN, Function::kSoftsign},
    {v1::Activation::SOFTPLUS, Function::kSoftplus},
    {v1::Activation::ELU, Function::kElu},
    {v1::Activation::SELU, Function::kSelu},
    {v1::Activation::SILU, Function::kSilu},
    {v1::Activation::GELU, Function::kGelu},
    {v1::Activation::LEAKY_RELU, Function::kLeakyRelu},
    {v1::Activation::THRESHOLDED_RELU, Function::kThresholdedRelu},
    {v1::Activation::SCALED_TANH, Function::kScaledTanh},
    {v1::Activation::AFFINE, Function::kAffine},
};
constexpr Pair<v1::Direction, Direction> kDirections[] = {
    {v1::DIRECTION_FORWARD, Direction::kForward},          {v1::DIRECTION_REVERSE, Direction::kReverse},
    {v1::DIRECTION_GO_BACKWARDS, Direction::kGoBackwards}, {v1::DIRECTION_BIDIRECTIONAL, Direction::kBidirectional},
    {v1::DIRECTION_UNSPECIFIED, Direction::kForward},
};
constexpr Pair<v1::MergeMode, MergeMode> kMergeModes[] = {
    {v1::MERGE_MODE_CONCAT, MergeMode::kConcat},
    {v1::MERGE_MODE_SUM, MergeMode::kSum},
    {v1::MERGE_MODE_MUL, MergeMode::kMul},
    {v1::MERGE_MODE_AVE, MergeMode::kAve},
    {v1::MERGE_MODE_UNSPECIFIED, MergeMode::kConcat},
};
constexpr Pair<v1::Precision, Precision> kPrecisions[] = {
    {v1::PRECISION_F32, Precision::kF32},
    {v1::PRECISION_BF16_WEIGHTS, Precision::kBf16Weights},
    {v1::PRECISION_INT8_WEIGHTS, Precision::kInt8Weights},
    {v1::PRECISION_BF16, Precision::kBf16},
    {v1::PRECISION_F16, Precision::kF16},
    {v1::PRECISION_UNSPECIFIED, Precision::kF32},
};
constexpr Pair<v1::PaddingOutput, PaddingOutput> kPaddingOutputs[] = {
    {v1::PADDING_OUTPUT_ZEROS, PaddingOutput::kZeros},
    {v1::PADDING_OUTPUT_REPEAT_LAST, PaddingOutput::kRepeatLast},
    {v1::PADDING_OUTPUT_CELL, PaddingOutput::kCell},
    {v1::PADDING_OUTPUT_UNSPECIFIED, PaddingOutput::kZeros},
};
constexpr Pair<v1::ZeroLengthState, ZeroLengthState> kZeroLengthStates[] = {
    {v1::ZERO_LENGTH_STATE_INITIAL, ZeroLengthState::kInitial},
    {v1::ZERO_LENGTH_STATE_ZEROS, ZeroLengthState::kZeros},
    {v1::ZERO_LENGTH_STATE_UNSPECIFIED, ZeroLengthState::kInitial},
};
constexpr Pair<v1::Model::State, ModelState> kModelStates[] = {
    {v1::Model::AVAILABLE, ModelState::kAvailable}, {v1::Model::LOADING, ModelState::kLoading},
    {v1::Model::READY, ModelState::kReady},         {v1::Model::UNLOADING, ModelState::kUnloading},
    {v1::Model::FAILED, ModelState::kFailed},       {v1::Model::RETIRED, ModelState::kRetired},
};

template <typename Proto, typename Native, size_t kSize>
absl::Status Read(const Pair<Proto, Native> (&table)[kSize], Proto proto, std::string_view field, Native* native) {
  for (const auto& pair : table) {
    if (pair.proto == proto) {
      *native = pair.native;
      return absl::OkStatus();
    }
  }
  return InvalidArgument("MODEL_SPEC",
                         absl::StrCat("got ", static_cast<int>(proto), ", which is no value of ", std::string(field)))
      .Field(field);
}

template <typename Proto, typename Native, size_t kSize>
Proto Write(const Pair<Proto, Native> (&table)[kSize], Native native) {
  for (const auto& pair : table) {
    if (pair.native == native) return pair.proto;
  }
  return Proto{};
}

absl::Status Read(const v1::Activation& proto, Activation* native) {
  // UNSPECIFIED: the default of the place, which `native` already holds.
  if (proto.function() == v1::Activation::FUNCTION_UNSPECIFIED) {
    if (!proto.has_alpha() && !proto.has_beta()) return absl::OkStatus();
    return InvalidArgument("MODEL_SPEC", "alpha or beta without a function").Field("function");
  }
  Function function = Function::kSigmoid;
  if (absl::Status status = Read(kFunctions, proto.function(), "function", &function); !status.ok()) return status;
  absl::StatusOr<Activation> made =
      MakeActivation(function, proto.has_alpha() ? std::optional<float>(proto.alpha()) : std::nullopt,
                     proto.has_beta() ? std::optional<float>(proto.beta()) : std::nullopt);
  if (!made.ok()) return made.status();
  *native = *made;
  return absl::OkStatus();
}

absl::Status Read(const v1::Activations& proto, Activations* native) {
  absl::Status status = PrefixField(Read(proto.gate(), &native->gate), "gate.");
  if (status.ok()) status = PrefixField(Read(proto.cell(), &native->cell), "cell.");
  if (status.ok()) status = PrefixField(Read(proto.output(), &native->output), "output.");
  return status;
}

bool HasAlpha(Function function) {
  switch (function) {
    case Function::kHardSigmoid:
    case Function::kElu:
    case Function::kLeakyRelu:
    case Function::kThresholdedRelu:
    case Function::kScaledTanh:
    case Function::kAffine:
      return true;
    default:
      return false;
  }
}

bool HasBeta(Function function) {
  return function == Function::kHardSigmoid || function == Function::kScaledTanh || function == Function::kAffine;
}

void Write(const Activation& native, v1::Activation* proto) {
  proto->set_function(Write(kFunctions, native.function));
  if (HasAlpha(native.function)) proto->set_alpha(native.alpha);
  if (HasBeta(native.function)) proto->set_beta(native.beta);
}

void Write(const Activations& native, v1::Activations* proto) {
  Write(native.gate, proto->mutable_gate());
  Write(native.cell, proto->mutable_cell());
  Write(native.output, proto->mutable_output());
}

}  // namespace

absl::StatusOr<ModelSpec> FromProto(const v1::ModelSpec& proto) {
  ModelSpec spec;
  spec.input_size = proto.input_size();
  spec.hidden_size = proto.hidden_size();
  spec.num_layers = proto.num_layers() == 0 ? 1 : proto.num_layers();
  spec.projection_size = proto.projection_size();
  spec.bias = !proto.has_bias() || proto.bias();
  spec.peepholes = proto.peepholes();
  spec.clip = proto.clip();
  spec.input_forget = proto.input_forget();
  spec.learned_initial_state = proto.learned_initial_state();

  absl::Status status = Read(kDirections, proto.direction(), "direction", &spec.direction);
  if (status.ok()) status = Read(kMergeModes, proto.merge_mode(), "merge_mode", &spec.merge_mode);
  if (status.ok()) status = Read(kPrecisions, proto.precision(), "precision", &spec.precision);
  if (status.ok()) status = Read(kPaddingOutputs, proto.padding_output(), "padding_output", &spec.padding_output);
  if (status.ok()) {
    status = Read(kZeroLengthStates, proto.zero_length_state(), "zero_length_state", &spec.zero_length_state);
  }
  if (status.ok()) status = PrefixField(Read(proto.activations(), &spec.activations[0]), "activations.");
  if (status.ok() && proto.has_reverse_activations()) {
    status = PrefixField(Read(proto.reverse_activations(), &spec.activations[1]), "reverse_activations.");
  } else {
    spec.activations[1] = spec.activations[0];
  }
  if (status.ok() && proto.has_head()) {
    spec.head.emplace();
    spec.head->output_size = proto.head().output_size();
    spec.head->bias = proto.head().bias();
    status = PrefixField(Read(proto.head().activation(), &spec.head->activation), "head.activation.");
  }
  if (status.ok()) status = Validate(spec);
  if (!status.ok()) return status;
  return spec;
}

void ToProto(const ModelSpec& spec, v1::ModelSpec* proto) {
  proto->set_input_size(spec.input_size);
  proto->set_hidden_size(spec.hidden_size);
  proto->set_num_layers(spec.num_layers);
  proto->set_direction(Write(kDirections, spec.direction));
  if (spec.direction == Direction::kBidirectional) proto->set_merge_mode(Write(kMergeModes, spec.merge_mode));
  proto->set_projection_size(spec.projection_size);
  proto->set_bias(spec.bias);
  Write(spec.activations[0], proto->mutable_activations());
  if (spec.direction == Direction::kBidirectional) Write(spec.activations[1], proto->mutable_reverse_activations());
  proto->set_peepholes(spec.peepholes);
  proto->set_clip(spec.clip);
  proto->set_input_forget(spec.input_forget);
  if (spec.head) {
    proto->mutable_head()->set_output_size(spec.head->output_size);
    proto->mutable_head()->set_bias(spec.head->bias);
    Write(spec.head->activation, proto->mutable_head()->mutable_activation());
  }
  proto->set_precision(Write(kPrecisions, spec.precision));
  proto->set_learned_initial_state(spec.learned_initial_state);
  proto->set_padding_output(Write(kPaddingOutputs, spec.padding_output));
  proto->set_zero_length_state(Write(kZeroLengthStates, spec.zero_length_state));
}

void ToProto(const ModelInfo& info, v1::Model* proto) {
  proto->set_name(FormatModelName(info.name));
  proto->set_version(info.version);
  proto->set_state(Write(kModelStates, info.state));
  proto->set_error(info.error);
  if (info.state == ModelState::kAvailable || info.state == ModelState::kFailed) return;
  if (info.spec.hidden_size == 0) return;  // still loading: nothing is known of it yet
  ToProto(info.spec, proto->mutable_spec());
  proto->set_device(info.device);
  proto->set_weights_sha256(info.weights_sha256);
  proto->set_parameters(info.parameters);
  proto->set_weight_bytes(info.weight_bytes);
  proto->set_state_bytes_per_session(info.state_bytes_per_session);
  proto->set_sessions(info.sessions);
  ToProto(info.load_time, proto->mutable_load_time());
  proto->set_steppable(info.spec.steppable());
  proto->set_output_size(info.spec.output_size());
  proto->set_default_version(info.default_version);
}

void ToProto(absl::Time time, google::protobuf::Timestamp* proto) {
  // The range of the message: year 1 to 9999.
  constexpr int64_t kMin = -62135596800;
  constexpr int64_t kMax = 253402300799;
  const int64_t seconds = absl::ToUnixSeconds(time);
  if (seconds < kMin || seconds > kMax) {
    proto->set_seconds(seconds < kMin ? kMin : kMax);
    return;
  }
  proto->set_seconds(seconds);
  proto->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
}

}  // namespace lstmd::server
