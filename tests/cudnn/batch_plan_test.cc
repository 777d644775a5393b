// SPDX-License-Identifier: Apache-2.0
#include "engine/cudnn/batch_plan.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lstmd::cudnn {
namespace {

using testing::ElementsAre;

ModelSpec Spec(Direction direction) {
  ModelSpec spec;
  spec.input_size = 1;
  spec.hidden_size = 2;
  spec.direction = direction;
  return spec;
}

Row MakeRow(uint32_t steps, const uint8_t* mask, float* output, uint64_t budget = 1000) {
  Row row;
  row.slot = 0;
  row.steps = steps;
  row.mask = mask;
  row.output = output;
  row.budget = budget;
  return row;
}

std::vector<int> Forward(const BatchPlan& plan) {
  std::vector<int> indices;
  for (const WantedOutput& want : plan.wanted) indices.push_back(want.forward);
  return indices;
}

TEST(BatchPlanTest, PacksTimeMajorLongestFirst) {
  float output[2 * 8];
  Row rows[] = {MakeRow(1, nullptr, output), MakeRow(3, nullptr, output), MakeRow(2, nullptr, output)};
  Row* pointers[] = {&rows[0], &rows[1], &rows[2]};
  const BatchPlan plan = PlanBatch(Spec(Direction::kForward), pointers);
  ASSERT_EQ(plan.batch(), 3);
  EXPECT_EQ(plan.rows[0].row, &rows[1]);
  EXPECT_EQ(plan.rows[1].row, &rows[2]);
  EXPECT_EQ(plan.rows[2].row, &rows[0]);
  EXPECT_THAT(plan.active, ElementsAre(3, 2, 1));
  EXPECT_THAT(plan.offset, ElementsAre(0, 3, 5, 6));
  // Row 0 has packed steps 0, 3, 5; row 1 has 1, 4; row 2 has 2.
  EXPECT_THAT(plan.reversed, ElementsAre(5, 4, 2, 3, 1, 0));
  EXPECT_THAT(Forward(plan), ElementsAre(0, 3, 5, 1, 4, 2));
  EXPECT_FALSE(plan.equal_lengths());
}

TEST(BatchPlanTest, MaskedStepsAnswerZerosOrTheLastOutput) {
  float output[2 * 4];
  const uint8_t mask[] = {0, 1, 0, 1};
  Row row = MakeRow(4, mask, output);
  Row* pointers[] = {&row};
  ModelSpec spec = Spec(Direction::kForward);
  EXPECT_THAT(Forward(PlanBatch(spec, pointers)), ElementsAre(kZeros, 0, kZeros, 1));
  spec.padding_output = PaddingOutput::kRepeatLast;
  EXPECT_THAT(Forward(PlanBatch(spec, pointers)), ElementsAre(kZeros, 0, 0, 1));
}

TEST(BatchPlanTest, ALaterSliceRepeatsWhatTheEarlierOneAnswered) {
  float output[2 * 4];
  const uint8_t mask[] = {1, 1, 0, 1};
  Row row = MakeRow(4, mask, output, 2);
  row.position = 2;
  Row* pointers[] = {&row};
  ModelSpec spec = Spec(Direction::kForward);
  spec.padding_output = PaddingOutput::kRepeatLast;
  const BatchPlan plan = PlanBatch(spec, pointers);
  ASSERT_EQ(plan.wanted.size(), 2u);
  EXPECT_EQ(plan.wanted[0].same_as, output + 2);
  EXPECT_EQ(plan.wanted[0].to, output + 4);
  EXPECT_EQ(plan.wanted[1].forward, 0);
}

TEST(BatchPlanTest, ReversedModelsAnswerInTimeOrderAndGoBackwardsInTheirOwn) {
  float output[2 * 3];
  for (const bool reverse : {true, false}) {
    Row row = MakeRow(3, nullptr, output);
    Row* pointers[] = {&row};
    const BatchPlan plan = PlanBatch(Spec(reverse ? Direction::kReverse : Direction::kGoBackwards), pointers);
    EXPECT_THAT(plan.rows[0].valid, ElementsAre(2u, 1u, 0u));
    ASSERT_EQ(plan.wanted.size(), 3u);
    EXPECT_EQ(plan.wanted[0].forward, 0);
    EXPECT_EQ(plan.wanted[0].to, reverse ? output + 4 : output);
  }
}

TEST(BatchPlanTest, FinalTakesEachDirectionsLastAndLastTheLastTimeStep) {
  float output[4];
  Row row = MakeRow(3, nullptr, output);
  Row* pointers[] = {&row};
  row.output_mode = OutputMode::kFinal;
  BatchPlan plan = PlanBatch(Spec(Direction::kBidirectional), pointers);
  ASSERT_EQ(plan.wanted.size(), 1u);
  EXPECT_EQ(plan.wanted[0].forward, 2);
  EXPECT_EQ(plan.wanted[0].backward, 0);
  row.output_mode = OutputMode::kLast;
  plan = PlanBatch(Spec(Direction::kBidirectional), pointers);
  EXPECT_EQ(plan.wanted[0].forward, 2);
  EXPECT_EQ(plan.wanted[0].backward, 2);
}

TEST(BatchPlanTest, ARowWithoutAValidStepNeverReachesTheDevice) {
  float output[2 * 2];
  const uint8_t mask[] = {0, 0};
  Row row = MakeRow(2, mask, output);
  row.slot = 7;
  Row* pointers[] = {&row};
  ModelSpec spec = Spec(Direction::kForward);
  BatchPlan plan = PlanBatch(spec, pointers);
  EXPECT_EQ(plan.batch(), 0);
  EXPECT_EQ(plan.total(), 0);
  EXPECT_THAT(Forward(plan), ElementsAre(kZeros, kZeros));
  EXPECT_TRUE(plan.to_zero.empty());
  spec.zero_length_state = ZeroLengthState::kZeros;
  EXPECT_THAT(PlanBatch(spec, pointers).to_zero, ElementsAre(7u));
}

}  // namespace
}  // namespace lstmd::cudnn
