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

// Every instruction set of this machine, with one thread and with more than there are cores, in each precision.
std::vector<BackendRow> Rows() {
  std::vector<BackendRow> rows;
  for (const std::string& instruction_set : CpuInstructionSets()) {
    for (Precision precision : {Precision::kF32, Precision::kBf16Weights, Precision::kInt8Weights, Precision::kBf16}) {
      for (int threads : {1, 3}) {
        BackendRow row;
        row.name = absl::StrCat(absl::string_view(Name(precision).data() + 10), "_", instruction_set, "_", threads);
        row.create = [=] { return CreateCpuBackend({threads, instruction_set}); };
        row.precision = precision;
        // A state that is a hair from where bfloat16 rounds the other way ends half a percent from the oracle's.
        if (precision == Precision::kBf16) row.absolute = row.relative = 0.02;
        rows.push_back(row);
      }
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
  for (Precision precision : {Precision::kF32, Precision::kBf16Weights, Precision::kInt8Weights, Precision::kBf16}) {
    spec.precision = precision;
    EXPECT_TRUE((*backend)->Supports(spec).ok()) << Name(precision);
  }
  spec.precision = Precision::kF16;
  const absl::Status status = (*backend)->Supports(spec);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(GetCause(status).reason, "UNSUPPORTED_BY_DEVICE");
  EXPECT_EQ(GetCause(status).field, "precision");
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LSTMD_ALLOCATION_ABORTS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LSTMD_ALLOCATION_ABORTS 1
#endif
#endif

TEST(CpuBackendTest, ABatchThatDoesNotFitIntoMemoryChangesNothing) {
#ifdef LSTMD_ALLOCATION_ABORTS
  GTEST_SKIP() << "a sanitizer ends the process where an allocation fails";
#endif
  auto backend = CreateCpuBackend({1, ""});
  ASSERT_TRUE(backend.ok()) << backend.status();
  Rng rng(7);
  ModelSpec spec;
  spec.input_size = 2;
  spec.hidden_size = 512;
  spec.direction = Direction::kBidirectional;
  auto model = (*backend)->Load(spec, RandomWeights(rng, spec));
  ASSERT_TRUE(model.ok()) << model.status();
  auto pool = (*backend)->CreateStatePool(**model);
  ASSERT_TRUE(pool.ok()) << pool.status();
  const std::vector<float> h = RandomFloats(rng, spec.h_size(), 1);
  const std::vector<float> c = RandomFloats(rng, spec.c_size(), 1);
  const std::vector<float> input(spec.input_size, 0.5f);
  Row rows[2];
  for (Row& row : rows) {
    auto slot = (*pool)->Allocate();
    ASSERT_TRUE(slot.ok()) << slot.status();
    ASSERT_TRUE((*pool)->Write(*slot, h, c).ok());
    row.slot = *slot;
    row.input = input.data();
    row.steps = 1;
    row.budget = 2;
  }
  rows[1].steps = UINT32_MAX;  // 17 TB of layer outputs; the input is never read
  std::vector<Row*> batch = {&rows[0], &rows[1]};
  const absl::Status status = (*backend)->Run(**model, **pool, batch);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(GetCause(status).reason, "DEVICE_MEMORY");
  for (const Row& row : rows) {
    EXPECT_EQ(row.position, 0u);
    EXPECT_EQ(row.scratch, nullptr);
    std::vector<float> got_h(h.size()), got_c(c.size());
    ASSERT_TRUE((*pool)->Read(row.slot, absl::MakeSpan(got_h), absl::MakeSpan(got_c)).ok());
    EXPECT_EQ(got_h, h);
    EXPECT_EQ(got_c, c);
  }
  batch.pop_back();
  EXPECT_TRUE((*backend)->Run(**model, **pool, batch).ok());
  EXPECT_EQ(rows[0].position, 2u);
}

}  // namespace
}  // namespace lstmd::test
