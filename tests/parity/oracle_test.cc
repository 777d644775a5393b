// SPDX-License-Identifier: Apache-2.0
//
// The tests' oracle computes what the frameworks computed: every recorded case, without a server. So what backends are
// compared with is itself compared with somebody.
#include "tests/support/oracle.h"

#include <cstring>
#include <filesystem>
#include <optional>

#include "gtest/gtest.h"
#include "tests/parity/case_model.h"
#include "tests/parity/case_run.h"
#include "tests/parity/compare.h"

namespace lstmd::parity {
namespace {

Bytes FromDoubles(const std::vector<double>& values, std::vector<int64_t> shape) {
  const std::vector<float> narrow(values.begin(), values.end());
  Bytes out{v1::DATA_TYPE_F32, std::move(shape), std::string(narrow.size() * sizeof(float), '\0')};
  std::memcpy(out.data.data(), narrow.data(), out.data.size());
  return out;
}

Answer Compute(const Case& c, const ModelFiles& model, const Call& call) {
  std::vector<Bytes> outputs, h, cell;
  const int64_t cells = c.spec.cells(), size = model.spec.output_size();
  for (int64_t row = 0; row < call.rows; ++row) {
    test::OracleInput input;
    input.steps = static_cast<uint32_t>(call.steps);
    input.input = ToFloats(call.batched ? Slice(call.input, call.time_major ? 1 : 0, row) : call.input);
    for (int64_t t = 0; t < call.steps; ++t) input.mask.push_back(call.Valid(row, t) ? 1 : 0);
    if (call.state) {
      input.h = ToFloats(Slice(call.state->first, 1, row));
      input.c = ToFloats(Slice(call.state->second, 1, row));
    }
    const test::OracleResult result = test::RunOracle(model.spec, model.weights, input);
    outputs.push_back(c.last_only              ? FromDoubles(result.final, {size})
                      : c.head && c.head->last ? FromDoubles(result.last, {size})
                                               : FromDoubles(result.all, {call.steps, size}));
    h.push_back(FromDoubles(result.h, {cells, c.spec.hidden_state_size()}));
    cell.push_back(FromDoubles(result.c, {cells, c.spec.hidden_size}));
  }
  return {Stack(outputs), Permute(Stack(h), {1, 0, 2}), Permute(Stack(cell), {1, 0, 2})};
}

TEST(OracleTest, ComputesWhatTheFrameworksComputed) {
  int compared = 0;
  for (const auto& entry : std::filesystem::directory_iterator(LSTMD_PARITY_CASES)) {
    if (!entry.is_directory()) continue;
    SCOPED_TRACE(entry.path().filename().string());
    absl::StatusOr<Case> c = ReadCase(entry.path().string());
    ASSERT_TRUE(c.ok()) << c.status();
    absl::StatusOr<ModelFiles> model = BuildModel(*c, 1.0f);
    ASSERT_TRUE(model.ok()) << model.status();
    std::vector<Answer> answers;
    for (int index = 0; index < c->calls; ++index) {
      absl::StatusOr<Call> call = ReadCall(*c, index);
      ASSERT_TRUE(call.ok()) << call.status();
      if (index > 0 && c->stateful) call->state = std::make_pair(answers.back().h, answers.back().c);
      answers.push_back(Compute(*c, *model, *call));
    }
    absl::StatusOr<std::map<std::string, Bytes>> results = Arrange(*c, answers);
    ASSERT_TRUE(results.ok()) << results.status();
    absl::StatusOr<Comparison> comparison = Compare(*c, *results);
    ASSERT_TRUE(comparison.ok()) << comparison.status();
    if (!WhyFrameworkDefect(*c).empty()) continue;
    EXPECT_EQ(comparison->mistake, "") << "largest error " << comparison->absolute;
    ++compared;
  }
  EXPECT_GE(compared, 100);
}

}  // namespace
}  // namespace lstmd::parity
