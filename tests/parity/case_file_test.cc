// SPDX-License-Identifier: Apache-2.0
#include "tests/parity/case_file.h"

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/parity/case_model.h"
#include "tests/parity/case_run.h"

namespace lstmd::parity {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

// A copy of a recorded case whose case.json can be changed.
class CaseFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/lstmd-case-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = std::filesystem::path(pattern) / "onnx_sequence_lens_bidirectional_zero";
    std::filesystem::copy(std::filesystem::path(LSTMD_PARITY_CASES) / folder_.filename(), folder_);
    std::ifstream in(folder_ / "case.json");
    json_ = Json::parse(in);
  }

  void TearDown() override { std::filesystem::remove_all(folder_.parent_path()); }

  absl::StatusOr<Case> Read() {
    std::filesystem::permissions(folder_ / "case.json", std::filesystem::perms::owner_all);
    std::ofstream(folder_ / "case.json") << json_.dump();
    return ReadCase(folder_.string());
  }

  // The error of the case and of all that is made from it.
  std::string Error() {
    absl::StatusOr<Case> c = Read();
    if (!c.ok()) return std::string(c.status().message());
    if (const auto model = BuildModel(*c, 1.0f); !model.ok()) return std::string(model.status().message());
    const auto call = ReadCall(*c, 0);
    return call.ok() ? "" : std::string(call.status().message());
  }

  std::filesystem::path folder_;
  Json json_;
};

TEST_F(CaseFileTest, ReadsWhatWasRecorded) {
  EXPECT_EQ(Error(), "");
  absl::StatusOr<Case> c = Read();
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->spec.direction, Direction::kBidirectional);
  EXPECT_EQ(c->spec.zero_length_state, ZeroLengthState::kZeros);
  absl::StatusOr<Call> call = ReadCall(*c, 0);
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->lengths, (std::vector<uint32_t>{4, 0, 6, 1}));
  EXPECT_TRUE(call->Valid(0, 3) && !call->Valid(0, 4) && !call->Valid(1, 0));
}

TEST_F(CaseFileTest, EveryFieldMatters) {
  const Json good = json_;
  for (const auto& [name, value] : good.items()) {
    json_ = good;
    json_.erase(name);
    EXPECT_THAT(Error(), HasSubstr(absl::StrCat("case.json.", name, ": is missing")));
    json_ = good;
    json_[name] = Json::array({Json::object()});
    EXPECT_THAT(Error(), HasSubstr(absl::StrCat("case.json.", name))) << "is taken for good with a wrong type";
  }
}

TEST_F(CaseFileTest, MistakesAreNamed) {
  const Json good = json_;
  const std::vector<std::tuple<std::string, Json, std::string>> rows = {
      {"/surprise", 1, "surprise: unknown field"},
      {"/schema_version", 2, "schema_version"},
      {"/name", "other", "name"},
      {"/direction", "sideways", "direction"},
      {"/bidirectional", false, "disagree"},
      {"/hidden_size", 6, "has shape"},
      {"/hidden_size", 0, "hidden_size"},
      {"/input_size", 7, "has shape"},
      {"/num_layers", 2, "params"},
      {"/proj_size", 2, "w_hr goes with proj_size"},
      {"/peephole", true, "peep goes with peephole"},
      {"/batch_size", 5, "batch_size and input disagree"},
      {"/seq_len", 5, "seq_len and input disagree"},
      {"/gate_order", "ofig", "gate_order"},
      {"/input_layout", "BTI", "disagree"},
      {"/state_layout", "BH", "is no BH"},
      {"/dtype", "float16", "not of the case's dtype"},
      {"/padded_output", "ones", "padded_output"},
      {"/files", Json::array({"model.pt"}), "there is no model.pt"},
      {"/activation_spec/1/g/fn", "swash", "swash"},
      {"/activation_spec/1/g/surprise", 1, "unknown field"},
      {"/params/0/1/w_ih/index", 2, "want more than 2 entries"},
      {"/params/0/1/w_ih/tensor", "V", "no tensor V"},
      {"/params/0/1/b_ih/offset", 21, "20 values from 21"},
      {"/params/0/1/extra", nullptr, "unknown weight extra"},
      {"/tolerance_suggestion/surprise", 1, "unknown field"},
  };
  for (const auto& [where, value, says] : rows) {
    json_ = good;
    json_[Json::json_pointer(where)] = value;
    EXPECT_THAT(Error(), HasSubstr(says)) << where << " = " << value;
  }
  json_ = Json::array();
  EXPECT_THAT(Error(), HasSubstr("want an object"));
}

}  // namespace
}  // namespace lstmd::parity
