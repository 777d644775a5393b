// SPDX-License-Identifier: Apache-2.0
//
// The tests of BackendSuite.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "tests/support/backend_suite.h"

namespace lstmd::test {
namespace {

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(BackendSuite);

constexpr uint32_t kSizes[] = {1, 2, 3, 5, 15, 16, 17};

// A different one each time a person sets LSTMD_TEST_SEED; printed, so that a failure can be had again.
uint64_t Seed() {
  const char* text = std::getenv("LSTMD_TEST_SEED");
  const uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 10) : 20240229;
  std::cout << "LSTMD_TEST_SEED=" << seed << std::endl;
  return seed;
}

std::vector<Sequence> RandomSequences(Rng& rng, const ModelSpec& spec, size_t count, uint32_t max_steps) {
  std::vector<Sequence> sequences;
  for (size_t i = 0; i < count; ++i) sequences.push_back(RandomSequence(rng, spec, Draw(rng, 1, max_steps)));
  return sequences;
}

TEST_P(BackendSuite, EverySmallShapeMatchesTheOracle) {
  Rng rng(Seed());
  for (uint32_t input : kSizes) {
    for (uint32_t hidden : kSizes) {
      for (uint32_t layers : {1, 2}) {
        for (Direction direction : {Direction::kForward, Direction::kBidirectional}) {
          ModelSpec spec;
          spec.input_size = input;
          spec.hidden_size = hidden;
          spec.num_layers = layers;
          spec.direction = direction;
          LoadedModel loaded;
          SCOPED_TRACE(Describe(spec));
          ASSERT_TRUE(Load(spec, RandomWeights(rng, spec), loaded));
          const std::vector<Sequence> sequences = RandomSequences(rng, spec, Draw(rng, 1, 4), 3);
          const std::vector<SequenceResult> results = Run(loaded, sequences);
          for (size_t i = 0; i < results.size(); ++i) ExpectMatchesOracle(loaded, sequences[i], results[i]);
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST_P(BackendSuite, EveryDirectionMergePaddingAndZeroLengthMatchesTheOracle) {
  Rng rng(Seed());
  for (int direction = 0; direction < 4; ++direction) {
    for (int merge = 0; merge < (direction == 3 ? 4 : 1); ++merge) {
      for (int padding = 0; padding < 3; ++padding) {
        for (int zero = 0; zero < 2; ++zero) {
          for (uint32_t projection : {0, 2}) {
            for (uint32_t layers : {1, 2, 3}) {
              for (bool head : {false, true}) {
                ModelSpec spec;
                spec.input_size = 3;
                spec.hidden_size = 5;
                spec.num_layers = layers;
                spec.direction = static_cast<Direction>(direction);
                spec.merge_mode = static_cast<MergeMode>(merge);
                spec.projection_size = projection;
                if (head) spec.head = Head{2, true, {Function::kTanh}};
                spec.padding_output = static_cast<PaddingOutput>(padding);
                spec.zero_length_state = static_cast<ZeroLengthState>(zero);
                SCOPED_TRACE(Describe(spec));
                LoadedModel loaded;
                if (!Load(spec, RandomWeights(rng, spec), loaded)) continue;
                std::vector<Sequence> sequences = RandomSequences(rng, spec, 6, 6);
                sequences[0].in.mask.assign(sequences[0].in.steps, 0);
                const std::vector<SequenceResult> results = Run(loaded, sequences);
                for (size_t i = 0; i < results.size(); ++i) ExpectMatchesOracle(loaded, sequences[i], results[i]);
                if (HasFailure()) return;
              }
            }
          }
        }
      }
    }
  }
}

TEST_P(BackendSuite, EveryActivationInEveryPlaceMatchesTheOracle) {
  Rng rng(Seed());
  for (int function = 0; function <= static_cast<int>(Function::kAffine); ++function) {
    for (int place = 0; place < 4; ++place) {
      Activation activation{static_cast<Function>(function), 0.3f, 0.4f};
      switch (activation.function) {
        case Function::kHardSigmoid:
        case Function::kScaledTanh:
        case Function::kAffine:
          break;
        case Function::kElu:
        case Function::kLeakyRelu:
        case Function::kThresholdedRelu:
          activation.beta = 0;
          break;
        default:
          activation.alpha = activation.beta = 0;
      }
      ModelSpec spec;
      spec.input_size = 7;
      spec.hidden_size = 21;
      spec.direction = Direction::kBidirectional;
      // The other direction keeps its own.
      if (place == 0) spec.activations[0].gate = activation;
      if (place == 1) spec.activations[1].cell = activation;
      if (place == 2) spec.activations[0].output = activation;
      if (place == 3) spec.head = Head{9, true, activation};
      SCOPED_TRACE(Describe(spec));
      LoadedModel loaded;
      if (!Load(spec, RandomWeights(rng, spec), loaded)) continue;
      const std::vector<Sequence> sequences = RandomSequences(rng, spec, 4, 3);
      const std::vector<SequenceResult> results = Run(loaded, sequences);
      for (size_t i = 0; i < results.size(); ++i) ExpectMatchesOracle(loaded, sequences[i], results[i]);
      if (HasFailure()) return;
    }
  }
}

TEST_P(BackendSuite, RandomModelsMatchTheOracle) {
  Rng rng(Seed());
  for (int round = 0; round < 150; ++round) {
    const bool large = round % 10 == 0;
    const ModelSpec spec =
        RandomSpec(rng, Draw(rng, 1, large ? 150 : 40), Draw(rng, 1, large ? 150 : 40), Draw(rng, 1, 3));
    SCOPED_TRACE(absl::StrCat("round ", round, ": ", Describe(spec)));
    LoadedModel loaded;
    if (!Load(spec, RandomWeights(rng, spec), loaded)) continue;
    const std::vector<Sequence> sequences = RandomSequences(rng, spec, Draw(rng, 1, 20), 12);
    const std::vector<SequenceResult> results = Run(loaded, sequences);
    for (size_t i = 0; i < results.size(); ++i) ExpectMatchesOracle(loaded, sequences[i], results[i]);
    if (HasFailure()) return;
  }
}

TEST_P(BackendSuite, BatchesAndSlicesChangeNothing) {
  Rng rng(Seed() + 1);
  for (int round = 0; round < 80; ++round) {
    const ModelSpec spec = RandomSpec(rng, Draw(rng, 1, 40), Draw(rng, 1, 70), Draw(rng, 1, 3));
    SCOPED_TRACE(absl::StrCat("round ", round, ": ", Describe(spec)));
    LoadedModel loaded;
    if (!Load(spec, RandomWeights(rng, spec), loaded)) continue;
    const std::vector<Sequence> sequences = RandomSequences(rng, spec, Draw(rng, 1, 20), 12);
    const std::vector<SequenceResult> alone = Run(loaded, sequences, {false, nullptr});
    const std::vector<SequenceResult> one_by_one =
        Run(loaded, sequences, {true, [](size_t, size_t) { return uint64_t{1}; }});
    // Rows start late, pause, and go on at their own pace.
    const std::vector<SequenceResult> ragged =
        Run(loaded, sequences, {true, [&rng](size_t, size_t) { return Draw(rng, 0, 7); }});
    const std::vector<SequenceResult> together = Run(loaded, sequences);
    std::vector<size_t> order(sequences.size());
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), rng);
    std::vector<Sequence> permuted;
    for (size_t i : order) permuted.push_back(sequences[i]);
    const std::vector<SequenceResult> permuted_results = Run(loaded, permuted);
    for (size_t i = 0; i < sequences.size(); ++i) {
      SCOPED_TRACE(absl::StrCat("sequence ", i));
      ExpectSame(alone[i], one_by_one[i]);
      ExpectSame(alone[i], ragged[i]);
      ExpectSame(alone[i], together[i]);
      ExpectSame(alone[order[i]], permuted_results[i]);
    }
    if (HasFailure()) return;
  }
}

TEST_P(BackendSuite, StepsAreTheSequence) {
  Rng rng(Seed() + 2);
  for (int round = 0; round < 60; ++round) {
    ModelSpec spec = RandomSpec(rng, Draw(rng, 1, 40), Draw(rng, 1, 70), Draw(rng, 1, 3));
    spec.direction = Direction::kForward;
    spec.merge_mode = MergeMode::kConcat;
    spec.activations[1] = spec.activations[0];
    SCOPED_TRACE(absl::StrCat("round ", round, ": ", Describe(spec)));
    LoadedModel loaded;
    if (!Load(spec, RandomWeights(rng, spec), loaded)) continue;
    Sequence sequence = RandomSequence(rng, spec, Draw(rng, 1, 40));
    sequence.mode = OutputMode::kAll;
    sequence.in.mask.clear();
    ExpectSame(RunAsSteps(loaded, sequence), Run(loaded, {sequence}).front());
    if (HasFailure()) return;
  }
}

TEST_P(BackendSuite, ABatchOfManyRowsIsItsRows) {
  Rng rng(Seed() + 3);
  ModelSpec spec;
  spec.input_size = 33;
  spec.hidden_size = 65;
  LoadedModel loaded;
  ASSERT_TRUE(Load(spec, RandomWeights(rng, spec), loaded));
  const std::vector<Sequence> sequences = RandomSequences(rng, spec, 150, 3);
  const std::vector<SequenceResult> alone = Run(loaded, sequences, {false, nullptr});
  for (size_t count = 1; count <= sequences.size(); count += count < 20 ? 1 : 43) {
    const std::vector<Sequence> some(sequences.begin(), sequences.begin() + count);
    const std::vector<SequenceResult> together = Run(loaded, some);
    for (size_t i = 0; i < count; ++i) ExpectSame(alone[i], together[i]);
  }
}

TEST_P(BackendSuite, NonFiniteValuesStayInTheirRowAndSpreadAsArithmeticSays) {
  Rng rng(Seed() + 4);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  for (int round = 0; round < 40; ++round) {
    ModelSpec spec = RandomSpec(rng, Draw(rng, 1, 20), Draw(rng, 1, 40), Draw(rng, 1, 2));
    spec.activations = {};
    SCOPED_TRACE(absl::StrCat("round ", round, ": ", Describe(spec)));
    LoadedModel loaded;
    if (!Load(spec, RandomWeights(rng, spec), loaded)) continue;
    std::vector<Sequence> sequences = RandomSequences(rng, spec, 8, 4);
    const std::vector<SequenceResult> clean = Run(loaded, sequences);
    for (size_t i = 0; i < sequences.size(); i += 2) {
      std::vector<float>& input = sequences[i].in.input;
      input[Draw(rng, 0, input.size() - 1)] = i % 3 == 0 ? nan : i % 3 == 1 ? inf : -inf;
    }
    const std::vector<SequenceResult> results = Run(loaded, sequences);
    for (size_t i = 0; i < sequences.size(); ++i) {
      if (i % 2 == 0) {
        ExpectMatchesOracle(loaded, sequences[i], results[i]);
      } else {
        ExpectSame(clean[i], results[i]);
      }
    }
    if (HasFailure()) return;
  }
}

TEST_P(BackendSuite, StatesAreKeptSlotBySlot) {
  Rng rng(Seed() + 5);
  ModelSpec spec;
  spec.input_size = 2;
  spec.hidden_size = 19;
  spec.num_layers = 2;
  spec.projection_size = 3;
  spec.learned_initial_state = true;
  LoadedModel loaded;
  const Weights weights = RandomWeights(rng, spec);
  ASSERT_TRUE(Load(spec, weights, loaded));
  StatePool& pool = *loaded.pool;
  EXPECT_GE(pool.slot_bytes(), (spec.h_size() + spec.c_size()) * sizeof(float));

  std::vector<Slot> slots;
  std::vector<std::vector<float>> h, c;
  for (int i = 0; i < 3000; ++i) {
    absl::StatusOr<Slot> slot = pool.Allocate();
    ASSERT_TRUE(slot.ok()) << slot.status();
    slots.push_back(*slot);
    h.push_back(RandomFloats(rng, spec.h_size(), 1));
    c.push_back(RandomFloats(rng, spec.c_size(), 1));
    ASSERT_TRUE(pool.Write(*slot, h.back(), c.back()).ok());
  }
  EXPECT_GE(pool.pool_bytes(), 3000 * pool.slot_bytes());
  std::vector<float> got_h(spec.h_size()), got_c(spec.c_size());
  const auto read = [&](Slot slot) { ASSERT_TRUE(pool.Read(slot, absl::MakeSpan(got_h), absl::MakeSpan(got_c)).ok()); };
  for (size_t i = 0; i < slots.size(); ++i) {
    read(slots[i]);
    ASSERT_EQ(got_h, h[i]);
    ASSERT_EQ(got_c, c[i]);
  }
  ASSERT_TRUE(pool.Copy(slots[7], slots[8]).ok());
  read(slots[8]);
  EXPECT_EQ(got_h, h[7]);
  EXPECT_EQ(got_c, c[7]);

  const std::vector<float> initial_h(weights.initial_h.span().begin(), weights.initial_h.span().end());
  const std::vector<float> initial_c(weights.initial_c.span().begin(), weights.initial_c.span().end());
  ASSERT_TRUE(pool.Reset(slots[7]).ok());
  read(slots[7]);
  EXPECT_EQ(got_h, initial_h);
  EXPECT_EQ(got_c, initial_c);

  const uint64_t bytes = pool.pool_bytes();
  for (Slot slot : slots) pool.Free(slot);
  std::vector<Slot> again;
  for (size_t i = 0; i < slots.size(); ++i) {
    absl::StatusOr<Slot> slot = pool.Allocate();
    ASSERT_TRUE(slot.ok()) << slot.status();
    again.push_back(*slot);
    read(*slot);
    ASSERT_EQ(got_h, initial_h);
    ASSERT_EQ(got_c, initial_c);
  }
  EXPECT_EQ(pool.pool_bytes(), bytes);
  std::sort(slots.begin(), slots.end());
  std::sort(again.begin(), again.end());
  EXPECT_EQ(slots, again);
}

}  // namespace
}  // namespace lstmd::test
