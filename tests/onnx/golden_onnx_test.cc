// SPDX-License-Identifier: Apache-2.0
//
// Every recorded model.onnx: the spec is what case.json says, the weights are the tensors recorded beside it.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "engine/checkpoint/onnx.h"
#include "engine/checkpoint/safetensors.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace lstmd {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

const fs::path kCases = LSTMD_PARITY_CASES;

std::vector<float> Values(const FloatArray& array) { return {array.data(), array.data() + array.size()}; }

// The values that a reference of case.json names; none for null.
std::vector<float> Resolve(const TensorFile& file, const Json& reference) {
  if (reference.is_null()) return {};
  const TensorView& tensor = file.tensors.at(reference["tensor"].get<std::string>());
  std::vector<float> values = Values(*Floats(file, tensor));
  if (!reference["index"].is_null()) {
    const size_t size = values.size() / tensor.shape[0];
    const size_t begin = reference["index"].get<size_t>() * size;
    values = std::vector<float>(values.begin() + begin, values.begin() + begin + size);
  }
  if (!reference["offset"].is_null()) {
    size_t size = 1;
    for (const Json& extent : reference["shape"]) size *= extent.get<size_t>();
    const size_t begin = reference["offset"].get<size_t>();
    values = std::vector<float>(values.begin() + begin, values.begin() + begin + size);
  }
  EXPECT_FALSE(reference["transpose"].get<bool>());
  return values;
}

// Blocks of `from`, which are in the order `order`, in the order `want`.
std::vector<float> Blocks(const std::vector<float>& from, const std::string& order, const std::string& want) {
  std::vector<float> result;
  const size_t block = from.size() / order.size();
  for (const char gate : want) {
    const auto begin = from.begin() + order.find(gate) * block;
    result.insert(result.end(), begin, begin + block);
  }
  return result;
}

Activation ToActivation(const Json& json) {
  static const std::map<std::string, Function> kFunctions = {{"sigmoid", Function::kSigmoid},
                                                             {"tanh", Function::kTanh},
                                                             {"hard_sigmoid", Function::kHardSigmoid},
                                                             {"relu", Function::kRelu},
                                                             {"softsign", Function::kSoftsign},
                                                             {"softplus", Function::kSoftplus},
                                                             {"elu", Function::kElu},
                                                             {"leaky_relu", Function::kLeakyRelu},
                                                             {"scaled_tanh", Function::kScaledTanh},
                                                             {"affine", Function::kAffine},
                                                             {"thresholded_relu", Function::kThresholdedRelu}};
  const auto number = [&](const char* name) { return json[name].is_null() ? 0.0f : json[name].get<float>(); };
  return {kFunctions.at(json["fn"].get<std::string>()), number("alpha"), number("beta")};
}

ModelSpec WantSpec(const Json& want, const TensorFile& file) {
  ModelSpec spec;
  spec.input_size = want["input_size"];
  spec.hidden_size = want["hidden_size"];
  spec.num_layers = want["num_layers"];
  const std::string direction = want["direction"];
  spec.direction = direction == "forward"   ? Direction::kForward
                   : direction == "reverse" ? Direction::kReverse
                                            : Direction::kBidirectional;
  spec.bias = want["has_bias"];
  const Json& functions = want["activation_spec"];
  for (size_t d = 0; d < 2; ++d) {
    const Json& row = functions[std::min<size_t>(d, functions.size() - 1)];
    spec.activations[d] = {ToActivation(row["f"]), ToActivation(row["g"]), ToActivation(row["h"])};
  }
  spec.peepholes = want["peephole"];
  spec.clip = want["clip"].is_null() ? 0 : want["clip"].get<float>();
  spec.input_forget = want["input_forget"];
  spec.zero_length_state = ZeroLengthState::kZeros;
  if (!want["head"].is_null()) {
    spec.head = Head{static_cast<uint32_t>(file.tensors.at("fc.bias").elements), true, {Function::kLinear}};
  }
  return spec;
}

void CheckCase(const fs::path& folder) {
  SCOPED_TRACE(folder.filename().string());
  std::ifstream stream(folder / "case.json");
  const Json want = Json::parse(stream);
  const absl::StatusOr<TensorFile> file = ReadSafetensors(folder / "tensors.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  const absl::StatusOr<ModelFiles> got = ReadOnnx(folder / "model.onnx");
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(SpecToJson(got->spec), SpecToJson(WantSpec(want, *file)));
  size_t cell = 0;
  for (const Json& layer : want["params"]) {
    for (const Json& params : layer) {
      ASSERT_LT(cell, got->weights.cells.size());
      const CellWeights& weights = got->weights.cells[cell++];
      const std::string order = want["gate_order"];
      EXPECT_EQ(Values(weights.w), Blocks(Resolve(*file, params["w_ih"]), order, "ifgo"));
      EXPECT_EQ(Values(weights.r), Blocks(Resolve(*file, params["w_hh"]), order, "ifgo"));
      std::vector<float> bias = Resolve(*file, params.value("b_ih", Json()));
      const std::vector<float> second = Resolve(*file, params.value("b_hh", Json()));
      for (size_t k = 0; k < bias.size(); ++k) bias[k] += second[k];
      EXPECT_EQ(Values(weights.bias), Blocks(bias, order, "ifgo"));
      EXPECT_EQ(Values(weights.peepholes), Blocks(Resolve(*file, params.value("peep", Json())), "iof", "ifo"));
    }
  }
  EXPECT_EQ(cell, got->weights.cells.size());
  if (!want["head"].is_null()) {
    EXPECT_EQ(Values(got->weights.head_weight), Resolve(*file, want["head"]["weight"]));
    EXPECT_EQ(Values(got->weights.head_bias), Resolve(*file, want["head"]["bias"]));
  }
}

TEST(GoldenOnnx, SpecAndWeightsAreTheRecordedOnes) {
  size_t cases = 0;
  for (const fs::directory_entry& folder : fs::directory_iterator(kCases)) {
    if (!fs::exists(folder.path() / "model.onnx")) continue;
    ++cases;
    CheckCase(folder.path());
  }
  EXPECT_GE(cases, 31u);
}

// The same weights, though the graph around the node is not looked at.
TEST(GoldenOnnx, OneNodeOfAStack) {
  const fs::path path = kCases / "onnx_export_torchscript_2layer_bidirectional" / "model.onnx";
  const absl::StatusOr<ModelFiles> stack = ReadOnnx(path);
  const absl::StatusOr<ModelFiles> node = ReadOnnxNode(path, "/lstm/LSTM_1");
  ASSERT_TRUE(stack.ok()) << stack.status();
  ASSERT_TRUE(node.ok()) << node.status();
  EXPECT_EQ(node->spec.num_layers, 1u);
  EXPECT_EQ(node->spec.input_size, stack->spec.layer_output_size());
  EXPECT_EQ(node->spec.direction, Direction::kBidirectional);
  for (size_t d = 0; d < 2; ++d) {
    EXPECT_EQ(Values(node->weights.cells[d].w), Values(stack->weights.cells[2 + d].w));
    EXPECT_EQ(Values(node->weights.cells[d].r), Values(stack->weights.cells[2 + d].r));
    EXPECT_EQ(Values(node->weights.cells[d].bias), Values(stack->weights.cells[2 + d].bias));
  }
  // By the name of an output too; not when that leaves open which.
  EXPECT_TRUE(ReadOnnxNode(path, "/lstm/LSTM_1_output_0").ok());
  EXPECT_EQ(ReadOnnxNode(path, "").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadOnnxNode(path, "/lstm/Transpose").status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace lstmd
