// SPDX-License-Identifier: Apache-2.0
//
// Small models with seeded random weights, for tests that need any model at all.
#ifndef LSTMD_TESTS_SUPPORT_MODELS_H_
#define LSTMD_TESTS_SUPPORT_MODELS_H_

#include <cstdint>
#include <vector>

#include "engine/spec.h"
#include "engine/weights.h"

namespace lstmd::test {

// Uniform in [-scale, scale]; the same for the same seed on every machine.
std::vector<float> SeededFloats(uint64_t seed, size_t count, float scale);

// Every array that `spec` has.
Weights SeededWeights(const ModelSpec& spec, uint64_t seed);

}  // namespace lstmd::test

#endif  // LSTMD_TESTS_SUPPORT_MODELS_H_
