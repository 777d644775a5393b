// SPDX-License-Identifier: Apache-2.0
//
// Formats of weights, bit for bit, in every instruction set of this machine: what the backend suite's tolerances would
// not see.
#include <cfloat>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/cpu/cpu_backend.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/packed_weights.h"
#include "engine/errors.h"
#include "engine/half.h"
#include "gtest/gtest.h"
#include "tests/support/models.h"

namespace lstmd::cpu {
namespace {

constexpr Precision kPrecisions[] = {Precision::kF32, Precision::kBf16Weights, Precision::kInt8Weights,
                                     Precision::kBf16};

ModelSpec Spec(Precision precision) {
  ModelSpec spec;
  spec.input_size = 301;  // pieces, and a last one that is no whole unit
  spec.hidden_size = 70;
  spec.precision = precision;
  return spec;
}

std::unique_ptr<PackedModel> Pack(const Kernels& kernels, const ModelSpec& spec, const Weights& weights) {
  auto model = PackedModel::Pack(spec, weights, kernels.units);
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

// h and c of `count` rows after one step, [count][2][Padded(H)].
std::vector<float> Step(const Kernels& kernels, const PackedModel& model, size_t count) {
  const PackedCell& cell = model.cells[0];
  const size_t padded = model.padded_hidden();
  const std::vector<float> x = test::SeededFloats(1, count * cell.input_size(), 1.5f);
  const std::vector<float> h = test::SeededFloats(2, count * cell.state_size(), 1.0f);
  std::vector<float> c = test::SeededFloats(3, count * padded, 1.0f);
  std::vector<float> narrow(count * (x.size() / count + h.size() / count + 2));
  AlignedBuffer state;
  EXPECT_TRUE(state.Reserve(2 * count * padded));
  std::vector<StepRow> rows(count);
  float* next = narrow.data();
  for (size_t r = 0; r < count; ++r) {
    float* const h_out = state.data() + 2 * r * padded;
    std::copy_n(c.data() + r * padded, padded, h_out + padded);
    rows[r] = {&x[r * cell.input_size()], &h[r * cell.state_size()], nullptr, h_out + padded, h_out + padded, h_out};
    if (model.format != WeightFormat::kBf16Dot) continue;
    kernels.narrow(rows[r].x, cell.input_size(), next);
    rows[r].x = next;
    next += RowWords(model.format, cell.input_size());
    kernels.narrow(rows[r].h, cell.state_size(), next);
    rows[r].h = next;
    next += RowWords(model.format, cell.state_size());
  }
  kernels.step(cell, rows.data(), count, 0, cell.panels.count);
  std::vector<float> result;
  for (size_t r = 0; r < 2 * count; ++r) {
    const float* row = state.data() + r * padded;
    result.insert(result.end(), row, row + cell.hidden_size);
  }
  return result;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

class PrecisionTest : public testing::TestWithParam<std::string> {
 protected:
  const Kernels& kernels_ = *FindKernels(GetParam());
};

INSTANTIATE_TEST_SUITE_P(Cpu, PrecisionTest, testing::ValuesIn(KernelNames()),
                         [](const auto& info) { return info.param; });

TEST_P(PrecisionTest, AnyNumberOfRowsAndWeightsFromFarAwayGiveTheSameBits) {
  for (Precision precision : kPrecisions) {
    const ModelSpec spec = Spec(precision);
    const auto model = Pack(kernels_, spec, test::SeededWeights(spec, 9));
    const std::vector<float> all = Step(kernels_, *model, kMaxItemRows);
    for (bool far : {false, true}) {
      model->cells[0].panels.far = far;
      for (size_t count : {1, 2, 3, 4, 5, 6, 7, 12, 13, 19, 37, 64}) {
        const std::vector<float> want(all.begin(), all.begin() + static_cast<ptrdiff_t>(2 * count * spec.hidden_size));
        EXPECT_TRUE(SameBits(want, Step(kernels_, *model, count)))
            << Name(precision) << ", " << count << " rows, far " << far;
      }
    }
  }
}

TEST_P(PrecisionTest, Bf16WeightsAreAnF32ModelOfRoundedWeights) {
  ModelSpec spec = Spec(Precision::kBf16Weights);
  Weights weights = test::SeededWeights(spec, 4);
  const std::vector<float> got = Step(kernels_, *Pack(kernels_, spec, weights), 7);
  for (FloatArray* array : {&weights.cells[0].w, &weights.cells[0].r}) {
    std::vector<float> rounded(array->span().begin(), array->span().end());
    for (float& w : rounded) w = Bf16ToFloat(FloatToBf16(w));
    *array = std::move(rounded);
  }
  spec.precision = Precision::kF32;
  EXPECT_TRUE(SameBits(Step(kernels_, *Pack(kernels_, spec, weights), 7), got));
}

TEST_P(PrecisionTest, NarrowRoundsToNearestEven) {
  std::vector<float> from = test::SeededFloats(5, 203, 3.0f);
  const float inf = std::numeric_limits<float>::infinity();
  const float special[] = {0.0f,    -0.0f,        inf,         -inf,
                           NAN,     -NAN,         1.00390625f, 1.01171875f,  // ties, to even and away from odd
                           3.4e38f, FLT_TRUE_MIN, -1e-40f,     FloatFromBits(0x7f800001)};
  std::copy(std::begin(special), std::end(special), from.begin() + 10);
  std::copy(std::begin(special), std::end(special), from.end() - std::size(special));
  for (size_t size : {size_t{1}, size_t{2}, size_t{31}, size_t{32}, size_t{33}, from.size()}) {
    std::vector<float> words((size + 1) / 2 + 1, 77.0f);
    kernels_.narrow(from.data(), size, words.data());
    for (size_t k = 0; k < size; ++k) {
      const uint32_t word = FloatBits(words[k / 2]);
      EXPECT_EQ(k % 2 == 0 ? word & 0xffff : word >> 16, FloatToBf16(from[k])) << from[k];
    }
    if (size % 2 != 0) {
      EXPECT_EQ(FloatBits(words[size / 2]) >> 16, 0u);
    }
    EXPECT_EQ(words.back(), 77.0f) << "nothing beyond is written";
  }
}

TEST(PrecisionsTest, TheInstructionForBf16ProductsComputesWhatItsReplacementDoes) {
  const Kernels* with = FindKernels("AVX3_BF16");
  const Kernels* without = FindKernels("AVX3");
  if (with == nullptr || without == nullptr) GTEST_SKIP() << "this machine has no AVX512-BF16";
  const ModelSpec spec = Spec(Precision::kBf16);
  const Weights weights = test::SeededWeights(spec, 6);
  EXPECT_TRUE(SameBits(Step(*with, *Pack(*with, spec, weights), 9), Step(*without, *Pack(*without, spec, weights), 9)));
}

TEST(PrecisionsTest, ReducedWeightsTakeReducedSpace) {
  ModelSpec spec;
  spec.input_size = spec.hidden_size = 256;
  const Kernels& kernels = *FindKernels("");
  const auto bytes = [&](Precision precision) {
    spec.precision = precision;
    return static_cast<double>(Pack(kernels, spec, test::SeededWeights(spec, 1))->weight_bytes());
  };
  const double f32 = bytes(Precision::kF32);
  EXPECT_NEAR(bytes(Precision::kBf16Weights) / f32, 0.5, 0.02);
  EXPECT_NEAR(bytes(Precision::kBf16) / f32, 0.5, 0.02);
  EXPECT_NEAR(bytes(Precision::kInt8Weights) / f32, 0.25, 0.02);
}

TEST(PrecisionsTest, Int8RefusesWeightsThatAreNotFinite) {
  const ModelSpec spec = Spec(Precision::kInt8Weights);
  for (float bad : {NAN, std::numeric_limits<float>::infinity()}) {
    Weights weights = test::SeededWeights(spec, 1);
    std::vector<float> r(weights.cells[0].r.span().begin(), weights.cells[0].r.span().end());
    r[100] = bad;
    weights.cells[0].r = std::move(r);
    auto backend = CreateCpuBackend({1, ""});
    ASSERT_TRUE(backend.ok()) << backend.status();
    const absl::Status status = (*backend)->Load(spec, weights).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_EQ(GetCause(status).reason, "MODEL_WEIGHTS");
  }
}

TEST(PrecisionsTest, Int8RowsOfZerosAreZeros) {
  ModelSpec spec = Spec(Precision::kInt8Weights);
  Weights weights = test::SeededWeights(spec, 1);
  weights.cells[0].w = std::vector<float>(weights.cells[0].w.size(), 0.0f);
  weights.cells[0].r = std::vector<float>(weights.cells[0].r.size(), 0.0f);
  const Kernels& kernels = *FindKernels("");
  const std::vector<float> int8 = Step(kernels, *Pack(kernels, spec, weights), 3);
  spec.precision = Precision::kF32;
  EXPECT_TRUE(SameBits(Step(kernels, *Pack(kernels, spec, weights), 3), int8));
}

}  // namespace
}  // namespace lstmd::cpu
