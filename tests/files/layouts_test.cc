// SPDX-License-Identifier: Apache-2.0
//
// What the recorded cases do not have: module paths, heads, learned states, specs in part, and everything that is
// wrong. That the matrices are the right ones is golden_layouts_test's.
#include "engine/checkpoint/layouts.h"

#include <functional>
#include <string>
#include <vector>

#include "engine/errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/files/tensors.h"

namespace lstmd {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<ModelFiles> Assemble(const Tensors& tensors, const LayoutOptions& options = {}) {
  return AssembleModel(tensors.file(), options);
}

std::string SpecOf(const Tensors& tensors, const std::string& spec_json = "") {
  LayoutOptions options;
  options.spec_json = spec_json;
  const absl::StatusOr<ModelFiles> model = Assemble(tensors, options);
  return model.ok() ? SpecToJson(model->spec) : std::string(model.status().message());
}

std::vector<float> Values(const FloatArray& array) { return {array.data(), array.data() + array.size()}; }

Tensors Torch() { return Tensors().AddTorchLayer("", "l0", 3, 5); }

TEST(LayoutsTest, ShapesCompleteTheSpec) {
  EXPECT_EQ(SpecOf(Torch()), R"({"input_size":3,"hidden_size":5})");
  EXPECT_EQ(
      SpecOf(Tensors().AddTorchLayer("model.rnn.", "l0", 3, 5, false).AddTorchLayer("model.rnn.", "l1", 5, 5, false)),
      R"({"input_size":3,"hidden_size":5,"num_layers":2,"bias":false})");
  EXPECT_EQ(SpecOf(Torch().AddTorchLayer("", "l0_reverse", 3, 5)),
            R"({"input_size":3,"hidden_size":5,"direction":"DIRECTION_BIDIRECTIONAL"})");
  EXPECT_EQ(SpecOf(Tensors().Add("weight_ih_l0", {20, 3}).Add("weight_hh_l0", {20, 2}).Add("weight_hr_l0", {2, 5})),
            R"({"input_size":3,"hidden_size":5,"projection_size":2,"bias":false})");
}

TEST(LayoutsTest, ASpecInPartIsCompleted) {
  EXPECT_EQ(SpecOf(Torch(), R"({"clip":3})"), R"({"input_size":3,"hidden_size":5,"clip":3.0})");
  EXPECT_EQ(SpecOf(Torch(), R"({"direction":"DIRECTION_REVERSE"})"),
            R"({"input_size":3,"hidden_size":5,"direction":"DIRECTION_REVERSE"})");
  // The second layer of a bidirectional model takes one or two halves, as the spec merges them.
  Tensors summed = Torch().AddTorchLayer("", "l0_reverse", 3, 5).AddTorchLayer("", "l1", 5, 5);
  summed.AddTorchLayer("", "l1_reverse", 5, 5);
  EXPECT_THAT(SpecOf(summed, R"({"merge_mode":"MERGE_MODE_SUM"})"), HasSubstr("MERGE_MODE_SUM"));
  EXPECT_THAT(SpecOf(summed), HasSubstr("'weight_ih_l1': got F32 [20, 5], want [20, 10]"));
}

TEST(LayoutsTest, MetadataGiveTheSpecAndAFileBesideOverridesIt) {
  Tensors tensors = Torch();
  tensors.Metadata("lstm", R"({"clip":3,"precision":"PRECISION_BF16"})");
  EXPECT_EQ(SpecOf(tensors), R"({"input_size":3,"hidden_size":5,"clip":3.0,"precision":"PRECISION_BF16"})");
  EXPECT_EQ(SpecOf(tensors, R"({"clip":0})"), R"({"input_size":3,"hidden_size":5,"precision":"PRECISION_BF16"})");
}

TEST(LayoutsTest, HeadsAreFoundOrAskedFor) {
  const auto torch = [] { return Torch(); };
  EXPECT_THAT(SpecOf(torch().Add("fc.weight", {2, 5}).Add("fc.bias", {2})),
              HasSubstr(R"("head":{"output_size":2,"bias":true})"));
  EXPECT_THAT(SpecOf(torch().Add("net.linear2.weight", {2, 5})), HasSubstr(R"("head":{"output_size":2})"));
  // No usual name: only for who asks.
  EXPECT_THAT(SpecOf(torch().Add("mystery.weight", {2, 5})), HasSubstr("without a meaning: 'mystery.weight'"));
  EXPECT_THAT(SpecOf(torch().Add("mystery.weight", {2, 5}), R"({"head":{"output_size":2}})"),
              HasSubstr(R"("head":{"output_size":2})"));
  // The name head goes before others.
  EXPECT_THAT(SpecOf(torch().Add("fc.weight", {2, 5}).Add("head.weight", {2, 5}), R"({"head":{"output_size":2}})"),
              HasSubstr("without a meaning: 'fc.weight'"));
  EXPECT_THAT(SpecOf(torch().Add("a.weight", {2, 5}).Add("b.weight", {2, 5}), R"({"head":{"output_size":2}})"),
              HasSubstr("head: got 'a.weight', 'b.weight', want one weight of 2 by 5"));
  EXPECT_THAT(SpecOf(torch(), R"({"head":{"output_size":2}})"), HasSubstr("head: got no tensor"));
  EXPECT_THAT(SpecOf(torch().Add("fc.weight", {2, 4})), HasSubstr("without a meaning: 'fc.weight'"));
  EXPECT_THAT(SpecOf(torch().Add("fc.weight", {2, 5}), R"({"head":{"output_size":2,"bias":true}})"),
              HasSubstr("'fc.bias' is missing"));
  EXPECT_THAT(SpecOf(torch().Add("fc.weight", {2, 5}).Add("fc.bias", {2}), R"({"head":{"output_size":2}})"),
              HasSubstr("without a meaning: 'fc.bias'"));
  EXPECT_THAT(SpecOf(torch().Add("fc.weight", {2, 5}).Add("fc.bias", {3})), HasSubstr("'fc.bias': got F32 [3]"));
  // A whole spec without a head: the file has more than the model.
  EXPECT_THAT(SpecOf(torch().Add("fc.weight", {2, 5}), R"({"input_size":3,"hidden_size":5})"),
              HasSubstr("without a meaning: 'fc.weight'"));
}

TEST(LayoutsTest, HeadsOfPaddleAndKerasAreTransposed) {
  Tensors paddle = Torch().Add("fc.weight", {5, 2}).Metadata("layout", "paddle");
  const absl::StatusOr<ModelFiles> model = Assemble(paddle);
  ASSERT_TRUE(model.ok()) << model.status();
  const FloatArray stored = *Floats(paddle.file(), paddle.file().tensors.at("fc.weight"));
  EXPECT_EQ(model->weights.head_weight[1], stored[2]);
  EXPECT_THAT(SpecOf(Torch().Add("head.weight", {2, 5}).Metadata("layout", "paddle")), HasSubstr("output_size\":2"));
  Tensors keras;
  keras.AddKerasCell("m/lstm/lstm_cell", 3, 5).Add("m/dense/kernel", {5, 2}).Add("m/dense/bias", {2});
  EXPECT_EQ(SpecOf(keras, R"({"activations":{}})"),
            R"({"input_size":3,"hidden_size":5,"head":{"output_size":2,"bias":true}})");
}

TEST(LayoutsTest, LearnedInitialStates) {
  const auto torch = [] { return Torch(); };
  EXPECT_THAT(SpecOf(torch().Add("h0", {1, 1, 5}).Add("c0", {1, 5})), HasSubstr(R"("learned_initial_state":true)"));
  EXPECT_THAT(SpecOf(torch().Add("net.h_0", {5}).Add("net.c_0", {1, 5})), HasSubstr("learned_initial_state"));
  EXPECT_THAT(SpecOf(torch().Add("h0", {1, 5})), HasSubstr("without a meaning: 'h0'"));
  EXPECT_THAT(SpecOf(torch().Add("h0", {1, 5}), R"({"learned_initial_state":true})"), HasSubstr("0 tensors c0"));
  EXPECT_THAT(SpecOf(torch().Add("h0", {1, 4}).Add("c0", {1, 5})), HasSubstr("'h0': got F32 [1, 4], want [1, 5]"));
  EXPECT_THAT(SpecOf(torch().Add("h0", {5}).Add("c0", {5}), R"({"learned_initial_state":false})"),
              HasSubstr("without a meaning: 'c0', 'h0'"));
  const absl::StatusOr<ModelFiles> model = Assemble(torch().Add("h0", {1, 5}).Add("c0", {1, 5}));
  ASSERT_TRUE(model.ok());
  EXPECT_LT(model->weights.initial_h[0], model->weights.initial_c[0]);
}

struct Wrong {
  const char* message;
  Tensors tensors;
  const char* spec_json = "";
  const char* reason = "MODEL_WEIGHTS";
};

TEST(LayoutsTest, WrongFilesAreNamed) {
  const auto torch = [] { return Torch(); };
  const Wrong cases[] = {
      {"no LSTM found: got no tensors", Tensors()},
      {"no LSTM found: got 'conv.weight', want the names of layout canonical, torch",
       Tensors().Add("conv.weight", {3, 3})},
      {"'weight_hh_l0' is missing", torch().Remove("weight_hh_l0")},
      {"'bias_hh_l0' is missing", torch().Remove("bias_hh_l0")},
      {"'bias_ih_l0' is missing", torch().Remove("bias_ih_l0")},
      {"'weight_ih_l0' is missing", Tensors().AddTorchLayer("", "l1", 5, 5)},
      {"'weight_ih_l1' is missing", torch().AddTorchLayer("", "l2", 5, 5)},
      {"'weight_ih_l1_reverse' is missing",
       torch().AddTorchLayer("", "l0_reverse", 3, 5).AddTorchLayer("", "l1", 10, 5)},
      {"'bias_ih_l1' is missing", torch().AddTorchLayer("", "l1", 5, 5, false)},
      {"'bias_hh_l1' has no counterpart",
       Tensors().AddTorchLayer("", "l0", 3, 5, false).AddTorchLayer("", "l1", 5, 5).Remove("bias_ih_l1")},
      {"layer 1 has hidden size 4, layer 0 has 5; a model has one hidden size", torch().AddTorchLayer("", "l1", 5, 4)},
      {"'weight_ih_l1': got F32 [20, 6], want [20, 5]", torch().AddTorchLayer("", "l1", 6, 5)},
      {"'weight_ih_l0': got F32 [19, 3], want [4H, I]", torch().Add("weight_ih_l0", {19, 3})},
      {"'weight_ih_l0': got F32 [20], want [4H, I]", torch().Add("weight_ih_l0", {20})},
      {"'weight_ih_l0': got F32 [0, 3], want [4H, I]", torch().Add("weight_ih_l0", {0, 3})},
      {"'weight_hh_l0': got F32 [15, 5], want [20, 5]", torch().Add("weight_hh_l0", {15, 5})},
      {"'bias_hh_l0': got F32 [20, 1], want [20] (4H)", torch().Add("bias_hh_l0", {20, 1})},
      {"got 2 LSTMs, with the prefixes 'decoder.', 'encoder.'",
       Tensors().AddTorchLayer("encoder.", "l0", 3, 5).AddTorchLayer("decoder.", "l0", 3, 5)},
      {"without a meaning: 'norm.weight', 'x'", torch().Add("norm.weight", {5}).Add("x", {1})},
      {"canonical cells without a spec", Tensors()
                                             .Add("cells.0.w", {20, 3})
                                             .Add("cells.0.r", {20, 5})
                                             .Add("cells.1.w", {20, 5})
                                             .Add("cells.1.r", {20, 5})},
      {"num_layers: got 1 in the tensors, want 2 by the spec", torch(), R"({"num_layers":2})", "MODEL_SPEC"},
      {"num_layers: got 2 in the tensors, want 1", torch().AddTorchLayer("", "l1", 5, 5),
       R"({"input_size":3,"hidden_size":5})", "MODEL_SPEC"},
      {"direction: got one direction in the tensors, want DIRECTION_BIDIRECTIONAL", torch(),
       R"({"direction":"DIRECTION_BIDIRECTIONAL"})", "MODEL_SPEC"},
      {"direction: got two directions in the tensors, want DIRECTION_REVERSE",
       torch().AddTorchLayer("", "l0_reverse", 3, 5), R"({"direction":"DIRECTION_REVERSE"})", "MODEL_SPEC"},
      {"bias: got 1 in the tensors, want 0", torch(), R"({"bias":false})", "MODEL_SPEC"},
      {"bias: got 0 in the tensors, want 1", Tensors().AddTorchLayer("", "l0", 3, 5, false),
       R"({"input_size":3,"hidden_size":5})", "MODEL_SPEC"},
      {"projection_size: got 0 in the tensors, want 2", torch(), R"({"projection_size":2})", "MODEL_SPEC"},
      {"peepholes: got 0 in the tensors, want 1", torch(), R"({"peepholes":true})", "MODEL_SPEC"},
      {"'weight_ih_l0': got F32 [20, 3], want [24, 3]", torch(), R"({"input_size":3,"hidden_size":6})"},
      {"'weight_ih_l0': got F32 [20, 3], want [20, 4]", torch(), R"({"input_size":4})"},
      {"spec: not JSON", torch(), "{", "MODEL_SPEC"},
      {"hidden_size: got 65537", torch(), R"({"input_size":3,"hidden_size":65537})", "MODEL_SPEC"},
      {"layout: got 'pytorch', want one of canonical, torch", torch().Metadata("layout", "pytorch"), "", "MODEL_FILE"},
      {"no LSTM found: got 'bias_hh_l0'", torch().Metadata("layout", "keras")},
      {"want the names of layout canonical", torch().Metadata("layout", "canonical")},
      {"no LSTM has tensors named 'lstm...'", torch().Metadata("prefix", "lstm")},
      {"metadata key 'lstm': units", torch().Metadata("lstm", R"({"units":1})"), "", "MODEL_SPEC"},
  };
  for (const Wrong& wrong : cases) {
    LayoutOptions options;
    options.spec_json = wrong.spec_json;
    const absl::Status status = Assemble(wrong.tensors, options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << wrong.message;
    EXPECT_EQ(GetCause(status).reason, wrong.reason) << wrong.message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(wrong.message));
  }
}

TEST(LayoutsTest, WeightsOfAnotherTypeAreNamed) {
  TensorFile file = Torch().file();
  file.tensors.at("weight_hh_l0").dtype = DType::kI32;
  const absl::Status status = AssembleModel(file, {}).status();
  EXPECT_EQ(GetCause(status).reason, "MODEL_FILE");
  EXPECT_THAT(std::string(status.message()), HasSubstr("tensor 'weight_hh_l0': got I32 [20, 5], want F32"));
}

TEST(LayoutsTest, OneOfSeveralByPrefix) {
  Tensors tensors = Tensors().AddTorchLayer("encoder.", "l0", 3, 5).AddTorchLayer("decoder.", "l0", 4, 6);
  LayoutOptions options;
  options.ignore_unused = true;
  for (const char* prefix : {"decoder.", "decoder"}) {
    options.prefix = prefix;
    const absl::StatusOr<ModelFiles> model = Assemble(tensors, options);
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ(model->spec.hidden_size, 6u);
  }
  options.ignore_unused = false;
  EXPECT_THAT(std::string(Assemble(tensors, options).status().message()), HasSubstr("without a meaning: 'encoder."));
}

TEST(LayoutsTest, IgnoredTensorsAreNotThere) {
  LayoutOptions options;
  options.ignore = {"input", "h0", "c0", "bias_ih_l0", "bias_hh_l0"};
  const absl::StatusOr<ModelFiles> model =
      Assemble(Torch().Add("input", {2, 3}).Add("h0", {1, 5}).Add("c0", {1, 5}), options);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_FALSE(model->spec.bias);
  EXPECT_FALSE(model->spec.learned_initial_state);
}

// What Paddle saves of an LSTM with a projection: every parameter twice, and the second set under shifted names.
TEST(LayoutsTest, PaddlesSecondNamesAreNotBelieved) {
  Tensors tensors;
  for (const char* cell : {"0.cell_fw.", "0.cell_bw."}) {
    const std::string prefix = std::string("rnn.") + cell;
    tensors.Add(prefix + "weight_ih", {20, 3}).Add(prefix + "weight_hh", {20, 2}).Add(prefix + "weight_ho", {5, 2});
    tensors.Add(prefix + "bias_ih", {20}).Add(prefix + "bias_hh", {20});
  }
  tensors.Add("rnn.weight_ih_l0", {20, 3}).Add("rnn.weight_hh_l0", {20, 2}).Add("rnn.bias_ih_l0", {20});
  tensors.Add("rnn.bias_hh_l0", {20}).Add("rnn.weight_ih_l0_reverse", {5, 2}).Add("rnn.weight_hh_l0_reverse", {20, 3});
  const absl::StatusOr<ModelFiles> model = Assemble(tensors);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->spec.projection_size, 2u);
  const FloatArray stored = *Floats(tensors.file(), tensors.file().tensors.at("rnn.0.cell_bw.weight_ho"));
  EXPECT_EQ(Values(model->weights.cells[1].projection),
            (std::vector<float>{stored[0], stored[2], stored[4], stored[6], stored[8],  //
                                stored[1], stored[3], stored[5], stored[7], stored[9]}));
}

TEST(LayoutsTest, FlatVectorsNeedTheirSizes) {
  const auto flat = [](uint64_t size) { return Tensors().Add("lstm.weight", {size, 1, 1}); };
  EXPECT_THAT(SpecOf(flat(1152)), HasSubstr("input_size: missing; the vector 'lstm.weight'"));
  EXPECT_EQ(SpecOf(flat(1152), R"({"input_size":10,"hidden_size":12})"), R"({"input_size":10,"hidden_size":12})");
  EXPECT_THAT(SpecOf(flat(1151), R"({"input_size":10,"hidden_size":12})"),
              HasSubstr("got 1151 values, want 1152 for 10 to 12, 1 layers, 1 directions, with bias"));
  // 1104 values: one bias instead of two, as ops.LSTM has it.
  EXPECT_EQ(SpecOf(flat(1104), R"({"input_size":10,"hidden_size":12})"), R"({"input_size":10,"hidden_size":12})");
  EXPECT_THAT(SpecOf(flat(1104).Metadata("layout", "mindspore_flat"), R"({"input_size":10,"hidden_size":12})"),
              HasSubstr("got 1104 values, want 1152"));
  EXPECT_THAT(
      SpecOf(flat(4 * 12 * (10 + 12 + 12 + 12)), R"({"input_size":10,"hidden_size":12,"num_layers":2,"bias":false})"),
      HasSubstr("may be mindspore_flat or mindspore_ops_cpu"));
  EXPECT_THAT(SpecOf(flat(1152), R"({"input_size":10,"hidden_size":12,"projection_size":2})"),
              HasSubstr("no place for"));
  EXPECT_THAT(SpecOf(Tensors().Add("norm.weight", {1152}), R"({"input_size":10,"hidden_size":12})"),
              HasSubstr("no LSTM found"));
  EXPECT_EQ(
      SpecOf(Tensors().Add("w", {1152}).Metadata("layout", "mindspore_flat"), R"({"input_size":10,"hidden_size":12})"),
      R"({"input_size":10,"hidden_size":12})");
}

TEST(LayoutsTest, KerasLayersInTheOrderOfTheirNumbers) {
  Tensors tensors;
  tensors.AddKerasCell("m/lstm_9/lstm_cell", 3, 5).AddKerasCell("m/lstm_10/lstm_cell", 5, 5);
  tensors.AddKerasCell("m/lstm_11/lstm_cell", 5, 5);
  const absl::StatusOr<ModelFiles> model = Assemble(tensors.Metadata("lstm", R"({"activations":{}})"));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->weights.cells[0].w.size(), 60u);
  EXPECT_LT(model->weights.cells[1].w[0], model->weights.cells[2].w[0]);
}

TEST(LayoutsTest, KerasLayersByNameWhereNumbersDoNotTell) {
  Tensors tensors;
  tensors.AddKerasCell("second/lstm_cell", 5, 5).AddKerasCell("first/lstm_cell", 3, 5);
  tensors.Metadata("lstm", R"({"activations":{}})");
  EXPECT_THAT(SpecOf(tensors), HasSubstr("do not tell the order of the LSTM layers 'first', 'second'"));
  EXPECT_THAT(SpecOf(tensors.Metadata("layers", "first,second")), HasSubstr(R"("num_layers":2)"));
  EXPECT_THAT(SpecOf(tensors.Metadata("layers", "first,third")), HasSubstr("there is no LSTM layer 'third'"));
  EXPECT_THAT(SpecOf(tensors.Metadata("layers", "first")), HasSubstr("want each of 'first', 'second' once"));
  EXPECT_THAT(SpecOf(tensors.Metadata("layers", "first,first")), HasSubstr("once"));
}

TEST(LayoutsTest, KerasNamesOfWeightFiles) {
  Tensors tensors;
  for (const char* half : {"forward_layer", "backward_layer"}) {
    const std::string path = std::string("layers/bidirectional/") + half + "/cell/vars/";
    tensors.Add(path + "0", {3, 20}).Add(path + "1", {5, 20}).Add(path + "2", {20});
  }
  tensors.Add("layers/dense/vars/0", {10, 2}).Add("layers/dense/vars/1", {2});
  EXPECT_EQ(SpecOf(tensors, R"({"activations":{}})"),
            R"({"input_size":3,"hidden_size":5,"direction":"DIRECTION_BIDIRECTIONAL",)"
            R"("head":{"output_size":2,"bias":true}})");
}

TEST(LayoutsTest, KerasFilesThatAreWrong) {
  const auto keras = [] { return Tensors().AddKerasCell("lstm/lstm_cell", 3, 5); };
  EXPECT_THAT(SpecOf(keras()), HasSubstr("activations: missing"));
  const char* const told = R"({"activations":{}})";
  EXPECT_THAT(SpecOf(keras().Remove("lstm/lstm_cell/kernel"), told), HasSubstr("'lstm/lstm_cell/kernel' is missing"));
  EXPECT_THAT(SpecOf(keras().Add("lstm/lstm_cell/kernel", {3, 21}), told), HasSubstr("want [I, 4H]"));
  // A GRU: three gates.
  EXPECT_THAT(SpecOf(Tensors().Add("gru/cell/kernel", {3, 12}).Add("gru/cell/recurrent_kernel", {4, 12}), told),
              HasSubstr("'gru/cell/recurrent_kernel': got F32 [4, 12], want [3, 12]"));
  // One layer called forward_…, and no backward one: an ordinary layer.
  EXPECT_EQ(SpecOf(Tensors().AddKerasCell("m/forward_pass/lstm_cell", 3, 5), told),
            R"({"input_size":3,"hidden_size":5})");
}

}  // namespace
}  // namespace lstmd
