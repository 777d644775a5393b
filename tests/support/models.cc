// SPDX-License-Identifier: Apache-2.0
#include "tests/support/models.h"

#include <random>

namespace lstmd::test {

std::vector<float> SeededFloats(uint64_t seed, size_t count, float scale) {
  std::mt19937_64 random(seed);
  std::vector<float> values(count);
  // std::uniform_real_distribution may differ between libraries; 24 bits of the generator do not.
  for (float& value : values) {
    value = scale * (static_cast<float>(random() >> 40) / static_cast<float>(1 << 23) - 1.0f);
  }
  return values;
}

Weights SeededWeights(const ModelSpec& spec, uint64_t seed) {
  constexpr float kScale = 0.5f;
  const auto next = [&](size_t count) { return FloatArray(SeededFloats(seed++, count, kScale)); };
  Weights weights;
  const size_t hidden = spec.hidden_size;
  for (uint32_t cell = 0; cell < spec.cells(); ++cell) {
    CellWeights& one = weights.cells.emplace_back();
    one.w = next(4 * hidden * spec.layer_input_size(cell / spec.directions()));
    one.r = next(4 * hidden * spec.hidden_state_size());
    if (spec.bias) one.bias = next(4 * hidden);
    if (spec.projection_size != 0) one.projection = next(hidden * spec.projection_size);
    if (spec.peepholes) one.peepholes = next(3 * hidden);
  }
  if (spec.head) {
    weights.head_weight = next(size_t{spec.head->output_size} * spec.layer_output_size());
    if (spec.head->bias) weights.head_bias = next(spec.head->output_size);
  }
  if (spec.learned_initial_state) {
    weights.initial_h = next(spec.h_size());
    weights.initial_c = next(spec.c_size());
  }
  return weights;
}

}  // namespace lstmd::test
