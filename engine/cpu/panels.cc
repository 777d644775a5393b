// SPDX-License-Identifier: Apache-2.0
#include "engine/cpu/panels.h"

#include <algorithm>
#include <cmath>

#include "engine/half.h"

namespace lstmd::cpu {
namespace {

// Weights of a matrix that come from a near enough cache in each step.
constexpr size_t kNearBytes = size_t{8} << 20;
// k whose place in a panel stays in the cache while one row after the other is put there.
constexpr size_t kBlock = 32;

// Calls store(i, k, weight) for row i and column k of a matrix, a block of columns of all rows before the next.
template <typename Store>
void ForEach(const float* matrix, size_t rows, size_t depth, const Store& store) {
  for (size_t begin = 0; begin < depth; begin += kBlock) {
    const size_t end = std::min(depth, begin + kBlock);
    for (size_t i = 0; i < rows; ++i) {
      for (size_t k = begin; k < end; ++k) store(i, k, matrix[i * depth + k]);
    }
  }
}

// Largest magnitude of a row, NaN or infinity if it has one.
float Magnitude(const float* row, size_t size) {
  float most = 0;
  for (size_t k = 0; k < size; ++k) {
    const float magnitude = std::abs(row[k]);
    if (!(magnitude <= most)) most = magnitude;
    if (std::isnan(magnitude)) return magnitude;
  }
  return most;
}

}  // namespace

WeightFormat FormatOf(Precision precision) {
  switch (precision) {
    case Precision::kBf16Weights:
      return WeightFormat::kBf16;
    case Precision::kInt8Weights:
      return WeightFormat::kInt8;
    case Precision::kBf16:
      return WeightFormat::kBf16Dot;
    default:
      return WeightFormat::kF32;
  }
}

size_t Panels::half_bytes(size_t half) const {
  switch (format) {
    case WeightFormat::kF32:
      return depth[half] * width() * sizeof(float);
    case WeightFormat::kInt8:
      return depth[half] * width();
    default:
      return (depth[half] + 1) / 2 * width() * sizeof(uint32_t);
  }
}

bool Panels::Reserve() {
  far = weight_bytes() > kNearBytes;
  if (!weights.Reserve(RoundUp(weight_bytes(), sizeof(float)) / sizeof(float)) || !bias.Reserve(count * width())) {
    return false;
  }
  std::fill_n(bias.data(), bias.size(), 0.0f);
  if (format != WeightFormat::kInt8) return true;
  if (!scales.Reserve(2 * count * width())) return false;
  std::fill_n(scales.data(), scales.size(), 0.0f);
  return true;
}

void Panels::Clear(size_t panel) { std::fill_n(half(panel, 0), panel_bytes(), uint8_t{0}); }

bool Panels::Pack(size_t panel, size_t which, size_t lane, const float* matrix, size_t rows) {
  const size_t size = depth[which];
  const size_t stride = width();
  uint8_t* const to = half(panel, which);
  switch (format) {
    case WeightFormat::kF32: {
      auto* const floats = reinterpret_cast<float*>(to) + lane;
      ForEach(matrix, rows, size, [=](size_t i, size_t k, float w) { floats[k * stride + i] = w; });
      return true;
    }
    case WeightFormat::kBf16:
    case WeightFormat::kBf16Dot: {
      auto* const halves = reinterpret_cast<uint16_t*>(to) + 2 * lane;
      ForEach(matrix, rows, size,
              [=](size_t i, size_t k, float w) { halves[2 * (k / 2 * stride + i) + k % 2] = FloatToBf16(w); });
      for (size_t i = 0; size % 2 != 0 && i < rows; ++i) halves[2 * (size / 2 * stride + i) + 1] = 0;
      return true;
    }
    case WeightFormat::kInt8: {
      float* const scale = scales.data() + (2 * panel + which) * stride + lane;
      float inverse[64];
      for (size_t i = 0; i < rows; ++i) {
        const float magnitude = Magnitude(matrix + i * size, size);
        if (!std::isfinite(magnitude)) return false;
        scale[i] = magnitude / 127;
        // A row this small is as good as zero, and its scale has lost bits.
        if (!std::isnormal(scale[i])) scale[i] = 0;
        inverse[i] = scale[i] == 0 ? 0 : 1 / scale[i];
      }
      auto* const bytes = reinterpret_cast<int8_t*>(to) + lane;
      ForEach(matrix, rows, size, [&](size_t i, size_t k, float w) {
        bytes[k * stride + i] = static_cast<int8_t>(std::clamp(std::nearbyint(w * inverse[i]), -127.0f, 127.0f));
      });
      return true;
    }
  }
  return true;
}

}  // namespace lstmd::cpu
