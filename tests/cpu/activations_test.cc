// SPDX-License-Identifier: Apache-2.0
//
// Activations of every instruction set of this machine, over all magnitudes, against double precision.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "engine/cpu/aligned_buffer.h"
#include "engine/cpu/kernels.h"
#include "gtest/gtest.h"
#include "tests/support/oracle.h"

namespace lstmd::cpu {
namespace {

uint32_t Bits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}

float FromBits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

// Distance between a float and the exact value, in units of the last place of the float nearest to it.
double Ulps(double want, float got) {
  const float nearest = static_cast<float>(want);
  const double ulp = std::abs(nearest) < std::numeric_limits<float>::min()
                         ? double{std::numeric_limits<float>::denorm_min()}
                         : std::ldexp(1.0, std::ilogb(nearest) - 23);
  return std::abs(want - double{got}) / ulp;
}

// Every `stride`-th float of either sign: all exponents, subnormals, infinities, some NaNs.
std::vector<float> Sweep(uint32_t stride) {
  std::vector<float> values;
  for (uint64_t bits = 0; bits <= 0x7fa00000; bits += stride) {
    values.push_back(FromBits(static_cast<uint32_t>(bits)));
    values.push_back(FromBits(static_cast<uint32_t>(bits) | 0x80000000u));
  }
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float tiny = std::numeric_limits<float>::denorm_min();
  const float max = std::numeric_limits<float>::max();
  for (float x : {0.0f, -0.0f, inf, -inf, nan, -nan, tiny, -tiny, max, -max, 0.625f, -0.625f, 88.0f, -88.0f, 104.0f,
                  -104.0f, 1.0f, -1.0f}) {
    values.push_back(x);
  }
  while (values.size() % kPad != 0) values.push_back(0.5f);
  return values;
}

std::vector<Activation> AllActivations() {
  return {{Function::kSigmoid},
          {Function::kTanh},
          {Function::kHardSigmoid, 0.2f, 0.5f},
          {Function::kHardSigmoid, 1.0f / 6, 0.5f},
          {Function::kRelu},
          {Function::kLinear},
          {Function::kSoftsign},
          {Function::kSoftplus},
          {Function::kElu, 0.7f},
          {Function::kSelu},
          {Function::kSilu},
          {Function::kGelu},
          {Function::kLeakyRelu, 0.2f},
          {Function::kThresholdedRelu, 0.6f},
          {Function::kScaledTanh, 0.9f, 0.8f},
          {Function::kAffine, 0.3f, -0.2f}};
}

class ActivationsTest : public testing::TestWithParam<std::string> {
 protected:
  std::vector<float> Apply(const Activation& activation, std::vector<float> values) const {
    FindKernels(GetParam())->activate(activation, values.data(), values.size());
    return values;
  }
};

INSTANTIATE_TEST_SUITE_P(Cpu, ActivationsTest, testing::ValuesIn(KernelNames()),
                         [](const auto& info) { return info.param; });

TEST_P(ActivationsTest, SigmoidAndTanhAreWithin3Ulp) {
  const std::vector<float> x = Sweep(5003);
  for (Function function : {Function::kSigmoid, Function::kTanh}) {
    const Activation activation{function};
    const std::vector<float> y = Apply(activation, x);
    double worst = 0;
    float worst_x = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      if (std::isnan(x[i])) {
        ASSERT_TRUE(std::isnan(y[i]));
        continue;
      }
      const double ulps = Ulps(test::Activate(activation, double{x[i]}), y[i]);
      if (!(ulps <= worst)) {
        worst = ulps;
        worst_x = x[i];
      }
    }
    EXPECT_LE(worst, 3.0) << Name(function) << "(" << worst_x << ")";
    RecordProperty(std::string(Name(function)) + "_ulp", std::to_string(worst));
  }
}

TEST_P(ActivationsTest, SigmoidAndTanhKeepTheirLimits) {
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<float> x(kPad, 0.0f);
  x[0] = inf;
  x[1] = -inf;
  x[2] = -0.0f;
  const std::vector<float> sigmoid = Apply({Function::kSigmoid}, x);
  EXPECT_EQ(sigmoid[0], 1.0f);
  EXPECT_EQ(sigmoid[1], 0.0f);
  EXPECT_EQ(sigmoid[2], 0.5f);
  const std::vector<float> tanh = Apply({Function::kTanh}, x);
  EXPECT_EQ(tanh[0], 1.0f);
  EXPECT_EQ(tanh[1], -1.0f);
  EXPECT_EQ(Bits(tanh[2]), Bits(-0.0f));
}

TEST_P(ActivationsTest, AllFollowTheirFormulas) {
  const std::vector<float> x = Sweep(100003);
  for (const Activation& activation : AllActivations()) {
    const std::vector<float> y = Apply(activation, x);
    for (size_t i = 0; i < x.size(); ++i) {
      const double want = test::Activate(activation, double{x[i]});
      if (std::isnan(want)) {
        ASSERT_TRUE(std::isnan(y[i])) << Name(activation.function) << "(" << x[i] << "): got " << y[i];
      } else if (std::abs(want) > std::numeric_limits<float>::max()) {
        ASSERT_EQ(y[i], std::copysign(std::numeric_limits<float>::infinity(), static_cast<float>(want)))
            << Name(activation.function) << "(" << x[i] << ")";
      } else {
        ASSERT_NEAR(y[i], want, 1e-6 * std::abs(want) + 1e-7)
            << Name(activation.function) << "(" << x[i] << "), alpha " << activation.alpha;
      }
    }
  }
}

TEST_P(ActivationsTest, TheLaneDoesNotMatter) {
  const std::vector<float> x = Sweep(999983);
  for (const Activation& activation : AllActivations()) {
    const std::vector<float> y = Apply(activation, x);
    std::vector<float> rotated(x.begin() + 1, x.end());
    rotated.push_back(x.front());
    const std::vector<float> z = Apply(activation, rotated);
    for (size_t i = 0; i + 1 < x.size(); ++i) {
      if (std::isnan(y[i + 1]) && std::isnan(z[i])) continue;
      ASSERT_EQ(Bits(y[i + 1]), Bits(z[i])) << Name(activation.function) << "(" << x[i + 1] << ")";
    }
  }
}

}  // namespace
}  // namespace lstmd::cpu
