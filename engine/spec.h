// SPDX-License-Identifier: Apache-2.0
//
// ModelSpec: everything about an LSTM but its weights. Mirrors lstmd.v1.ModelSpec (proto/lstmd/v1/model.proto), which
// documents each option and where its semantics come from.
//
// The cell, for gates i f g o, each H long, from input x [I'], hidden state h [P or H], cell state c [H]:
//   z   = W x + R h + b                 W [4H, I'], R [4H, P or H], b [4H], rows in gate order i f g o
//   i   = gate(clip(z_i + p_i*c))       p_* only with peepholes
//   f   = gate(clip(z_f + p_f*c))       or 1 - i with input_forget
//   g   = cell(clip(z_g))
//   c'  = f*c + i*g
//   o   = gate(clip(z_o + p_o*c'))
//   h'  = o * output(c')                then W_hr h' with projection, W_hr [P, H]
// I' is I for layer 0, else the output features of the layer below.
#ifndef LSTMD_ENGINE_SPEC_H_
#define LSTMD_ENGINE_SPEC_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace lstmd {

enum class Function : uint8_t {
  kSigmoid, kTanh, kHardSigmoid, kRelu, kLinear, kSoftsign, kSoftplus, kElu, kSelu, kSilu, kGelu, kLeakyRelu,
  kThresholdedRelu, kScaledTanh, kAffine,
};

// alpha and beta are always resolved (defaults filled in); 0 where the function has no such parameter.
struct Activation {
  Function function = Function::kTanh;
  float alpha = 0;
  float beta = 0;
  friend bool operator==(const Activation& a, const Activation& b) {
    return a.function == b.function && a.alpha == b.alpha && a.beta == b.beta;
  }
};

// Fills in the default parameters of `function`. INVALID_ARGUMENT / MODEL_SPEC when one is given that the function does
// not have, is not finite, or is needed and missing.
absl::StatusOr<Activation> MakeActivation(Function function, std::optional<float> alpha = std::nullopt,
                                          std::optional<float> beta = std::nullopt);

struct Activations {
  Activation gate{Function::kSigmoid};
  Activation cell{Function::kTanh};
  Activation output{Function::kTanh};
  friend bool operator==(const Activations& a, const Activations& b) {
    return a.gate == b.gate && a.cell == b.cell && a.output == b.output;
  }
};

enum class Direction : uint8_t { kForward, kReverse, kGoBackwards, kBidirectional };
enum class MergeMode : uint8_t { kConcat, kSum, kMul, kAve };
enum class Precision : uint8_t { kF32, kBf16Weights, kInt8Weights, kBf16, kF16 };
enum class PaddingOutput : uint8_t { kZeros, kRepeatLast, kCell };
enum class ZeroLengthState : uint8_t { kInitial, kZeros };

struct Head {
  uint32_t output_size = 0;  // O
  bool bias = true;
  Activation activation{Function::kLinear};
};

struct ModelSpec {
  uint32_t input_size = 0;   // I
  uint32_t hidden_size = 0;  // H
  uint32_t num_layers = 1;   // L
  Direction direction = Direction::kForward;
  MergeMode merge_mode = MergeMode::kConcat;
  uint32_t projection_size = 0;  // P, 0 = none
  bool bias = true;
  // [0] the forward or only direction, [1] the backward one of a bidirectional model.
  std::array<Activations, 2> activations;
  bool peepholes = false;
  float clip = 0;  // 0 = none
  bool input_forget = false;
  std::optional<Head> head;
  Precision precision = Precision::kF32;
  bool learned_initial_state = false;
  PaddingOutput padding_output = PaddingOutput::kZeros;
  ZeroLengthState zero_length_state = ZeroLengthState::kInitial;

  // D
  uint32_t directions() const { return direction == Direction::kBidirectional ? 2 : 1; }
  // L*D, number of (layer, direction) cells; cell index = layer * D + direction.
  uint32_t cells() const { return num_layers * directions(); }
  // P or H, length of one cell's hidden state.
  uint32_t hidden_state_size() const { return projection_size != 0 ? projection_size : hidden_size; }
  // Features of one layer's output, and of the input of the layer above: P or H, twice with merge mode concat.
  uint32_t layer_output_size() const {
    return hidden_state_size() * (directions() == 2 && merge_mode == MergeMode::kConcat ? 2 : 1);
  }
  // I' of a layer.
  uint32_t layer_input_size(uint32_t layer) const { return layer == 0 ? input_size : layer_output_size(); }
  // O
  uint32_t output_size() const { return head ? head->output_size : layer_output_size(); }
  // Floats of h and of c of one session or sequence: [L*D, P or H] and [L*D, H].
  uint32_t h_size() const { return cells() * hidden_state_size(); }
  uint32_t c_size() const { return cells() * hidden_size; }
  // Only a model that reads forward in time can be stepped.
  bool steppable() const { return direction == Direction::kForward; }
};

// OK if every size is within the limits of model.proto and the options fit each other; else INVALID_ARGUMENT /
// MODEL_SPEC with the field's path in lstmd.v1.ModelSpec.
absl::Status Validate(const ModelSpec& spec);

// The JSON form of lstmd.v1.ModelSpec (names snake_case or lowerCamelCase, enums by name). Unknown fields are errors.
// Returns a validated spec, or INVALID_ARGUMENT / MODEL_SPEC with the field's path. Never throws.
absl::StatusOr<ModelSpec> ParseSpecJson(std::string_view json);

// What ParseSpecJson reads back as the same spec; snake_case, fields at their default left out.
std::string SpecToJson(const ModelSpec& spec);

// Enum value names as in model.proto, for example "HARD_SIGMOID", "DIRECTION_REVERSE".
std::string_view Name(Function function);
std::string_view Name(Direction direction);
std::string_view Name(MergeMode mode);
std::string_view Name(Precision precision);
std::string_view Name(PaddingOutput padding);
std::string_view Name(ZeroLengthState state);

}  // namespace lstmd

#endif  // LSTMD_ENGINE_SPEC_H_
