// SPDX-License-Identifier: Apache-2.0
//
// One suite for every backend: TEST_P in backend_suite.cc and backend_invariance.cc, comparison with the oracle and
// metamorphic. A backend's own test binary links lstmd_backend_suite and names its rows of the table
// backend × type × tolerance:
//   INSTANTIATE_TEST_SUITE_P(Cpu, BackendSuite, testing::ValuesIn(rows), BackendRowName);
#ifndef LSTMD_TESTS_SUPPORT_BACKEND_SUITE_H_
#define LSTMD_TESTS_SUPPORT_BACKEND_SUITE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/spec.h"
#include "engine/weights.h"
#include "gtest/gtest.h"
#include "tests/support/oracle.h"

namespace lstmd::test {

// A row of the table. A result passes if |got - want| <= absolute * scale + relative * |want|, NaN and infinities
// equal; scale is the largest value of the sequence's results, at least 1.
struct BackendRow {
  std::string name;
  std::function<absl::StatusOr<std::unique_ptr<Backend>>()> create;
  Precision precision = Precision::kF32;
  double absolute = 2e-6;
  double relative = 1e-5;
};

void PrintTo(const BackendRow& row, std::ostream* out);
std::string BackendRowName(const testing::TestParamInfo<BackendRow>& info);

// One sequence for a backend and for the oracle.
struct Sequence {
  OracleInput in;
  OutputMode mode = OutputMode::kAll;
};

struct SequenceResult {
  std::vector<float> output;
  std::vector<float> h;
  std::vector<float> c;
};

// A model on a backend.
struct LoadedModel {
  ModelSpec spec;
  Weights weights;
  std::unique_ptr<DeviceModel> model;
  std::unique_ptr<StatePool> pool;
};

using Rng = std::mt19937_64;

// Uniform in [low, high].
uint64_t Draw(Rng& rng, uint64_t low, uint64_t high);
std::vector<float> RandomFloats(Rng& rng, size_t size, float scale);
// Uniform in ±1/sqrt(P or H), as frameworks begin with.
Weights RandomWeights(Rng& rng, const ModelSpec& spec);
// T steps, mode and, where the dice say so, a mask and initial states.
Sequence RandomSequence(Rng& rng, const ModelSpec& spec, uint32_t steps);
// Any combination of options of a model of the given sizes.
ModelSpec RandomSpec(Rng& rng, uint32_t input, uint32_t hidden, uint32_t layers);
std::string Describe(const ModelSpec& spec);

class BackendSuite : public testing::TestWithParam<BackendRow> {
 protected:
  void SetUp() override;

  // False: the backend says that it cannot, which is not a failure.
  bool Load(const ModelSpec& spec, const Weights& weights, LoadedModel& loaded);

  // Runs all sequences, in one call or each alone, in slices of `budget` units (0: in one go; a function of the call's
  // number, so that rows start and stop at different times).
  struct Plan {
    bool together = true;
    std::function<uint64_t(size_t row, size_t call)> budget;
  };
  std::vector<SequenceResult> Run(LoadedModel& loaded, const std::vector<Sequence>& sequences, const Plan& plan);
  std::vector<SequenceResult> Run(LoadedModel& loaded, const std::vector<Sequence>& sequences) {
    return Run(loaded, sequences, Plan());
  }
  // The sequence as rows of one step each.
  SequenceResult RunAsSteps(LoadedModel& loaded, const Sequence& sequence);

  void ExpectMatchesOracle(const LoadedModel& loaded, const Sequence& sequence, const SequenceResult& got);
  // Bits, or within tolerance for a backend that is not batch-invariant.
  void ExpectSame(const SequenceResult& want, const SequenceResult& got);

  std::unique_ptr<Backend> backend_;

 private:
  void ExpectClose(const std::vector<double>& want, const std::vector<float>& got, double scale, const char* what);
};

}  // namespace lstmd::test

#endif  // LSTMD_TESTS_SUPPORT_BACKEND_SUITE_H_
