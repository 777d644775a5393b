// SPDX-License-Identifier: Apache-2.0
#include "engine/cpu/cpu_backend.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "gtest/gtest.h"
#include "tests/support/backend_suite.h"

namespace lstmd::test {
namespace {

// Every instruction set of this machine, with one thread and with more than there are cores.
std::vector<BackendRow> Rows() {
  std::vector<BackendRow> rows;
  for (const std::string& instruction_set : CpuInstructionSets()) {
    for (int threads : {1, 3}) {
      BackendRow row;
      row.name = absl::StrCat("f32_", instruction_set, "_", threads);
      row.create = [=] { return CreateCpuBackend({threads, instruction_set}); };
      rows.push_back(row);
    }
  }
  return rows;
}

INSTANTIATE_TEST_SUITE_P(Cpu, BackendSuite, testing::ValuesIn(Rows()), BackendRowName);

TEST(CpuBackendTest, RefusesBadOptions) {
  for (const CpuOptions& options : {CpuOptions{-1, ""}, CpuOptions{1025, ""}, CpuOptions{1, "MMX"}}) {
    const absl::Status status = CreateCpuBackend(options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(GetCause(status).reason, "CPU_OPTIONS");
  }
}

TEST(CpuBackendTest, NamesItself) {
  const std::vector<std::string> sets = CpuInstructionSets();
  ASSERT_FALSE(sets.empty());
  auto backend = CreateCpuBackend({2, ""});
  ASSERT_TRUE(backend.ok()) << backend.status();
  EXPECT_EQ((*backend)->name(), "cpu");
  EXPECT_EQ((*backend)->device(), "cpu");
  EXPECT_EQ((*backend)->description(), absl::StrCat(sets.front(), ", 2 threads"));
  EXPECT_TRUE((*backend)->batch_invariant());
}

TEST(CpuBackendTest, SaysWhichPrecisionsItCannot) {
  auto backend = CreateCpuBackend({1, ""});
  ASSERT_TRUE(backend.ok()) << backend.status();
  ModelSpec spec;
  spec.input_size = spec.hidden_size = 4;
  EXPECT_TRUE((*backend)->Supports(spec).ok());
  spec.precision = Precision::kF16;
  const absl::Status status = (*backend)->Supports(spec);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(GetCause(status).reason, "UNSUPPORTED_BY_DEVICE");
  EXPECT_EQ(GetCause(status).field, "precision");
}

}  // namespace
}  // namespace lstmd::test
