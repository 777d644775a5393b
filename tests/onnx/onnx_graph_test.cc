// SPDX-License-Identifier: Apache-2.0
//
// Graphs that are LSTM stacks, in the ways in which exporters write them.
#include <string>
#include <vector>

#include "engine/checkpoint/onnx.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/onnx/graph_builder.h"

namespace lstmd {
namespace {

using onnx::GraphBuilder;
using onnx::Names;
using onnx::Numbers;
using onnx::TensorProto;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;

std::vector<float> Values(const FloatArray& array) { return {array.data(), array.data() + array.size()}; }

ModelFiles Read(GraphBuilder& builder) {
  absl::StatusOr<ModelFiles> files = ParseOnnx(builder.Bytes());
  EXPECT_TRUE(files.ok()) << files.status();
  return files.ok() ? *std::move(files) : ModelFiles();
}

// Row blocks i o f c as i f g o.
std::vector<float> Canonical(const std::vector<float>& rows) {
  const size_t block = rows.size() / 4;
  std::vector<float> result;
  for (const size_t gate : {0, 2, 3, 1}) {
    result.insert(result.end(), rows.begin() + gate * block, rows.begin() + (gate + 1) * block);
  }
  return result;
}

std::string Transpose(GraphBuilder& g, const std::string& x, const std::vector<int64_t>& perm) {
  const std::string y = g.One("Transpose", {x});
  g.Set("perm", perm);
  return y;
}

std::string Concat(GraphBuilder& g, const Names& inputs, int64_t axis) {
  const std::string y = g.One("Concat", inputs);
  g.Set("axis", axis);
  return y;
}

// As a converter writes a batch-major recurrent layer with zero states made for the batch at hand.
TEST(OnnxGraph, BatchMajorWithComputedZeroStates) {
  GraphBuilder g;
  g.Input("x", {"", "", "3"});
  g.Ints("zero", {0});
  g.Ints("one", {1});
  const std::string t = Transpose(g, "x", {1, 0, 2});
  const std::string shape = g.One("Shape", {t});
  g.Ints("two", {2});
  const std::string batch = g.One("Slice", {shape, "one", "two", "zero"});
  g.Ints("hidden", {4});
  const std::string dims = Concat(g, {"one", batch, "hidden"}, 0);
  g.Floats("nought", {1}, {0});
  const std::string zeros = g.One("Expand", {"nought", dims});
  const Names y = g.Lstm(t, 3, 4, 1, 1, {"", zeros, g.One("ConstantOfShape", {dims})});
  const std::string all = Transpose(g, g.One("Squeeze", {y[0], "one"}), {1, 0, 2});
  g.Floats("kernel", {4, 2}, {0, 1, 2, 3, 4, 5, 6, 7});
  g.Floats("bias", {2}, {8, 9});
  g.Output(g.One("Sigmoid", {g.One("Add", {g.One("MatMul", {all, "kernel"}), "bias"})}));
  const ModelFiles files = Read(g);
  ModelSpec want;
  want.input_size = 3;
  want.hidden_size = 4;
  want.zero_length_state = ZeroLengthState::kZeros;
  want.head = Head{2, true, {Function::kSigmoid}};
  EXPECT_EQ(SpecToJson(files.spec), SpecToJson(want));
  EXPECT_THAT(Values(files.weights.head_weight), ElementsAre(0, 2, 4, 6, 1, 3, 5, 7));
  EXPECT_THAT(Values(files.weights.head_bias), ElementsAre(8, 9));
  ASSERT_EQ(files.weights.cells.size(), 1u);
  EXPECT_EQ(Values(files.weights.cells[0].w), Canonical(Numbers(48, 1)));
  EXPECT_EQ(Values(files.weights.cells[0].r), Canonical(Numbers(64, 2)));
}

TEST(OnnxGraph, LayersInTheOrderOfTheirDataNotOfTheirNodes) {
  GraphBuilder g;
  g.Input("x", {"t", "n", "3"});
  const std::string low = g.One("Squeeze", {g.Lstm("x", 3, 4, 10)[0], g.Ints("axis", {1})});
  g.Output(g.Lstm(low, 4, 4, 20)[0]);
  g.graph().mutable_node()->SwapElements(0, g.graph().node_size() - 1);
  const ModelFiles files = Read(g);
  ASSERT_EQ(files.spec.num_layers, 2u);
  EXPECT_EQ(Values(files.weights.cells[0].w), Canonical(Numbers(48, 10)));
  EXPECT_EQ(Values(files.weights.cells[1].w), Canonical(Numbers(64, 20)));
}

// Directions cut apart and joined again, final states joined for the head, a dropout that does nothing.
TEST(OnnxGraph, BidirectionalGlue) {
  GraphBuilder g;
  g.Input("x", {"t", "n", "3"});
  const Names halves = g.Node("Split", {g.Lstm("x", 3, 4, 10, 2)[0]}, 2);
  g.Set("axis", int64_t{1});
  const std::string axis = g.Ints("axis", {1});
  const std::string joined = Concat(g, {g.One("Squeeze", {halves[0], axis}), g.One("Squeeze", {halves[1], axis})}, 2);
  const Names top = g.Lstm(g.One("Dropout", {joined}), 8, 4, 20, 2);
  Names finals;
  for (const int64_t d : {0, 1}) finals.push_back(g.One("Gather", {top[1], g.Int("d" + std::to_string(d), d)}));
  g.Floats("kernel", {5, 8}, Numbers(40, 30));
  const std::string features = Concat(g, finals, -1);
  const std::string scores = g.One("Gemm", {features, "kernel"});
  g.Set("transB", int64_t{1}).Set("alpha", 2.0f);
  g.Output(scores);
  const ModelFiles files = Read(g);
  EXPECT_EQ(files.spec.direction, Direction::kBidirectional);
  EXPECT_EQ(files.spec.num_layers, 2u);
  ASSERT_TRUE(files.spec.head);
  EXPECT_EQ(files.spec.head->output_size, 5u);
  EXPECT_FALSE(files.spec.head->bias);
  std::vector<float> want = Numbers(40, 30);
  for (float& x : want) x *= 2;
  EXPECT_EQ(Values(files.weights.head_weight), want);
  ASSERT_EQ(files.weights.cells.size(), 4u);
  const std::vector<float> w = Numbers(2 * 16 * 3, 10);
  EXPECT_EQ(Values(files.weights.cells[1].w), Canonical({w.begin() + 48, w.end()}));
}

TEST(OnnxGraph, ConstantStatesAreLearned) {
  GraphBuilder g;
  g.Input("x", {"t", "n", "3"});
  g.Input("h", {"1", "n", "2"});
  const std::string state = g.One("Constant", {});
  TensorProto* value = g.last().add_attribute()->mutable_t();
  g.last().mutable_attribute(0)->set_name("value");
  value->set_data_type(TensorProto::FLOAT);
  for (const int64_t dim : {1, 1, 2}) value->add_dims(dim);
  for (const float x : {0.5f, -0.25f}) value->add_float_data(x);
  const std::string expanded = g.One("Expand", {state, g.One("Shape", {"h"})});
  g.Output(g.Lstm("x", 3, 2, 1, 1, {"", expanded})[0]);
  const ModelFiles files = Read(g);
  EXPECT_TRUE(files.spec.learned_initial_state);
  EXPECT_THAT(Values(files.weights.initial_h), ElementsAre(0.5f, -0.25f));
  EXPECT_THAT(Values(files.weights.initial_c), ElementsAre(0, 0));
}

TEST(OnnxGraph, TimeTurnedAround) {
  for (const bool turn_in : {false, true}) {
    for (const bool reverse : {false, true}) {
      for (const bool turn_out : {false, true}) {
        GraphBuilder g;
        g.Input("x", {"t", "n", "3"});
        g.Ints("first", {-1});
        g.Ints("end", {INT64_MIN});
        g.Ints("axis", {0});
        const auto turn = [&](const std::string& x) { return g.One("Slice", {x, "first", "end", "axis", "first"}); };
        const std::string y = g.Lstm(turn_in ? turn("x") : "x", 3, 2)[0];
        if (reverse) g.last().mutable_attribute(0)->set_name("hidden_size"), g.Set("direction", std::string("reverse"));
        g.Output(turn_out ? turn(y) : y);
        const absl::StatusOr<ModelFiles> files = ParseOnnx(g.Bytes());
        const bool backward = turn_in != reverse;
        const bool turned = turn_in != turn_out;
        if (turned && !backward) {
          EXPECT_FALSE(files.ok());
          continue;
        }
        ASSERT_TRUE(files.ok()) << files.status();
        EXPECT_EQ(files->spec.direction, !backward ? Direction::kForward
                                         : turned  ? Direction::kGoBackwards
                                                   : Direction::kReverse);
      }
    }
  }
}

// Only the weights tell how large the open dimensions are.
TEST(OnnxGraph, OpenDimensions) {
  for (const bool ranked : {false, true}) {
    GraphBuilder g;
    ranked ? g.Input("x", {"", "", ""}) : g.InputOfAnyShape("x");
    g.Input("lengths", {""}, TensorProto::INT32);
    g.Input("h", {"", "", ""});
    g.Input("c", {"", "", ""});
    const Names y = g.Lstm("x", 3, 4, 1, 1, {"lengths", "h", "c"});
    for (const std::string& name : y) g.Output(name);
    EXPECT_EQ(Read(g).spec.input_size, 3u);
  }
}

TEST(OnnxGraph, BatchMajorLayoutOfTheNodeItself) {
  GraphBuilder g;
  g.Input("x", {"n", "t", "3"});
  g.Input("h", {"n", "1", "4"});
  const std::string low = g.Lstm("x", 3, 4, 10, 1, {"", "h"})[0];
  g.Set("layout", int64_t{1});
  const std::string squeezed = g.One("Squeeze", {low, g.Ints("axis", {2})});
  g.Output(g.Lstm(squeezed, 4, 4, 20)[0]);
  g.Set("layout", int64_t{1});
  EXPECT_EQ(Read(g).spec.num_layers, 2u);
}

TEST(OnnxGraph, WeightsOutOfConstantExpressionsOfEveryFloatType) {
  for (const int32_t type : {TensorProto::FLOAT, TensorProto::DOUBLE, TensorProto::FLOAT16, TensorProto::BFLOAT16}) {
    GraphBuilder g;
    g.Input("x", {"t", "n", "1"}, type);
    const auto tensor = [&](const std::string& name, const std::vector<int64_t>& dims, int value) {
      TensorProto* made = g.graph().add_initializer();
      made->set_name(name);
      made->set_data_type(type);
      int64_t count = 1;
      for (const int64_t dim : dims) made->add_dims(dim), count *= dim;
      for (int64_t k = 0; k < count; ++k) {
        // 1, 2, 4, … have few bits in every type.
        const float x = static_cast<float>(1 << (k % 8)) * static_cast<float>(value);
        if (type == TensorProto::FLOAT) made->add_float_data(x);
        if (type == TensorProto::DOUBLE) made->add_double_data(x);
        if (type == TensorProto::FLOAT16) made->add_int32_data((15 + k % 8 + (value == 2)) << 10);
        if (type == TensorProto::BFLOAT16) made->add_int32_data((127 + k % 8 + (value == 2)) << 7);
      }
      return name;
    };
    tensor("kernel", {1, 8}, 1);  // transposed
    tensor("recurrent", {8, 2}, 1);
    tensor("wb", {8}, 1);
    tensor("rb", {8}, 2);
    g.Ints("zero", {0});
    const std::string w = g.One("Unsqueeze", {Transpose(g, "kernel", {1, 0}), "zero"});
    const std::string r = g.One("Identity", {g.One("Unsqueeze", {"recurrent", "zero"})});
    const std::string b = g.One("Unsqueeze", {Concat(g, {"wb", "rb"}, 0), "zero"});
    g.Output(g.Node("LSTM", {"x", w, r, b}, 1)[0]);
    const ModelFiles files = Read(g);
    EXPECT_EQ(files.spec.hidden_size, 2u);
    ASSERT_EQ(files.weights.cells.size(), 1u);
    EXPECT_THAT(Values(files.weights.cells[0].w), ElementsAre(1, 2, 16, 32, 64, 128, 4, 8));
    EXPECT_THAT(Values(files.weights.cells[0].bias), ElementsAre(3, 6, 48, 96, 192, 384, 12, 24));
  }
}

TEST(OnnxGraph, InitializersThatAreGraphInputsToo) {
  GraphBuilder g;
  g.Input("x", {"t", "n", "3"});
  g.Output(g.Lstm("x", 3, 4)[0]);
  g.Input("W0", {"1", "16", "3"});
  EXPECT_EQ(Values(Read(g).weights.cells[0].w), Canonical(Numbers(48, 1)));
}

TEST(OnnxGraph, ActivationsTakeAlphaAndBetaInTurn) {
  GraphBuilder g;
  g.Input("x", {"t", "n", "3"});
  g.Output(g.Lstm("x", 3, 4, 1, 2)[0]);
  g.Set("activations", Names{"HARDSIGMOID", "tanh", "LeakyRelu", "Sigmoid", "Affine", "ThresholdedRelu"});
  g.Set("activation_alpha", std::vector<float>{0.3f, 0.02f, 1.5f}).Set("activation_beta", std::vector<float>{0.4f});
  const ModelFiles files = Read(g);
  const auto is = [](const Activation& got, Function function, float alpha, float beta) {
    return got == Activation{function, alpha, beta};
  };
  EXPECT_TRUE(is(files.spec.activations[0].gate, Function::kHardSigmoid, 0.3f, 0.4f));
  EXPECT_TRUE(is(files.spec.activations[0].cell, Function::kTanh, 0, 0));
  EXPECT_TRUE(is(files.spec.activations[0].output, Function::kLeakyRelu, 0.02f, 0));
  EXPECT_TRUE(is(files.spec.activations[1].gate, Function::kSigmoid, 0, 0));
  EXPECT_TRUE(is(files.spec.activations[1].cell, Function::kAffine, 1.5f, 0));
  EXPECT_TRUE(is(files.spec.activations[1].output, Function::kThresholdedRelu, 0, 0));
}

TEST(OnnxGraph, StatesOfAllLayersInOneInput) {
  GraphBuilder g;
  g.Input("x", {"t", "n", "3"});
  g.Input("state", {"2", "2", "n", "4"});
  const auto part = [&](int64_t what, int64_t layer) {
    const std::string at = std::to_string(2 * what + layer);
    const std::string states = g.One("Gather", {"state", g.Int("what" + at, what)});
    return g.One("Slice", {states, g.Ints("start" + at, {layer}), g.Ints("end" + at, {layer + 1})});
  };
  Names y = g.Lstm("x", 3, 4, 10, 1, {"", part(0, 0), part(1, 0)});
  const std::string axis = g.Ints("axis", {1});
  const Names top = g.Lstm(g.One("Squeeze", {y[0], axis}), 4, 4, 20, 1, {"", part(0, 1), part(1, 1)});
  const auto both = [&](int k) {
    return g.One("Unsqueeze", {Concat(g, {y[static_cast<size_t>(k)], top[static_cast<size_t>(k)]}, 0), "zero"});
  };
  g.Ints("zero", {0});
  g.Output(top[0]);
  g.Output(Concat(g, {both(1), both(2)}, 0));
  EXPECT_EQ(Read(g).spec.num_layers, 2u);
}

}  // namespace
}  // namespace lstmd
