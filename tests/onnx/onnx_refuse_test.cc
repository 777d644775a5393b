// SPDX-License-Identifier: Apache-2.0
//
// What is no LSTM stack is refused by the name of the node that does not belong to it.
#include <functional>
#include <string>
#include <vector>

#include "engine/checkpoint/onnx.h"
#include "engine/errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/onnx/graph_builder.h"

namespace lstmd {
namespace {

using onnx::GraphBuilder;
using onnx::Names;
using onnx::Numbers;
using onnx::TensorProto;
using ::testing::HasSubstr;

struct Case {
  const char* name;
  // Adds to a graph with input "x" [t, n, 3] and answers what is to be its output.
  std::function<std::string(GraphBuilder&)> add;
  std::vector<const char*> words;  // all in the message
};

std::string Head(GraphBuilder& g, const std::string& x, const std::string& kernel = "kernel") {
  g.Floats(kernel, {4, 2}, Numbers(8, 7));
  return g.One("MatMul", {x, kernel});
}

std::string Squeezed(GraphBuilder& g, const std::string& y) { return g.One("Squeeze", {y, g.Ints("axis" + y, {1})}); }

const Case kCases[] = {
    {"an operator in front", [](GraphBuilder& g) { return g.Lstm(g.One("Softmax", {"x"}), 3, 4)[0]; }, {"Softmax_0"}},
    {"an operator behind",
     [](GraphBuilder& g) { return g.One("ReduceMean", {g.Lstm("x", 3, 4)[0]}); },
     {"ReduceMean_1"}},
    {"another recurrent layer", [](GraphBuilder& g) { return g.One("GRU", {"x"}); }, {"'GRU_0' (GRU)"}},
    {"another domain",
     [](GraphBuilder& g) {
       const std::string y = g.Lstm("x", 3, 4)[0];
       g.last().set_domain("com.example");
       return y;
     },
     {"LSTM_0", "no part of an LSTM stack"}},
    {"no LSTM", [](GraphBuilder& g) { return g.One("Identity", {"x"}); }, {"no LSTM node"}},
    {"an activation between",
     [](GraphBuilder& g) { return Head(g, g.One("Relu", {Squeezed(g, g.Lstm("x", 3, 4)[0])})); },
     {"Relu_2", "does not follow a dense layer"}},
    {"two dense layers",
     [](GraphBuilder& g) {
       g.Floats("second", {2, 2}, Numbers(4, 1));
       return g.One("MatMul", {Head(g, Squeezed(g, g.Lstm("x", 3, 4)[0])), "second"});
     },
     {"MatMul_3", "second dense layer"}},
    {"a dense layer first",
     [](GraphBuilder& g) {
       g.Floats("kernel", {3, 3}, Numbers(9, 7));
       return g.Lstm(g.One("MatMul", {"x", "kernel"}), 3, 4)[0];
     },
     {"MatMul_0", "before the LSTM"}},
    {"a dense layer on the wrong axis",
     [](GraphBuilder& g) { return Head(g, Squeezed(g, g.One("Transpose", {g.Lstm("x", 3, 4)[0]}))); },
     {"Squeeze_2"}},
    {"a step in the middle",
     [](GraphBuilder& g) {
       return Head(g, g.One("Gather", {Squeezed(g, g.Lstm("x", 3, 4)[0]), g.Int("second", 1)}));
     },
     {"MatMul_3", "of all or of the last steps"}},
    // Step 6 is the last one when the first number for t is tried, and no step at all for the second.
    {"a fixed step",
     [](GraphBuilder& g) {
       return Head(g, g.One("Gather", {Squeezed(g, g.Lstm("x", 3, 4)[0]), g.Int("sixth", 6)}));
     },
     {"MatMul_3"}},
    {"half of the features",
     [](GraphBuilder& g) {
       const std::string y = Squeezed(g, g.Lstm("x", 3, 8)[0]);
       return Head(g, g.One("Slice", {y, g.Ints("start", {0}), g.Ints("end", {4}), g.Ints("axis", {2})}));
     },
     {"MatMul_3"}},
    {"half of the input",
     [](GraphBuilder& g) {
       return g.Lstm(g.One("Slice", {"x", g.Ints("start", {0}), g.Ints("end", {2}), g.Ints("axis", {2})}), 2, 4)[0];
     },
     {"LSTM_1", "whole graph input 'x'"}},
    {"two stacks side by side",
     [](GraphBuilder& g) {
       const std::string y = g.Lstm("x", 3, 4)[0];
       const std::string z = g.Lstm("x", 3, 4)[0];
       return g.One("Concat", {y, z});
     },
     {"LSTM_1", "does not read the output of node 'LSTM_0'"}},
    {"a decoder on the final state",
     [](GraphBuilder& g) { return g.Lstm(g.Lstm("x", 3, 4)[1], 4, 4)[0]; },
     {"LSTM_1", "LSTM_0"}},
    {"batch and time exchanged between layers",
     [](GraphBuilder& g) {
       const std::string y = g.One("Transpose", {Squeezed(g, g.Lstm("x", 3, 4)[0])});
       g.Set("perm", std::vector<int64_t>{1, 0, 2});
       return g.Lstm(y, 4, 4)[0];
     },
     {"LSTM_3", "in their order"}},
    {"other sizes above",
     [](GraphBuilder& g) { return g.Lstm(Squeezed(g, g.Lstm("x", 3, 4)[0]), 4, 5)[0]; },
     {"LSTM_2", "hidden_size 5", "share one size"}},
    {"other functions above",
     [](GraphBuilder& g) {
       const std::string y = g.Lstm(Squeezed(g, g.Lstm("x", 3, 4)[0]), 4, 4)[0];
       g.Set("activations", Names{"Relu", "Tanh", "Tanh"});
       return y;
     },
     {"LSTM_2", "activations", "LSTM_0"}},
    {"an unknown function",
     [](GraphBuilder& g) {
       const std::string y = g.Lstm("x", 3, 4)[0];
       g.Set("activations", Names{"Sigmoid", "HardTanh", "Tanh"});
       return y;
     },
     {"LSTM_0", "HardTanh"}},
    {"too few functions",
     [](GraphBuilder& g) {
       const std::string y = g.Lstm("x", 3, 4)[0];
       g.Set("activations", Names{"Sigmoid", "Tanh"});
       return y;
     },
     {"LSTM_0", "got 2, want 3"}},
    {"no clip",
     [](GraphBuilder& g) {
       const std::string y = g.Lstm("x", 3, 4)[0];
       g.Set("clip", 0.0f);
       return y;
     },
     {"LSTM_0", "clip"}},
    {"sideways",
     [](GraphBuilder& g) {
       const std::string y = g.Lstm("x", 3, 4)[0];
       g.Set("direction", std::string("sideways"));
       return y;
     },
     {"LSTM_0", "sideways"}},
    {"another layout",
     [](GraphBuilder& g) {
       const std::string y = g.Lstm("x", 3, 4)[0];
       g.Set("layout", int64_t{2});
       return y;
     },
     {"LSTM_0", "layout"}},
    {"an attribute of another type",
     [](GraphBuilder& g) {
       const std::string y = g.Lstm("x", 3, 4)[0];
       g.Set("direction", int64_t{1});
       return y;
     },
     {"LSTM_0", "direction"}},
    {"an unknown attribute",
     [](GraphBuilder& g) {
       const std::string y = g.Lstm("x", 3, 4)[0];
       g.Set("output_sequence", int64_t{1});
       return y;
     },
     {"LSTM_0", "output_sequence"}},
    {"weights that come with the request",
     [](GraphBuilder& g) {
       g.Input("W", {"1", "16", "3"});
       g.Floats("R", {1, 16, 4}, Numbers(64, 1));
       return g.Node("LSTM", {"x", "W", "R"})[0];
     },
     {"LSTM_0", "W is a graph input"}},
    {"weights that do not fit",
     [](GraphBuilder& g) {
       g.Floats("W", {1, 12, 3}, Numbers(36, 1));
       g.Floats("R", {1, 16, 4}, Numbers(64, 1));
       return g.Node("LSTM", {"x", "W", "R"})[0];
     },
     {"LSTM_0", "W: got [1, 12, 3], want [1, 16, 3]"}},
    {"weights that are not there",
     [](GraphBuilder& g) {
       const std::string y = g.Lstm("x", 3, 4)[0];
       g.last().set_input(1, "elsewhere");
       return y;
     },
     {"LSTM_0", "'elsewhere' is made by nothing"}},
    {"too many input features", [](GraphBuilder& g) { return g.Lstm("x", 5, 4)[0]; }, {"LSTM_0", "want 5 features"}},
    {"a cycle",
     [](GraphBuilder& g) {
       const std::string y = g.Lstm("x", 3, 4)[0];
       g.last().set_input(0, "Identity_1:0");
       return g.One("Identity", {y});
     },
     {"cycle"}},
    {"a name made twice",
     [](GraphBuilder& g) {
       const std::string y = g.Lstm("x", 3, 4)[0];
       g.One("Identity", {"x"});
       g.last().set_output(0, y);
       return y;
     },
     {"Identity_1", "made twice"}},
    {"states that differ by row",
     [](GraphBuilder& g) {
       g.Floats("h", {1, 2, 4}, Numbers(8, 1));
       g.graph()
           .mutable_input(0)
           ->mutable_type()
           ->mutable_tensor_type()
           ->mutable_shape()
           ->mutable_dim(1)
           ->set_dim_value(2);
       return g.Lstm("x", 3, 4, 1, 1, {"", "h"})[0];
     },
     {"LSTM_0", "differs between rows"}},
    {"one state for h and c",
     [](GraphBuilder& g) {
       g.Input("s", {"1", "n", "4"});
       return g.Lstm("x", 3, 4, 1, 1, {"", "s", "s"})[0];
     },
     {"LSTM_0", "initial_c"}},
    {"states out of the data",
     [](GraphBuilder& g) {
       const Names y = g.Lstm("x", 3, 4);
       return g.Lstm(Squeezed(g, y[0]), 4, 4, 1, 1, {"", y[1]})[0];
     },
     {"LSTM_2", "initial_h"}},
    {"lengths out of the data",
     [](GraphBuilder& g) { return g.Lstm("x", 3, 4, 1, 1, {g.One("Shape", {"x"})})[0]; },
     {"LSTM_1", "sequence_lens"}},
    {"features before the head too",
     [](GraphBuilder& g) {
       const std::string y = Squeezed(g, g.Lstm("x", 3, 4)[0]);
       g.Output(y);
       return Head(g, y);
     },
     {"Squeeze_1:0", "before the dense layer"}},
    {"scores before the activation too",
     [](GraphBuilder& g) {
       const std::string scores = Head(g, Squeezed(g, g.Lstm("x", 3, 4)[0]));
       g.Output(scores);
       return g.One("Sigmoid", {scores});
     },
     {"MatMul_2:0", "within the dense layer"}},
    {"the lower layer's outputs too",
     [](GraphBuilder& g) {
       const std::string y = Squeezed(g, g.Lstm("x", 3, 4)[0]);
       g.Output(y);
       return g.Lstm(y, 4, 4)[0];
     },
     {"not the top layer"}},
    {"a bias along time",
     [](GraphBuilder& g) {
       g.Floats("bias", {7, 1, 1}, Numbers(7, 1));
       return g.One("Add", {Head(g, Squeezed(g, g.Lstm("x", 3, 4)[0])), "bias"});
     },
     {"Add_3", "bias"}},
};

TEST(OnnxRefuse, NamesTheNode) {
  for (const Case& test : kCases) {
    SCOPED_TRACE(test.name);
    GraphBuilder g;
    g.Input("x", {"t", "n", "3"});
    const std::string output = test.add(g);
    g.Output(output);
    const absl::Status status = ParseOnnx(g.Bytes()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(GetCause(status).reason, "MODEL_FILE");
    for (const char* word : test.words) EXPECT_THAT(std::string(status.message()), HasSubstr(word));
  }
}

// The same graph with nothing wrong: what the cases above are refused for is what they add.
TEST(OnnxRefuse, TheCommonPartIsFine) {
  GraphBuilder g;
  g.Input("x", {"t", "n", "3"});
  g.Output(Head(g, Squeezed(g, g.Lstm("x", 3, 4)[0])));
  const absl::StatusOr<ModelFiles> files = ParseOnnx(g.Bytes());
  EXPECT_TRUE(files.ok()) << files.status();
}

}  // namespace
}  // namespace lstmd
