// SPDX-License-Identifier: Apache-2.0
#include "engine/weights.h"

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "engine/errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lstmd {
namespace {

using ::testing::HasSubstr;

FloatArray Ones(size_t size) { return FloatArray(std::vector<float>(size, 1.0f)); }

// I 3, H 5, P 2, L 2, D 2, every optional array.
ModelSpec FullSpec() {
  ModelSpec spec;
  spec.input_size = 3;
  spec.hidden_size = 5;
  spec.num_layers = 2;
  spec.projection_size = 2;
  spec.direction = Direction::kBidirectional;
  spec.peepholes = true;
  spec.head = Head{7, true, {Function::kLinear}};
  spec.learned_initial_state = true;
  return spec;
}

Weights FullWeights() {
  Weights weights;
  for (int k = 0; k < 4; ++k) {
    weights.cells.push_back({Ones(20 * (k < 2 ? 3 : 4)), Ones(20 * 2), Ones(20), Ones(2 * 5), Ones(15)});
  }
  weights.head_weight = Ones(7 * 4);
  weights.head_bias = Ones(7);
  weights.initial_h = Ones(4 * 2);
  weights.initial_c = Ones(4 * 5);
  return weights;
}

struct WrongArray {
  const char* message;
  std::function<void(Weights&)> change;
};

const std::vector<WrongArray>& WrongArrays() {
  static const auto* wrong = new std::vector<WrongArray>{
      {"cells: got 3, want 4", [](Weights& w) { w.cells.pop_back(); }},
      {"cells.0.w: got 59 values, want 60 for shape [20, 3]", [](Weights& w) { w.cells[0].w = Ones(59); }},
      {"cells.2.w: got 60 values, want 80 for shape [20, 4]", [](Weights& w) { w.cells[2].w = Ones(60); }},
      {"cells.1.r: got 0 values, want 40", [](Weights& w) { w.cells[1].r = FloatArray(); }},
      {"cells.3.bias: got 40", [](Weights& w) { w.cells[3].bias = Ones(40); }},
      {"cells.0.projection: got 11 values, want 10 for shape [2, 5]",
       [](Weights& w) { w.cells[0].projection = Ones(11); }},
      {"cells.0.peepholes: got 20 values, want 15", [](Weights& w) { w.cells[0].peepholes = Ones(20); }},
      {"head.weight: got 7", [](Weights& w) { w.head_weight = Ones(7); }},
      {"head.bias: got 0", [](Weights& w) { w.head_bias = FloatArray(); }},
      {"h0: got 1", [](Weights& w) { w.initial_h = Ones(1); }},
      {"c0: got 8", [](Weights& w) { w.initial_c = Ones(8); }},
  };
  return *wrong;
}

TEST(WeightsTest, WrongArraysAreNamed) {
  ASSERT_EQ(Validate(FullSpec(), FullWeights()).message(), "");
  for (const WrongArray& wrong : WrongArrays()) {
    Weights weights = FullWeights();
    wrong.change(weights);
    const absl::Status status = Validate(FullSpec(), weights);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << wrong.message;
    EXPECT_EQ(GetCause(status).reason, "MODEL_WEIGHTS");
    EXPECT_THAT(std::string(status.message()), HasSubstr(wrong.message));
  }
}

TEST(WeightsTest, ArraysTheSpecDoesNotHaveAreRefused) {
  ModelSpec spec = FullSpec();
  spec.bias = false;
  EXPECT_THAT(std::string(Validate(spec, FullWeights()).message()), HasSubstr("cells.0.bias: got 20 values, but"));
  spec = FullSpec();
  spec.head.reset();
  EXPECT_THAT(std::string(Validate(spec, FullWeights()).message()), HasSubstr("head.weight"));
}

TEST(WeightsTest, CountsEveryArray) {
  EXPECT_EQ(ParameterCount(FullWeights()),
            2u * (60 + 40 + 20 + 10 + 15) + 2u * (80 + 40 + 20 + 10 + 15) + 28 + 7 + 8 + 20);
}

TEST(WeightsTest, FingerprintIsOfSpecAndEveryValue) {
  const std::string first = Fingerprint(FullSpec(), FullWeights());
  EXPECT_EQ(first.size(), 64u);
  EXPECT_EQ(first, Fingerprint(FullSpec(), FullWeights()));
  std::set<std::string> all = {first};
  ModelSpec spec = FullSpec();
  spec.clip = 1;
  EXPECT_TRUE(all.insert(Fingerprint(spec, FullWeights())).second);
  // One value of each array, one after the other.
  const auto change = [&all](FloatArray Weights::*whole, FloatArray CellWeights::*of_cell) {
    Weights weights = FullWeights();
    FloatArray& array = whole != nullptr ? weights.*whole : weights.cells[2].*of_cell;
    std::vector<float> values(array.data(), array.data() + array.size());
    values.back() = 1.0000001f;
    array = FloatArray(values);
    EXPECT_TRUE(all.insert(Fingerprint(FullSpec(), weights)).second);
  };
  change(nullptr, &CellWeights::w);
  change(nullptr, &CellWeights::r);
  change(nullptr, &CellWeights::bias);
  change(nullptr, &CellWeights::projection);
  change(nullptr, &CellWeights::peepholes);
  change(&Weights::head_weight, nullptr);
  change(&Weights::head_bias, nullptr);
  change(&Weights::initial_h, nullptr);
  change(&Weights::initial_c, nullptr);
  EXPECT_EQ(all.size(), 11u);
}

// Large arrays are hashed in pieces: full ones and the rest count.
TEST(WeightsTest, FingerprintOfLargeArrays) {
  ModelSpec spec;
  spec.input_size = 1200;
  spec.hidden_size = 1024;
  spec.bias = false;
  std::vector<float> w(4096 * 1200, 1.0f);
  const auto hash = [&] {
    Weights weights;
    weights.cells.push_back({FloatArray(w), Ones(4096 * 1024), {}, {}, {}});
    EXPECT_TRUE(Validate(spec, weights).ok());
    return Fingerprint(spec, weights);
  };
  std::set<std::string> all = {hash()};
  EXPECT_EQ(all.count(hash()), 1u);
  for (const size_t index : {size_t{0}, size_t{4} << 20}) {
    w[index] = 2;
    EXPECT_TRUE(all.insert(hash()).second) << index;
    w[index] = 1;
  }
}

}  // namespace
}  // namespace lstmd
