// SPDX-License-Identifier: Apache-2.0
#include "engine/spec.h"

#include <functional>
#include <limits>
#include <string>

#include "engine/errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lstmd {
namespace {

using ::testing::HasSubstr;

ModelSpec Small() {
  ModelSpec spec;
  spec.input_size = 3;
  spec.hidden_size = 5;
  return spec;
}

struct InvalidCase {
  const char* what;
  std::function<void(ModelSpec&)> change;
  const char* field;
  const char* message;
};

TEST(SpecTest, InvalidSpecsAreNamed) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const InvalidCase cases[] = {
      {"no input", [](ModelSpec& s) { s.input_size = 0; }, "input_size", "got 0, want 1 to 65536"},
      {"wide input", [](ModelSpec& s) { s.input_size = 65537; }, "input_size", "got 65537"},
      {"no hidden", [](ModelSpec& s) { s.hidden_size = 0; }, "hidden_size", "got 0"},
      {"wide hidden", [](ModelSpec& s) { s.hidden_size = 1u << 31; }, "hidden_size", "got 2147483648"},
      {"no layer", [](ModelSpec& s) { s.num_layers = 0; }, "num_layers", "got 0, want 1 to 64"},
      {"65 layers", [](ModelSpec& s) { s.num_layers = 65; }, "num_layers", "got 65"},
      {"P = H", [](ModelSpec& s) { s.projection_size = 5; }, "projection_size", "got 5, want less than hidden_size"},
      {"merge forward", [](ModelSpec& s) { s.merge_mode = MergeMode::kSum; }, "merge_mode", "DIRECTION_BIDIRECTIONAL"},
      {"clip < 0", [](ModelSpec& s) { s.clip = -1; }, "clip", "got -1"},
      {"clip NaN", [nan](ModelSpec& s) { s.clip = nan; }, "clip", "nan"},
      {"direction", [](ModelSpec& s) { s.direction = static_cast<Direction>(9); }, "direction", "not a value"},
      {"precision", [](ModelSpec& s) { s.precision = static_cast<Precision>(9); }, "precision", "not a value"},
      {"padding", [](ModelSpec& s) { s.padding_output = static_cast<PaddingOutput>(9); }, "padding_output", "not a"},
      {"zero length", [](ModelSpec& s) { s.zero_length_state = static_cast<ZeroLengthState>(9); }, "zero_length_state",
       "not a value"},
      {"merge value", [](ModelSpec& s) { s.merge_mode = static_cast<MergeMode>(9); }, "merge_mode", "not a value"},
      {"function", [](ModelSpec& s) { s.activations[0].gate.function = static_cast<Function>(99); },
       "activations.gate.function", "got 99"},
      {"alpha of tanh", [](ModelSpec& s) { s.activations[0].cell.alpha = 2; }, "activations.cell.alpha", "TANH"},
      {"beta of elu",
       [](ModelSpec& s) {
         s.activations[0].output = {Function::kElu, 1, 1};
       },
       "activations.output.beta", "ELU has no such parameter"},
      {"alpha NaN",
       [nan](ModelSpec& s) {
         s.activations[0].gate = {Function::kHardSigmoid, nan, 0};
       },
       "activations.gate.alpha", "activations.gate.alpha: got nan, want a finite number"},
      {"reverse",
       [](ModelSpec& s) {
         s.direction = Direction::kBidirectional;
         s.activations[1].gate.alpha = 1;
       },
       "reverse_activations.gate.alpha", "SIGMOID has no such parameter"},
      {"empty head", [](ModelSpec& s) { s.head = Head(); }, "head.output_size", "got 0"},
      {"head activation",
       [](ModelSpec& s) {
         s.head = Head{4, true, {Function::kRelu, 1, 0}};
       },
       "head.activation.alpha", "RELU"},
  };
  ASSERT_TRUE(Validate(Small()).ok());
  for (const InvalidCase& c : cases) {
    ModelSpec spec = Small();
    c.change(spec);
    const absl::Status status = Validate(spec);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.what;
    EXPECT_EQ(GetCause(status).reason, "MODEL_SPEC") << c.what;
    EXPECT_EQ(GetCause(status).field, c.field) << c.what;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.message)) << c.what;
  }
}

TEST(SpecTest, LimitsThemselvesAreValid) {
  ModelSpec spec;
  spec.input_size = 65536;
  spec.hidden_size = 65536;
  spec.num_layers = 64;
  spec.projection_size = 65535;
  spec.direction = Direction::kBidirectional;
  spec.merge_mode = MergeMode::kAve;
  spec.head = Head{1u << 20, true, {Function::kLinear}};
  EXPECT_TRUE(Validate(spec).ok());
}

// Only one direction runs, so what stands in the other one's place is nobody's mistake.
TEST(SpecTest, ReverseActivationsOfAForwardModelDoNotMatter) {
  ModelSpec spec = Small();
  spec.activations[1].gate.alpha = 1;
  EXPECT_TRUE(Validate(spec).ok());
}

TEST(SpecTest, MakeActivationFillsInDefaults) {
  EXPECT_EQ(*MakeActivation(Function::kHardSigmoid), (Activation{Function::kHardSigmoid, 0.2f, 0.5f}));
  EXPECT_EQ(*MakeActivation(Function::kHardSigmoid, 0.25f), (Activation{Function::kHardSigmoid, 0.25f, 0.5f}));
  EXPECT_EQ(*MakeActivation(Function::kElu), (Activation{Function::kElu, 1, 0}));
  EXPECT_EQ(*MakeActivation(Function::kLeakyRelu), (Activation{Function::kLeakyRelu, 0.01f, 0}));
  EXPECT_EQ(*MakeActivation(Function::kAffine, 2.0f, 3.0f), (Activation{Function::kAffine, 2, 3}));
  EXPECT_EQ(*MakeActivation(Function::kTanh), Activation{Function::kTanh});
}

TEST(SpecTest, MakeActivationNamesWhatIsMissing) {
  EXPECT_EQ(GetCause(MakeActivation(Function::kThresholdedRelu).status()).field, "alpha");
  EXPECT_EQ(GetCause(MakeActivation(Function::kScaledTanh, 1.0f).status()).field, "beta");
  EXPECT_EQ(GetCause(MakeActivation(Function::kAffine, std::nullopt, 1.0f).status()).field, "alpha");
  EXPECT_EQ(GetCause(MakeActivation(Function::kSigmoid, 1.0f).status()).field, "alpha");
  EXPECT_EQ(GetCause(MakeActivation(static_cast<Function>(99)).status()).field, "function");
}

}  // namespace
}  // namespace lstmd
