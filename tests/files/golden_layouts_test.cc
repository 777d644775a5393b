// SPDX-License-Identifier: Apache-2.0
//
// Weights as the frameworks wrote them. Each recorded case says where every matrix stands in its tensors, independently
// of the layouts: what AssembleModel makes of the names must be those very matrices.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "engine/checkpoint/layouts.h"
#include "engine/checkpoint/safetensors.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace lstmd {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

const fs::path kCases = LSTMD_PARITY_CASES;

Json ReadJson(const fs::path& path) {
  std::ifstream in(path);
  return Json::parse(in, nullptr, /*allow_exceptions=*/false);
}

// The matrix that a reference of case.json names: [rows, columns] flattened.
std::vector<float> Resolve(const TensorFile& file, const Json& reference) {
  const TensorView& tensor = file.tensors.at(reference["tensor"].get<std::string>());
  const FloatArray all = *Floats(file, tensor);
  std::vector<float> values(all.data(), all.data() + all.size());
  std::vector<uint64_t> shape = tensor.shape;
  if (!reference["index"].is_null()) {
    const size_t size = values.size() / shape[0];
    const size_t begin = reference["index"].get<size_t>() * size;
    values = std::vector<float>(values.begin() + begin, values.begin() + begin + size);
    shape.erase(shape.begin());
  }
  if (!reference["offset"].is_null()) {
    shape = reference["shape"].get<std::vector<uint64_t>>();
    size_t size = 1;
    for (uint64_t dimension : shape) size *= dimension;
    const size_t begin = reference["offset"].get<size_t>();
    values = std::vector<float>(values.begin() + begin, values.begin() + begin + size);
  }
  if (!reference["transpose"].get<bool>()) return values;
  std::vector<float> transposed;
  for (uint64_t column = 0; column < shape[1]; ++column) {
    for (uint64_t row = 0; row < shape[0]; ++row) transposed.push_back(values[row * shape[1] + column]);
  }
  return transposed;
}

std::vector<float> Values(const FloatArray& array) { return {array.data(), array.data() + array.size()}; }

std::vector<float> Optional(const TensorFile& file, const Json& cell, const char* name) {
  return cell.contains(name) && !cell[name].is_null() ? Resolve(file, cell[name]) : std::vector<float>();
}

Json Sizes(const Json& example) {
  Json spec = {{"input_size", example["input_size"]},
               {"hidden_size", example["hidden_size"]},
               {"num_layers", example["num_layers"]},
               {"bias", example["has_bias"]},
               {"projection_size", example["proj_size"]}};
  if (example["bidirectional"].get<bool>()) spec["direction"] = "DIRECTION_BIDIRECTIONAL";
  return spec;
}

void ExpectCellsOf(const Json& example, const TensorFile& file, const ModelFiles& model) {
  const uint32_t directions = model.spec.directions();
  ASSERT_EQ(model.spec.num_layers, example["params"].size());
  for (uint32_t layer = 0; layer < model.spec.num_layers; ++layer) {
    ASSERT_EQ(directions, example["params"][layer].size());
    for (uint32_t direction = 0; direction < directions; ++direction) {
      const Json& want = example["params"][layer][direction];
      const CellWeights& got = model.weights.cells[layer * directions + direction];
      EXPECT_EQ(Values(got.w), Resolve(file, want["w_ih"]));
      EXPECT_EQ(Values(got.r), Resolve(file, want["w_hh"]));
      EXPECT_EQ(Values(got.projection), Optional(file, want, "w_hr"));
      std::vector<float> bias = Optional(file, want, "b_ih");
      const std::vector<float> second = Optional(file, want, "b_hh");
      for (size_t i = 0; i < second.size(); ++i) bias[i] += second[i];
      EXPECT_EQ(Values(got.bias), bias);
    }
  }
}

void CheckCase(const fs::path& folder) {
  SCOPED_TRACE(folder.filename().string());
  const Json example = ReadJson(folder / "case.json");
  const absl::StatusOr<TensorFile> file = ReadSafetensors(folder / "tensors.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  const std::string framework = example["framework"];

  LayoutOptions options;
  for (const char* name : {"input", "input_2", "h0", "c0", "lengths", "mask", "h0_forward", "c0_forward", "h0_backward",
                           "c0_backward", "output_2", "h_n_2", "c_n_2"}) {
    options.ignore.insert(name);
  }
  for (const Json& name : example["outputs"]) options.ignore.insert(name.get<std::string>());
  const bool flat = file->tensors.count("w") != 0;
  if (flat) {
    options.spec_json = Sizes(example).dump();
    const std::string name = example["name"];
    if (name.find("ops_lstm_cpu") != name.npos) options.layout = "mindspore_ops_cpu";
  }
  // Keras must be told its activations; that they are read is another test's.
  if (framework == "keras" || framework == "tf_keras") options.spec_json = R"({"activations":{}})";

  absl::StatusOr<ModelFiles> model = AssembleModel(*file, options);
  ASSERT_TRUE(model.ok()) << model.status();
  ExpectCellsOf(example, *file, *model);
  EXPECT_EQ(model->spec.input_size, example["input_size"].get<uint32_t>());
  EXPECT_EQ(model->spec.hidden_size, example["hidden_size"].get<uint32_t>());
  EXPECT_EQ(model->spec.projection_size, example["proj_size"].get<uint32_t>());
  EXPECT_EQ(model->spec.direction == Direction::kBidirectional, example["bidirectional"].get<bool>());

  // Named, the layout gives the same; so does a spec that says everything.
  const std::string weights = Fingerprint(model->spec, model->weights);
  if (!flat) options.layout = framework == "tf_keras" ? "keras" : framework;
  model = AssembleModel(*file, options);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(Fingerprint(model->spec, model->weights), weights);
  Json sizes = Sizes(example);
  sizes["bias"] = model->spec.bias;  // Paddle's cell without bias keeps zeros
  options.spec_json = sizes.dump();
  model = AssembleModel(*file, options);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(Fingerprint(model->spec, model->weights), weights);
}

TEST(GoldenLayoutsTest, EveryRecordedCase) {
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(kCases)) {
    const std::string name = entry.path().filename();
    if (entry.is_directory() && name.rfind("onnx_", 0) != 0) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  ASSERT_GE(folders.size(), 90u);
  for (const fs::path& folder : folders) CheckCase(folder);
}

// torch's own files hold weights and nothing else: no option at all.
TEST(GoldenLayoutsTest, TorchFilesByThemselves) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator(kCases)) {
    if (!fs::exists(entry.path() / "model.safetensors")) continue;
    SCOPED_TRACE(entry.path().filename().string());
    const absl::StatusOr<TensorFile> file = ReadSafetensors(entry.path() / "model.safetensors");
    ASSERT_TRUE(file.ok()) << file.status();
    const absl::StatusOr<ModelFiles> model = AssembleModel(*file, LayoutOptions());
    ASSERT_TRUE(model.ok()) << model.status();
    ExpectCellsOf(ReadJson(entry.path() / "case.json"), *file, *model);
    ++files;
  }
  EXPECT_GE(files, 20);
}

}  // namespace
}  // namespace lstmd
