// SPDX-License-Identifier: Apache-2.0
#include "engine/repository.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "engine/checkpoint/layouts.h"
#include "engine/checkpoint/safetensors.h"
#include "engine/errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/files/tensors.h"

namespace lstmd {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

Tensors Torch() { return Tensors().AddTorchLayer("", "l0", 3, 5); }

class RepositoryTest : public ::testing::Test {
 protected:
  RepositoryTest() { fs::create_directories(root_); }
  ~RepositoryTest() override { fs::remove_all(base_); }

  void Write(const fs::path& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path, std::ios::binary) << text;
  }
  void WriteTensors(const fs::path& path, const Tensors& tensors) {
    Write(path, SerializeSafetensors(tensors.file().tensors, tensors.file().metadata));
  }
  absl::StatusOr<ModelFiles> Load(const std::string& name, int64_t version) { return LoadEntry(root_, name, version); }
  std::string List() {
    const auto entries = ListRepository(root_);
    if (!entries.ok()) return std::string(entries.status().message());
    std::string text;
    for (const RepositoryEntry& entry : *entries) text += entry.name + "/" + std::to_string(entry.version) + " ";
    return text;
  }

  const fs::path base_ = fs::path(::testing::TempDir()) / ("lstmd_repository_" + std::to_string(getpid()));
  const fs::path root_ = base_ / "models";
};

TEST_F(RepositoryTest, ListsNamesAndVersionsInOrder) {
  for (const char* folder : {"b/1", "a/10", "a/9", "a/2", "a/0", "a/-1", "a/01", "a/+3", "a/x",
                             "a/99999999999999999999", ".hidden/1", "bad name/1", "_x/1", "empty"}) {
    fs::create_directories(root_ / folder);
  }
  Write("file", "");
  Write("a/7", "a file, not a folder");
  EXPECT_EQ(List(), "a/2 a/9 a/10 b/1 ");
}

TEST_F(RepositoryTest, ARootThatIsNoFolderIsAnError) {
  Write("file", "");
  for (const fs::path& root : {base_ / "none", root_ / "file"}) {
    const absl::Status status = ListRepository(root).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(GetCause(status).reason, "REPOSITORY");
    EXPECT_EQ(LoadEntry(root, "a", 1).status().code(), absl::StatusCode::kNotFound);
  }
}

TEST_F(RepositoryTest, LoadsAnEntry) {
  WriteTensors("m/3/model.safetensors", Torch());
  Write("m/3/lstm.json", R"({"clip": 2})");
  const absl::StatusOr<ModelFiles> model = Load("m", 3);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(SpecToJson(model->spec), R"({"input_size":3,"hidden_size":5,"clip":2.0})");
  EXPECT_TRUE(Validate(model->spec, model->weights).ok());
  // The weights outlive the file.
  fs::remove_all(root_);
  EXPECT_EQ(model->weights.cells[0].w[59], 60.0f);
}

TEST_F(RepositoryTest, WhatIsNotThereIsNotFound) {
  WriteTensors("m/3/model.safetensors", Torch());
  fs::create_directories(base_ / "outside/1");
  for (const auto& [name, version] : std::initializer_list<std::pair<const char*, int64_t>>{
           {"m", 4}, {"n", 3}, {"../outside", 1}, {"..", 1}, {"", 3}, {"m/3/..", 3}, {"m", 0}, {"m", -3}, {".", 1}}) {
    const absl::Status status = Load(name, version).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << name;
    EXPECT_EQ(GetCause(status).reason, "MODEL_NOT_FOUND") << name;
  }
}

TEST_F(RepositoryTest, LinksWithinTheRootAreFollowedAndOthersNot) {
  WriteTensors("real/1/model.safetensors", Torch());
  fs::create_directories(base_ / "outside" / "1");
  fs::copy(root_ / "real/1/model.safetensors", base_ / "outside/1/model.safetensors");
  Write("../outside/1/lstm.json", R"({"clip":1})");
  fs::create_directory_symlink("real", root_ / "alias");
  fs::create_directory_symlink(base_ / "outside", root_ / "leak");
  fs::create_directory_symlink(base_ / "outside" / "1", root_ / "real" / "2");
  fs::create_directories(root_ / "files" / "1");
  fs::create_symlink(base_ / "outside/1/model.safetensors", root_ / "files/1/model.safetensors");
  fs::create_directories(root_ / "spec" / "1");
  fs::create_symlink("../../real/1/model.safetensors", root_ / "spec/1/model.safetensors");
  fs::create_directory_symlink("loop", root_ / "loop");
  EXPECT_EQ(List(), "alias/1 files/1 real/1 spec/1 ");
  EXPECT_TRUE(Load("alias", 1).ok());
  EXPECT_TRUE(Load("spec", 1).ok());
  EXPECT_EQ(Load("leak", 1).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Load("real", 2).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Load("loop", 1).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(Load("files", 1).status().message()), HasSubstr("leads out of the repository"));
  fs::create_symlink(base_ / "outside/1/lstm.json", root_ / "spec/1/lstm.json");
  EXPECT_THAT(std::string(Load("spec", 1).status().message()), HasSubstr("lstm.json: a link that leads out"));
}

TEST_F(RepositoryTest, WrongEntriesAreNamed) {
  struct Case {
    const char* message;
    const char* reason;
    std::function<void()> write;
  };
  const std::string good = SerializeSafetensors(Torch().file().tensors, {});
  const Case cases[] = {
      {"got neither model.safetensors nor model.onnx", "MODEL_FILE", [] {}},
      {"got both model.safetensors and model.onnx", "MODEL_FILE",
       [&] {
         Write("m/1/model.safetensors", good);
         Write("m/1/model.onnx", "");
       }},
      {"model.safetensors: truncated", "MODEL_FILE", [&] { Write("m/1/model.safetensors", good.substr(0, 5)); }},
      {"model.safetensors: tensor ", "MODEL_FILE",
       [&] { Write("m/1/model.safetensors", good.substr(0, good.size() - 1)); }},
      {"model.safetensors: header: claims", "MODEL_FILE",
       [&] { Write("m/1/model.safetensors", std::string(8, '\x7f') + good); }},
      {"model.safetensors: not a regular file", "MODEL_FILE",
       [&] { fs::create_directories(root_ / "m/1/model.safetensors"); }},
      {"model.safetensors: No such file", "MODEL_FILE",
       [&] { fs::create_symlink("nowhere", root_ / "m/1/model.safetensors"); }},
      {"model.safetensors: tensor 'weight_hh_l0' is missing", "MODEL_WEIGHTS",
       [&] { WriteTensors("m/1/model.safetensors", Torch().Remove("weight_hh_l0")); }},
      {"model.safetensors: num_layers: got 1", "MODEL_SPEC",
       [&] {
         Write("m/1/model.safetensors", good);
         Write("m/1/lstm.json", R"({"num_layers":2})");
       }},
      {"lstm.json: units: there is no such field", "MODEL_SPEC",
       [&] {
         Write("m/1/model.safetensors", good);
         Write("m/1/lstm.json", R"({"units":2})");
       }},
      {"lstm.json: got 1048577 bytes, want at most 1048576", "MODEL_FILE",
       [&] {
         Write("m/1/model.safetensors", good);
         Write("m/1/lstm.json", std::string((1 << 20) + 1, ' '));
       }},
      {"lstm.json: not a regular file", "MODEL_FILE",
       [&] {
         Write("m/1/model.safetensors", good);
         fs::create_directories(root_ / "m/1/lstm.json");
       }},
  };
  for (const Case& c : cases) {
    fs::remove_all(root_ / "m");
    fs::create_directories(root_ / "m/1");
    c.write();
    const absl::Status status = Load("m", 1).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.message;
    EXPECT_EQ(GetCause(status).reason, c.reason) << c.message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.message));
  }
}

TEST_F(RepositoryTest, OnnxAndWhatAFileBesideChangesOfIt) {
  fs::create_directories(root_ / "m/1");
  fs::copy(fs::path(LSTMD_PARITY_CASES) / "onnx_forward/model.onnx", root_ / "m/1/model.onnx");
  const absl::StatusOr<ModelFiles> plain = Load("m", 1);
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->spec.precision, Precision::kF32);
  Write("m/1/lstm.json", R"({"precision":"PRECISION_INT8_WEIGHTS"})");
  const absl::StatusOr<ModelFiles> changed = Load("m", 1);
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_EQ(changed->spec.precision, Precision::kInt8Weights);
  EXPECT_EQ(changed->spec.hidden_size, plain->spec.hidden_size);
  Write("m/1/lstm.json", R"({"hidden_size":1})");
  EXPECT_EQ(GetCause(Load("m", 1).status()).reason, "MODEL_WEIGHTS");
  Write("m/1/model.onnx", "no graph");
  EXPECT_THAT(std::string(Load("m", 1).status().message()), HasSubstr("model.onnx: "));
}

TEST(SampleRepositoryTest, EveryEntryLoads) {
  const absl::StatusOr<std::vector<RepositoryEntry>> entries = ListRepository(LSTMD_SAMPLE_REPOSITORY);
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_FALSE(entries->empty());
  for (const RepositoryEntry& entry : *entries) {
    const absl::StatusOr<ModelFiles> model = LoadEntry(LSTMD_SAMPLE_REPOSITORY, entry.name, entry.version);
    EXPECT_TRUE(model.ok()) << entry.name << ": " << model.status();
  }
}

TEST_F(RepositoryTest, AWrittenModelIsReadBack) {
  ModelFiles model;
  model.spec = *ParseSpecJson(R"({"input_size":3,"hidden_size":5,"num_layers":2,"projection_size":2,
      "direction":"DIRECTION_BIDIRECTIONAL","peepholes":true,"head":{"output_size":7,"bias":true},
      "learned_initial_state":true,"activations":{"gate":{"function":"HARD_SIGMOID"}},"clip":0.3})");
  float next = 0;
  const auto fill = [&next](size_t size) {
    std::vector<float> values(size);
    for (float& value : values) value = next += 0.25f;
    return FloatArray(std::move(values));
  };
  for (int k = 0; k < 4; ++k) {
    model.weights.cells.push_back({fill(20 * (k < 2 ? 3 : 4)), fill(40), fill(20), fill(10), fill(15)});
  }
  model.weights.head_weight = fill(28);
  model.weights.head_bias = fill(7);
  model.weights.initial_h = fill(8);
  model.weights.initial_c = fill(20);
  ASSERT_TRUE(Validate(model.spec, model.weights).ok());
  fs::create_directories(root_ / "m/1");
  ASSERT_TRUE(WriteModel(root_ / "m/1/model.safetensors", model).ok());
  for (const absl::StatusOr<ModelFiles>& read : {Load("m", 1), LoadModelFolder(root_ / "m/1")}) {
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(SpecToJson(read->spec), SpecToJson(model.spec));
    EXPECT_EQ(Fingerprint(read->spec, read->weights), Fingerprint(model.spec, model.weights));
  }
  EXPECT_EQ(LoadModelFolder(root_ / "none").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace lstmd
