// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/safetensors.h"

#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <utility>

#include "engine/errors.h"
#include "engine/half.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lstmd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string LittleEndian(uint64_t value) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &value, 8);
  return bytes;
}

std::string File(const std::string& header, const std::string& data = "") {
  return LittleEndian(header.size()) + header + data;
}

// One F32 tensor 'a' of 8 bytes, with these fields.
std::string Entry(const std::string& fields) { return File("{\"a\":{" + fields + "}}", std::string(8, 'x')); }

absl::StatusOr<TensorFile> Parse(std::string bytes) {
  const auto owner = std::make_shared<const std::string>(std::move(bytes));
  return ParseSafetensors(*owner, owner);
}

std::string ManyZeros() {
  std::string zeros;
  for (int i = 0; i < 1'000'000; ++i) zeros += ",0";
  return zeros;
}

struct HostileFile {
  const char* what;
  std::string bytes;
  const char* message;
};

TEST(SafetensorsTest, HostileFilesAreRefused) {
  const std::string a = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  const HostileFile files[] = {
      {"empty", "", "truncated: got 0 bytes"},
      {"short", "1234567", "truncated: got 7 bytes"},
      {"no header", LittleEndian(2), "claims 2 bytes, want at most 0"},
      {"header of all memory", LittleEndian(UINT64_MAX) + "{}", "claims 18446744073709551615 bytes, want at most 2"},
      {"header one too long", LittleEndian(3) + "{}", "claims 3 bytes"},
      {"header empty", LittleEndian(0), "header: not JSON"},
      {"header of 101 MiB", File(std::string(101 << 20, ' ')), "want at most 104857600"},
      {"not JSON", File("{\"a\":"), "header: not JSON at byte"},
      {"not UTF-8", File("{\"\xff\":1}"), "header: not JSON"},
      {"no object", File("[]"), "want a JSON object"},
      {"no number", File("{\"a\":NaN}"), "not JSON"},
      {"deep", File(std::string(100000, '[')), "nested more than 3 deep"},
      {"many values", File("{\"a\":[0" + ManyZeros() + "]}"), "more than 1000000 values"},
      {"same name twice", File("{" + a + "," + a + "}", std::string(8, 'x')), "'a' is there twice"},
      {"metadata no object", File(R"({"__metadata__":1})"), "__metadata__: want an object"},
      {"metadata no text", File(R"({"__metadata__":{"k":1}})"), "__metadata__.k: want text"},
      {"entry no object", File(R"({"a":1})"), "tensor 'a': want an object of dtype"},
      {"field missing", Entry(R"("dtype":"F32","shape":[2])"), "want an object of dtype"},
      {"field unknown", Entry(R"("dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1)"), "want an object of dtype"},
      {"dtype unknown", Entry(R"("dtype":"F31","shape":[2],"data_offsets":[0,8])"), "unknown dtype"},
      {"dtype no text", Entry(R"("dtype":32,"shape":[2],"data_offsets":[0,8])"), "unknown dtype"},
      {"shape no array", Entry(R"("dtype":"F32","shape":2,"data_offsets":[0,8])"), "shape is no array"},
      {"shape negative", Entry(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"), "no integer from 0"},
      {"shape fraction", Entry(R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])"), "no integer from 0"},
      {"shape overflows", Entry(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8])"), "overflows"},
      {"shape overflows in bytes", Entry(R"("dtype":"F32","shape":[4611686018427387906],"data_offsets":[0,8])"),
       "got 8 bytes for F32"},
      {"shape lies", Entry(R"("dtype":"F32","shape":[1000000000],"data_offsets":[0,8])"),
       "got 8 bytes for F32 [1000000000]"},
      {"offsets no pair", Entry(R"("dtype":"F32","shape":[2],"data_offsets":[0])"), "want two integers"},
      {"offsets negative", Entry(R"("dtype":"F32","shape":[2],"data_offsets":[-8,0])"), "want two integers"},
      {"offsets reversed", Entry(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"), "got [8, 0]"},
      {"offsets out of range", Entry(R"("dtype":"F32","shape":[2],"data_offsets":[4,12])"), "data of 8 bytes"},
      {"offsets far out",
       Entry(R"("dtype":"F32","shape":[2],"data_offsets":[18446744073709551608,18446744073709551615])"),
       "data of 8 bytes"},
      {"gap before", File(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", std::string(8, 'x')),
       "after a gap from 0"},
      {"gap after", File(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", std::string(8, 'x')),
       "cover 4 bytes, but the file has 8"},
      {"no tensor, but data", File("{}", "x"), "cover 0 bytes"},
      {"overlap",
       File(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
            R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
            std::string(8, 'x')),
       "tensor 'b': data begin at 4, within the tensor before"},
      {"both the same",
       File(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
            R"("b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
            std::string(8, 'x')),
       "within the tensor before"},
      {"truncated data", File("{" + a + "}", std::string(7, 'x')), "data of 7 bytes"},
  };
  for (const HostileFile& file : files) {
    const absl::Status status = Parse(file.bytes).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << file.what;
    EXPECT_EQ(GetCause(status).reason, "MODEL_FILE") << file.what;
    EXPECT_THAT(std::string(status.message()), HasSubstr(file.message)) << file.what;
  }
}

TEST(SafetensorsTest, EmptyAndScalarTensors) {
  const absl::StatusOr<TensorFile> file = Parse(File(R"({"none":{"dtype":"F32","shape":[0,5],"data_offsets":[4,4]},)"
                                                     R"("one":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}  )",
                                                     std::string("\0\0\x80\x3f", 4)));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(Floats(*file, file->tensors.at("none"))->size(), 0u);
  EXPECT_THAT(Floats(*file, file->tensors.at("one"))->span(), ElementsAre(1.0f));
}

TEST(SafetensorsTest, EveryFloatTypeIsWidened) {
  std::string data;
  const uint16_t half = FloatToF16(-0.5f), brain = FloatToBf16(3.0f);
  const double wide = 0.1;
  const float single = 2.0f;
  data.append(reinterpret_cast<const char*>(&half), 2);
  data.append(reinterpret_cast<const char*>(&brain), 2);
  data.append(reinterpret_cast<const char*>(&wide), 8);
  data.append(reinterpret_cast<const char*>(&single), 4);
  const absl::StatusOr<TensorFile> file = Parse(File(R"({"h":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},)"
                                                     R"("b":{"dtype":"BF16","shape":[1],"data_offsets":[2,4]},)"
                                                     R"("d":{"dtype":"F64","shape":[1],"data_offsets":[4,12]},)"
                                                     R"("f":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}})",
                                                     data));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(Floats(*file, file->tensors.at("h"))->span(), ElementsAre(-0.5f));
  EXPECT_THAT(Floats(*file, file->tensors.at("b"))->span(), ElementsAre(3.0f));
  EXPECT_THAT(Floats(*file, file->tensors.at("d"))->span(), ElementsAre(0.1f));
  EXPECT_THAT(Floats(*file, file->tensors.at("f"))->span(), ElementsAre(2.0f));
}

TEST(SafetensorsTest, WhatIsNoFloatIsNoWeight) {
  const TensorFile file = *Parse(File(R"({"i":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}})", "1234"));
  const absl::Status status = Floats(file, file.tensors.at("i")).status();
  EXPECT_EQ(GetCause(status).reason, "MODEL_FILE");
  EXPECT_THAT(std::string(status.message()), HasSubstr("got I32 [1], want F32, F16, BF16 or F64"));
}

TEST(SafetensorsTest, DoublesBeyondFloatAreRefused) {
  const auto floats = [](double value) {
    TensorFile file;
    return Floats(file, {DType::kF64, {1}, reinterpret_cast<const char*>(&value), 1});
  };
  EXPECT_FALSE(floats(1e39).ok());
  EXPECT_FALSE(floats(-1e300).ok());
  EXPECT_TRUE(std::isinf((*floats(std::numeric_limits<double>::infinity()))[0]));
  EXPECT_EQ((*floats(1e-300))[0], 0.0f);
}

class SafetensorsFileTest : public ::testing::Test {
 protected:
  SafetensorsFileTest() { std::filesystem::create_directories(folder_); }
  ~SafetensorsFileTest() override { std::filesystem::remove_all(folder_); }
  const std::filesystem::path folder_ =
      std::filesystem::path(::testing::TempDir()) / ("lstmd_safetensors_" + std::to_string(getpid()));
  const std::string path_ = folder_ / "model.safetensors";
};

TEST_F(SafetensorsFileTest, ReadsWhatItWrites) {
  const FloatArray floats(std::vector<float>{1, 2, 3, 4, 5, 6});
  const double wide[] = {1.5};
  const uint16_t odd[] = {FloatToF16(7)};
  std::map<std::string, TensorView> tensors = {
      {"floats", View(floats, {2, 3})},
      {"wide", {DType::kF64, {1}, reinterpret_cast<const char*>(wide), 1}},
      {"odd", {DType::kF16, {1}, reinterpret_cast<const char*>(odd), 1}},
      {"none", {DType::kF32, {0}, nullptr, 0}},
  };
  const std::map<std::string, std::string> metadata = {{"layout", "torch"}, {"note", "a \"quoted\" \xc3\xa9"}};
  ASSERT_TRUE(WriteSafetensors(path_, tensors, metadata).ok());
  absl::StatusOr<TensorFile> file = ReadSafetensors(path_);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->metadata, metadata);
  ASSERT_EQ(file->tensors.size(), 4u);
  EXPECT_EQ(file->tensors["floats"].shape, (std::vector<uint64_t>{2, 3}));
  EXPECT_THAT(Floats(*file, file->tensors["floats"])->span(), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(Floats(*file, file->tensors["wide"])->span(), ElementsAre(1.5f));
  EXPECT_THAT(Floats(*file, file->tensors["odd"])->span(), ElementsAre(7));
  // Nothing but the file is left in the folder.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

// Gigabytes of F32 are not copied: the array points into the mapping, which lives as long as the array does.
TEST_F(SafetensorsFileTest, AlignedFloatsStayInTheMapping) {
  const FloatArray floats(std::vector<float>(1000, 2.5f));
  ASSERT_TRUE(WriteSafetensors(path_, {{"a", View(floats, {1000})}}, {}).ok());
  FloatArray kept;
  {
    const absl::StatusOr<TensorFile> file = ReadSafetensors(path_);
    ASSERT_TRUE(file.ok());
    kept = *Floats(*file, file->tensors.at("a"));
    EXPECT_EQ(reinterpret_cast<const char*>(kept.data()), file->tensors.at("a").data);
  }
  std::filesystem::remove(path_);
  EXPECT_EQ(kept[999], 2.5f);
}

TEST_F(SafetensorsFileTest, WhatIsNoReadableFileIsNamed) {
  EXPECT_THAT(std::string(ReadSafetensors(path_).status().message()), HasSubstr("cannot open"));
  EXPECT_THAT(std::string(ReadSafetensors(folder_).status().message()), HasSubstr("not a regular file"));
  std::ofstream(path_).close();
  EXPECT_THAT(std::string(ReadSafetensors(path_).status().message()), HasSubstr("truncated: got 0"));
  const absl::Status status = WriteSafetensors(folder_ / "none" / "m.safetensors", {}, {});
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("No such file"));
}

}  // namespace
}  // namespace lstmd
