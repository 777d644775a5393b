// SPDX-License-Identifier: Apache-2.0
//
// Numbers in files: CSV, .npy, and the histogram of times.
#include "client/lstmctl/rows.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "client/lstmctl/histogram.h"
#include "client/lstmctl/npy.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lstmd::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string Save(const std::string& name, const std::string& text) {
  const std::string path = testing::TempDir() + name;
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

TEST(ParseFloatTest, TakesWholeNumbersOnly) {
  float value = 0;
  EXPECT_TRUE(ParseFloat("-1.5e2", &value));
  EXPECT_EQ(value, -150.0f);
  EXPECT_TRUE(ParseFloat("+3", &value));
  EXPECT_EQ(value, 3.0f);
  EXPECT_TRUE(ParseFloat("1e-60", &value));
  EXPECT_EQ(value, 0.0f);
  EXPECT_TRUE(ParseFloat("nan", &value));
  EXPECT_TRUE(std::isnan(value));
  for (const char* const bad : {"", "x", "1x", "1 2", "1e60", "-1e60", "+-1", "0x10", "--1", "1e400"}) {
    EXPECT_FALSE(ParseFloat(bad, &value)) << bad;
  }
}

TEST(ParseFloatTest, ReadsBackWhatWasWritten) {
  const uint32_t seed = 20;
  std::mt19937 random(seed);
  for (int i = 0; i < 20000; ++i) {
    const uint32_t bits = random();
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    if (std::isnan(value)) continue;
    std::string text;
    AppendFloat(value, &text);
    float read = 0;
    ASSERT_TRUE(ParseFloat(text, &read)) << text << ", seed " << seed;
    ASSERT_EQ(read, value) << text << ", seed " << seed;
  }
}

TEST(CsvTest, ReadsEverySeparatorHeaderAndComment) {
  for (const char* const text :
       {"a,b\n1,2\n\n# no row\n3,-4.5\n", "1;2\n3;-4.5", "1\t2\r\n3\t-4.5\r\n", "1 2\n 3   -4.5 \n", "1,2,\n3,-4.5,\n",
        "\xef\xbb\xbf"
        "1,2\n3,-4.5\n"}) {
    const absl::StatusOr<Array> rows = ReadRows(Save("separators.csv", text), {});
    ASSERT_TRUE(rows.ok()) << rows.status() << " for " << text;
    EXPECT_THAT(rows->shape, ElementsAre(2, 2)) << text;
    EXPECT_THAT(rows->values, ElementsAre(1, 2, 3, -4.5)) << text;
  }
}

TEST(CsvTest, ChoosesColumnsByNameAndNumber) {
  const std::string path = Save("columns.csv", "month,sun,moon\n1749-01,58,1\n1749-02,62.6,2\n");
  EXPECT_THAT(ReadRows(path, {"sun"})->values, ElementsAre(58, 62.6f));
  EXPECT_THAT(ReadRows(path, {"3", "sun"})->values, ElementsAre(1, 58, 2, 62.6f));
  const absl::StatusOr<Array> wrong = ReadRows(path, {"mars"});
  EXPECT_EQ(wrong.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(wrong.status().message()), HasSubstr("no column 'mars'; there are month, sun, moon"));
  EXPECT_FALSE(ReadRows(path, {"4"}).ok());
  EXPECT_FALSE(ReadRows(path, {"0"}).ok());
}

TEST(CsvTest, NamesTheLineThatIsWrong) {
  const struct {
    const char* text;
    const char* message;
  } cases[] = {
      {"1,2\n3\n", "bad.csv:2: got 1 columns, want 2"},
      {"1,2\n\n3,x\n", "bad.csv:3: column 2: 'x' is not a number"},
      {"1749-01,58\n", "bad.csv:1: column 1: '1749-01' is not a number"},
      {"a,b\n1,\n", "bad.csv:2: got 1 columns, want 2"},
      {"1,2\n3,1e99\n", "bad.csv:2: column 2: '1e99' is not a number"},
  };
  for (const auto& c : cases) {
    const absl::StatusOr<Array> rows = ReadRows(Save("bad.csv", c.text), {});
    EXPECT_EQ(rows.status().code(), absl::StatusCode::kInvalidArgument) << c.text;
    EXPECT_THAT(std::string(rows.status().message()), HasSubstr(c.message));
  }
  EXPECT_EQ(ReadRows(testing::TempDir() + "no-such.csv", {}).status().code(), absl::StatusCode::kNotFound);
}

TEST(NpyTest, ReadsBackWhatItWrites) {
  const Array arrays[] = {{{2, 3}, {1, 2, 3, 4, 5, 6}},
                          {{4}, {1, -2, 0.5f, 1e-30f}},
                          {{0, 7}, {}},
                          {{}, {3}},
                          {{1, 2, 1, 2}, {1, 2, 3, 4}}};
  for (const Array& array : arrays) {
    const std::string path = testing::TempDir() + "round.npy";
    ASSERT_TRUE(WriteNpy(path, array).ok());
    const absl::StatusOr<Array> read = ReadNpy(path);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->shape, array.shape);
    EXPECT_EQ(read->values, array.values);
    EXPECT_EQ(FormatNpy(array).find('\n') % 64, 63u) << "data begin at a multiple of 64";
  }
}

// A file as numpy writes it, with any header.
std::string Npy(const std::string& header, const std::string& data, char major = 1) {
  std::string bytes = std::string(kNpyMagic) + major + '\0';
  const uint32_t size = static_cast<uint32_t>(header.size());
  bytes.append(reinterpret_cast<const char*>(&size), major == 1 ? 2 : 4);
  return bytes + header + data;
}

TEST(NpyTest, ReadsDoublesAndLaterVersions) {
  const double values[] = {1.5, -2};
  const std::string data(reinterpret_cast<const char*>(values), sizeof(values));
  const std::string header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }\n";
  for (const char major : {1, 2, 3}) {
    const absl::StatusOr<Array> array = ParseNpy(Npy(header, data, major));
    ASSERT_TRUE(array.ok()) << array.status();
    EXPECT_THAT(array->shape, ElementsAre(2));
    EXPECT_THAT(array->values, ElementsAre(1.5f, -2.0f));
  }
}

TEST(NpyTest, RefusesWhatItCannotReadOrTrust) {
  const std::string f4 = "{'descr': '<f4', 'fortran_order': False, 'shape': ";
  const std::string good = Npy(f4 + "(2,), }", std::string(8, 'x'));
  ASSERT_TRUE(ParseNpy(good).ok());
  const struct {
    std::string bytes;
    const char* message;
  } cases[] = {
      {"", "does not begin"},
      {"PK\3\4 a zip", "does not begin"},
      {good.substr(0, 9), "does not begin"},
      {good.substr(0, 30), "ends within its header"},
      {good.substr(0, good.size() - 1), "does not fit 7 bytes"},
      {good + "x", "does not fit 9 bytes"},
      {Npy(f4 + "(2,), }", "", 9), "format version 9"},
      {Npy(f4 + "(9223372036854775807, 9223372036854775807), }", ""), "does not fit"},
      {Npy(f4 + "(9223372036854775807, 2, 0, 3), }", ""), "does not fit"},
      {Npy(f4 + "(-1,), }", "xxxx"), "'-1'"},
      {Npy(f4 + "(1.5,), }", "xxxx"), "'1.5'"},
      {Npy(f4 + "(1, 1, 1, 1, 1, 1, 1, 1, 1), }", "xxxx"), "more than 8"},
      {Npy(f4 + "2", "xxxx"), "no tuple"},
      {Npy("{'fortran_order': False, 'shape': (1,)}", "xxxx"), "no 'descr'"},
      {Npy("{'descr': '<f4', 'shape': (1,)}", "xxxx"), "no 'fortran_order'"},
      {Npy("{'descr': '<f4', 'fortran_order': False}", "xxxx"), "no 'shape'"},
      {Npy("{'descr': '<f4', 'fortran_order': True, 'shape': (1,)}", "xxxx"), "Fortran order"},
      {Npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "xxxx"), "type '|O' is not read"},
      {Npy("{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", "xxxx"), "type '>f4' is not read"},
      {Npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "xxxx"), "is not read"},
  };
  for (const auto& c : cases) {
    const absl::StatusOr<Array> array = ParseNpy(c.bytes);
    EXPECT_EQ(array.status().code(), absl::StatusCode::kInvalidArgument) << c.message;
    EXPECT_THAT(std::string(array.status().message()), HasSubstr(c.message));
  }
}

TEST(NpyTest, YieldsRows) {
  const std::string path = testing::TempDir() + "rows.npy";
  ASSERT_TRUE(WriteNpy(path, {{2, 2}, {1, 2, 3, 4}}).ok());
  absl::StatusOr<std::unique_ptr<RowReader>> reader = RowReader::Open(path, {});
  ASSERT_TRUE(reader.ok()) << reader.status();
  std::vector<float> row;
  EXPECT_TRUE(*(*reader)->Next(&row));
  EXPECT_THAT(row, ElementsAre(1, 2));
  EXPECT_TRUE(*(*reader)->Next(&row));
  EXPECT_THAT(row, ElementsAre(3, 4));
  EXPECT_THAT((*reader)->Where(), HasSubstr("row 2 of"));
  EXPECT_FALSE(*(*reader)->Next(&row));
  EXPECT_FALSE(RowReader::Open(path, {"1"}).ok()) << "columns are for CSV";
  ASSERT_TRUE(WriteNpy(path, {{1, 2, 2}, {1, 2, 3, 4}}).ok());
  EXPECT_FALSE(RowReader::Open(path, {}).ok()) << "three dimensions are no rows";
}

TEST(HistogramTest, QuantilesAreWithinABucket) {
  const uint32_t seed = 11;
  std::mt19937_64 random(seed);
  std::vector<uint64_t> values;
  Histogram one;
  Histogram other;
  for (int i = 0; i < 10000; ++i) {
    values.push_back(random() >> (random() % 64));
    (i % 2 == 0 ? one : other).Add(values.back());
  }
  one.Merge(other);
  std::sort(values.begin(), values.end());
  EXPECT_EQ(one.count(), 10000u);
  EXPECT_EQ(one.max(), values.back());
  for (const double quantile : {0.01, 0.5, 0.9, 0.99, 1.0}) {
    const double want = static_cast<double>(values[static_cast<size_t>(quantile * 10000) - 1]);
    const double got = static_cast<double>(one.Quantile(quantile));
    EXPECT_GE(got, want) << quantile << ", seed " << seed;
    EXPECT_LE(got, want * (1 + 1.0 / 64) + 1) << quantile << ", seed " << seed;
  }
  EXPECT_EQ(Histogram().Quantile(0.5), 0u);
}

}  // namespace
}  // namespace lstmd::client
