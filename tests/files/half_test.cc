// SPDX-License-Identifier: Apache-2.0
#include "engine/half.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

namespace lstmd {
namespace {

// binary16 by its definition, in double.
double Defined(uint16_t half) {
  const double sign = (half & 0x8000) ? -1 : 1;
  const int exponent = (half >> 10) & 31;
  const int mantissa = half & 1023;
  if (exponent == 31) return mantissa ? std::nan("") : sign * std::numeric_limits<double>::infinity();
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

TEST(HalfTest, EveryF16WidensToItsValueAndBack) {
  for (uint32_t i = 0; i <= 0xffff; ++i) {
    const auto half = static_cast<uint16_t>(i);
    const float wide = F16ToFloat(half);
    if (std::isnan(Defined(half))) {
      ASSERT_TRUE(std::isnan(wide)) << i;
      ASSERT_TRUE(std::isnan(F16ToFloat(FloatToF16(wide)))) << i;
      continue;
    }
    ASSERT_EQ(static_cast<double>(wide), Defined(half)) << i;
    ASSERT_EQ(std::signbit(wide), (half & 0x8000) != 0) << i;
    ASSERT_EQ(FloatToF16(wide), half);
  }
}

// Between every two neighbours: below the middle goes down, above goes up, the middle goes to the even one.
TEST(HalfTest, F16RoundsToNearestEven) {
  for (uint32_t i = 0; i < 0x7bff; ++i) {
    const auto low = static_cast<uint16_t>(i);
    const auto high = static_cast<uint16_t>(i + 1);
    const auto middle = static_cast<float>((Defined(low) + Defined(high)) / 2);  // exact: one more bit
    ASSERT_EQ(FloatToF16(middle), i % 2 == 0 ? low : high) << i;
    ASSERT_EQ(FloatToF16(-middle), (i % 2 == 0 ? low : high) | 0x8000) << i;
    ASSERT_EQ(FloatToF16(std::nextafter(middle, 0.0f)), low) << i;
    ASSERT_EQ(FloatToF16(std::nextafter(middle, 1e9f)), high) << i;
  }
}

TEST(HalfTest, F16OverflowsToInfinity) {
  EXPECT_EQ(FloatToF16(65504.0f), 0x7bff);
  EXPECT_EQ(FloatToF16(std::nextafter(65520.0f, 0.0f)), 0x7bff);
  EXPECT_EQ(FloatToF16(65520.0f), 0x7c00);
  EXPECT_EQ(FloatToF16(-1e30f), 0xfc00);
  EXPECT_EQ(FloatToF16(std::numeric_limits<float>::infinity()), 0x7c00);
  EXPECT_EQ(FloatToF16(std::numeric_limits<float>::denorm_min()), 0);
}

TEST(HalfTest, EveryBf16WidensAndBack) {
  for (uint32_t i = 0; i <= 0xffff; ++i) {
    const float wide = Bf16ToFloat(static_cast<uint16_t>(i));
    ASSERT_EQ(FloatBits(wide), i << 16);
    if (std::isnan(wide)) {
      ASSERT_TRUE(std::isnan(Bf16ToFloat(FloatToBf16(wide)))) << i;
    } else {
      ASSERT_EQ(FloatToBf16(wide), i);
    }
  }
}

TEST(HalfTest, Bf16RoundsToNearestEven) {
  EXPECT_EQ(FloatToBf16(FloatFromBits(0x3f808000)), 0x3f80);  // tie, even below
  EXPECT_EQ(FloatToBf16(FloatFromBits(0x3f818000)), 0x3f82);  // tie, even above
  EXPECT_EQ(FloatToBf16(FloatFromBits(0x3f807fff)), 0x3f80);
  EXPECT_EQ(FloatToBf16(FloatFromBits(0x3f808001)), 0x3f81);
  EXPECT_EQ(FloatToBf16(std::numeric_limits<float>::max()), 0x7f80);
  // A NaN whose payload is all in the lower half must not become an infinity.
  EXPECT_TRUE(std::isnan(Bf16ToFloat(FloatToBf16(FloatFromBits(0x7f800001)))));
}

TEST(HalfTest, ArraysAtAnyAddress) {
  const std::vector<float> values = {0, 1, -2.5f, 0.000030517578125f, 1024};
  std::vector<unsigned char> bytes(2 * values.size() + 1);
  std::vector<float> back(values.size());
  FloatsToF16(values.data(), values.size(), bytes.data() + 1);
  F16ToFloats(bytes.data() + 1, values.size(), back.data());
  EXPECT_EQ(back, values);
  FloatsToBf16(values.data(), values.size(), bytes.data() + 1);
  Bf16ToFloats(bytes.data() + 1, values.size(), back.data());
  EXPECT_EQ(back, values);
}

}  // namespace
}  // namespace lstmd
