// SPDX-License-Identifier: Apache-2.0
//
// Files that are damaged, lie about sizes, or lead elsewhere.
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "engine/checkpoint/onnx.h"
#include "engine/errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/onnx/graph_builder.h"

namespace lstmd {
namespace {

namespace fs = std::filesystem;
using onnx::GraphBuilder;
using onnx::Names;
using onnx::Numbers;
using onnx::TensorProto;
using ::testing::HasSubstr;

GraphBuilder Good() {
  GraphBuilder g;
  g.Input("x", {"t", "n", "3"});
  g.Output(g.One("Squeeze", {g.Lstm("x", 3, 4)[0], g.Ints("axis", {1})}));
  return g;
}

void ExpectFileError(const absl::Status& status, const std::string& words) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_EQ(GetCause(status).reason, "MODEL_FILE");
  EXPECT_THAT(std::string(status.message()), HasSubstr(words));
}

TEST(OnnxFile, EveryPrefixIsRefused) {
  const std::string bytes = Good().Bytes();
  ASSERT_TRUE(ParseOnnx(bytes).ok());
  for (size_t size = 0; size < bytes.size(); ++size) {
    // The opset stands behind the graph, so that no prefix is whole.
    EXPECT_FALSE(ParseOnnx({bytes.data(), size}).ok()) << size;
  }
}

TEST(OnnxFile, NoFlippedByteDoesHarm) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const std::string bytes = Good().Bytes();
  int refused = 0;
  for (int round = 0; round < 5000; ++round) {
    std::string damaged = bytes;
    for (int k = 0; k < 3; ++k) damaged[random() % damaged.size()] = static_cast<char>(random());
    refused += ParseOnnx(damaged).ok() ? 0 : 1;
  }
  EXPECT_GT(refused, 100);
}

TEST(OnnxFile, TensorsHoldWhatTheyClaim) {
  const auto with = [](const std::function<void(TensorProto*)>& change) {
    GraphBuilder g = Good();
    change(g.graph().mutable_initializer(0));
    return ParseOnnx(g.Bytes()).status();
  };
  ExpectFileError(with([](TensorProto* t) { t->mutable_raw_data()->pop_back(); }), "got 191 bytes, want 192");
  ExpectFileError(with([](TensorProto* t) { t->mutable_raw_data()->push_back('x'); }), "got 193 bytes, want 192");
  ExpectFileError(with([](TensorProto* t) { t->clear_raw_data(); }), "got 0 elements, want 48");
  ExpectFileError(with([](TensorProto* t) { t->set_dims(0, int64_t{1} << 30); }), "bytes, want");
  ExpectFileError(with([](TensorProto* t) { t->set_dims(0, INT64_MAX); }), "impossible");
  ExpectFileError(with([](TensorProto* t) { t->set_dims(0, -1); }), "impossible");
  ExpectFileError(with([](TensorProto* t) { t->set_data_type(TensorProto::STRING); }), "STRING");
  ExpectFileError(with([](TensorProto* t) { t->set_data_type(99); }), "type 99");
  ExpectFileError(with([](TensorProto* t) { t->mutable_segment()->set_begin(0); }), "segments");
  ExpectFileError(with([](TensorProto* t) { t->set_data_location(1); }), "another file");
}

// Shapes are multiplied up by operators, not by data: what is claimed is never allocated.
TEST(OnnxFile, ClaimsAreNotAllocated) {
  {
    GraphBuilder g;  // one number as all the weights there could be
    g.Input("x", {"t", "n", "65536"});
    g.Floats("one", {1}, {1});
    const std::string w = g.One("Expand", {"one", g.Ints("w", {1, 262144, 65536})});
    const std::string r = g.One("Expand", {"one", g.Ints("r", {1, 262144, 65536})});
    g.Output(g.Node("LSTM", {"x", w, r})[0]);
    ExpectFileError(ParseOnnx(g.Bytes()).status(), "more than the file holds");
  }
  {
    GraphBuilder g;
    g.Input("x", {"100000", "100000", "3"});
    g.Output(g.Lstm("x", 3, 4)[0]);
    EXPECT_TRUE(ParseOnnx(g.Bytes()).ok());  // only numbers
  }
  {
    GraphBuilder g;
    g.Input("x", {"1099511627776", "1099511627776", "3"});
    g.Output(g.Lstm("x", 3, 4)[0]);
    ExpectFileError(ParseOnnx(g.Bytes()).status(), "impossible");
  }
  {
    GraphBuilder g;
    g.Input("x", {"t", "n", "3"});
    g.Floats("one", {1}, {1});
    std::string big = g.One("Expand", {"one", g.Ints("big", {int64_t{1} << 40})});
    for (int k = 0; k < 8; ++k) {
      big = g.One("Concat", {big, big});
      g.Set("axis", int64_t{0});
    }
    g.Output(g.Lstm("x", 3, 4, 1, 1, {"", big})[0]);
    EXPECT_FALSE(ParseOnnx(g.Bytes()).ok());
  }
}

TEST(OnnxFile, MorePartsThanAnyModelHas) {
  GraphBuilder g = Good();
  std::string bytes = g.Bytes();
  // Two bytes of file each, hundreds in memory.
  std::string nodes;
  for (int k = 0; k < (1 << 20) + 1; ++k) nodes.append("\x0a\x00", 2);
  bytes.push_back(0x3a);  // graph
  for (size_t size = nodes.size(); size != 0; size >>= 7) {
    bytes.push_back(static_cast<char>((size & 0x7f) | (size >= 0x80 ? 0x80 : 0)));
  }
  ExpectFileError(ParseOnnx(bytes + nodes).status(), "nodes, names and tensors");
}

TEST(OnnxFile, WhatIsNoModel) {
  ExpectFileError(ParseOnnx("").status(), "no graph");
  ExpectFileError(ParseOnnx("PK\x03\x04 not a model at all").status(), "");
  GraphBuilder old(6);
  ExpectFileError(ParseOnnx(old.Bytes()).status(), "no graph");
  old.Input("x", {"t", "n", "3"});
  ExpectFileError(ParseOnnx(old.Bytes()).status(), "opset: got 6");
  EXPECT_FALSE(ReadOnnx("/nonexistent/model.onnx").ok());
  EXPECT_FALSE(ReadOnnx(::testing::TempDir()).ok());
}

class ExternalData : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) / "lstmd_onnx_external";
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "model");
  }
  void TearDown() override { fs::remove_all(folder_); }

  // A model whose W lies in `location`, and the data there as it should be.
  absl::StatusOr<ModelFiles> Load(const std::string& location, const std::string& offset, const std::string& length) {
    GraphBuilder g = Good();
    TensorProto* w = g.graph().mutable_initializer(0);
    w->clear_raw_data();
    w->set_data_location(1);
    const auto set = [&](const char* key, const std::string& value) {
      TensorProto::Entry* entry = w->add_external_data();
      entry->set_key(key);
      entry->set_value(value);
    };
    set("location", location);
    if (!offset.empty()) set("offset", offset);
    if (!length.empty()) set("length", length);
    const std::string path = folder_ / "model" / "model.onnx";
    std::ofstream(path, std::ios::binary) << g.Bytes();
    return ReadOnnx(path);
  }
  void Write(const fs::path& path, size_t padding) {
    const std::vector<float> numbers = Numbers(48, 1);
    std::ofstream stream(folder_ / path, std::ios::binary);
    stream << std::string(padding, '\0');
    stream.write(reinterpret_cast<const char*>(numbers.data()), 192);
  }

  fs::path folder_;
};

TEST_F(ExternalData, IsReadFromBesideTheModel) {
  Write("model/weights.data", 64);
  const absl::StatusOr<ModelFiles> files = Load("weights.data", "64", "192");
  ASSERT_TRUE(files.ok()) << files.status();
  const absl::StatusOr<ModelFiles> want = ParseOnnx(Good().Bytes());
  EXPECT_EQ(Fingerprint(files->spec, files->weights), Fingerprint(want->spec, want->weights));
  const absl::StatusOr<std::vector<std::string>> names = OnnxDataFiles(folder_ / "model" / "model.onnx");
  ASSERT_TRUE(names.ok()) << names.status();
  EXPECT_THAT(*names, ::testing::ElementsAre("weights.data"));
}

TEST_F(ExternalData, StaysInTheFolderAndInTheFile) {
  Write("model/weights.data", 0);
  Write("outside.data", 0);
  fs::create_symlink("../outside.data", folder_ / "model" / "link.data");
  ASSERT_TRUE(Load("./weights.data", "", "").ok());
  ExpectFileError(Load("../outside.data", "", "").status(), "plain name");
  ExpectFileError(Load((folder_ / "outside.data").string(), "", "").status(), "plain name");
  ExpectFileError(Load("..", "", "").status(), "plain name");
  ExpectFileError(Load("", "", "").status(), "plain name");
  ExpectFileError(Load("link.data", "", "").status(), "cannot be read");
  ExpectFileError(Load("missing.data", "", "").status(), "cannot be read");
  ExpectFileError(Load("weights.data", "1", "").status(), "got 192 bytes");
  ExpectFileError(Load("weights.data", "18446744073709551615", "").status(), "got 192 bytes");
  ExpectFileError(Load("weights.data", "-1", "").status(), "no number");
  ExpectFileError(Load("weights.data", "0", "100").status(), "got 100 bytes, want 192");
}

// The graphs of an If are looked into, with the constants of the graph around them.
TEST(OnnxNode, WithinAnotherGraph) {
  GraphBuilder inner;
  inner.Output(inner.Lstm("x", 3, 4)[0]);
  inner.graph().mutable_initializer()->DeleteSubrange(0, 1);
  GraphBuilder g;
  g.Input("x", {"t", "n", "3"});
  g.Floats("W0", {1, 16, 3}, Numbers(48, 1));
  g.Output(g.One("If", {"x"}));
  onnx::AttributeProto* branch = g.last().add_attribute();
  branch->set_name("then_branch");
  *branch->mutable_g() = inner.graph();
  const std::string path = fs::path(::testing::TempDir()) / "lstmd_onnx_if.onnx";
  std::ofstream(path, std::ios::binary) << g.Bytes();
  ExpectFileError(ReadOnnx(path).status(), "(If)");
  const absl::StatusOr<ModelFiles> files = ReadOnnxNode(path, "LSTM_0");
  ASSERT_TRUE(files.ok()) << files.status();
  const absl::StatusOr<ModelFiles> want = ParseOnnx(Good().Bytes());
  EXPECT_EQ(Fingerprint(files->spec, files->weights), Fingerprint(want->spec, want->weights));
  fs::remove(path);
}

}  // namespace
}  // namespace lstmd
