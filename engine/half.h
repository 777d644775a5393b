// SPDX-License-Identifier: Apache-2.0
//
// The two 16-bit float formats and float32. Widening is exact. Narrowing rounds to nearest, ties to even: what is too
// large becomes infinity, what is too small a subnormal or a zero of the same sign, and a NaN stays a NaN.
#ifndef LSTMD_ENGINE_HALF_H_
#define LSTMD_ENGINE_HALF_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "engine/host_device.h"

namespace lstmd {

LSTMD_HD uint32_t FloatBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

LSTMD_HD float FloatFromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// IEEE 754 binary16: 1 sign bit, 5 of the exponent, 10 of the mantissa.
LSTMD_HD float F16ToFloat(uint16_t half) {
  constexpr uint32_t kExponent = 0x7c00u << 13;
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  uint32_t bits = uint32_t{half & 0x7fffu} << 13;
  const uint32_t exponent = bits & kExponent;
  bits += (127u - 15u) << 23;
  if (exponent == kExponent) {  // infinity, NaN
    bits += (128u - 16u) << 23;
  } else if (exponent == 0) {  // zero, subnormal: 2^-14 * 0.m is (2^-14 * 1.m) - 2^-14
    bits = FloatBits(FloatFromBits(bits + (1u << 23)) - FloatFromBits(113u << 23));
  }
  return FloatFromBits(sign | bits);
}

LSTMD_HD uint16_t FloatToF16(float value) {
  constexpr uint32_t kInfinity = 255u << 23;
  constexpr uint32_t kTooLarge = (127u + 16u) << 23;    // 2^16
  constexpr uint32_t kSmallestNormal = 113u << 23;      // 2^-14
  constexpr uint32_t kShift = (127u - 15u + 13u + 1u) << 23;  // 2^-1, whose last bit is worth 2^-24
  uint32_t bits = FloatBits(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  bits &= 0x7fffffffu;
  uint32_t half;
  if (bits >= kTooLarge) {
    half = bits > kInfinity ? 0x7e00u | ((bits >> 13) & 0x3ffu) : 0x7c00u;
  } else if (bits < kSmallestNormal) {  // the addition itself rounds to the last bit that is left
    half = FloatBits(FloatFromBits(bits) + FloatFromBits(kShift)) - kShift;
  } else {
    const uint32_t odd = (bits >> 13) & 1u;
    half = (bits - ((127u - 15u) << 23) + 0xfffu + odd) >> 13;
  }
  return static_cast<uint16_t>(sign | half);
}

// bfloat16: the upper half of a binary32.
LSTMD_HD float Bf16ToFloat(uint16_t half) { return FloatFromBits(uint32_t{half} << 16); }

LSTMD_HD uint16_t FloatToBf16(float value) {
  const uint32_t bits = FloatBits(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// Arrays of `count` values as they stand in files and messages: little-endian bytes at any address.
// REQUIRES: the two arrays do not overlap.
inline void F16ToFloats(const void* from, size_t count, float* to) {
  const auto* bytes = static_cast<const unsigned char*>(from);
  for (size_t i = 0; i < count; ++i) {
    uint16_t half;
    std::memcpy(&half, bytes + 2 * i, 2);
    to[i] = F16ToFloat(half);
  }
}

inline void Bf16ToFloats(const void* from, size_t count, float* to) {
  const auto* bytes = static_cast<const unsigned char*>(from);
  for (size_t i = 0; i < count; ++i) {
    uint16_t half;
    std::memcpy(&half, bytes + 2 * i, 2);
    to[i] = Bf16ToFloat(half);
  }
}

inline void FloatsToF16(const float* from, size_t count, void* to) {
  auto* bytes = static_cast<unsigned char*>(to);
  for (size_t i = 0; i < count; ++i) {
    const uint16_t half = FloatToF16(from[i]);
    std::memcpy(bytes + 2 * i, &half, 2);
  }
}

inline void FloatsToBf16(const float* from, size_t count, void* to) {
  auto* bytes = static_cast<unsigned char*>(to);
  for (size_t i = 0; i < count; ++i) {
    const uint16_t half = FloatToBf16(from[i]);
    std::memcpy(bytes + 2 * i, &half, 2);
  }
}

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files and messages are little-endian, and so is the host");

}  // namespace lstmd

#endif  // LSTMD_ENGINE_HALF_H_
