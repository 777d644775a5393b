// SPDX-License-Identifier: Apache-2.0
//
// What an LSTM computes, in double precision and plain loops, straight from engine/spec.h: what backends are compared
// with. Weights, and with BF16 what they are multiplied with, are rounded as the spec's precision says (but for F16);
// everything else is exact. Linked only into tests.
#ifndef LSTMD_TESTS_SUPPORT_ORACLE_H_
#define LSTMD_TESTS_SUPPORT_ORACLE_H_

#include <cstdint>
#include <vector>

#include "engine/spec.h"
#include "engine/weights.h"

namespace lstmd::test {

struct OracleInput {
  uint32_t steps = 0;
  std::vector<float> input;   // [T, I]
  std::vector<uint8_t> mask;  // [T], empty: all are valid
  std::vector<float> h;       // [L*D, P or H], empty: the model's initial state
  std::vector<float> c;       // [L*D, H]
};

struct OracleResult {
  std::vector<double> all;    // [T, O]
  std::vector<double> last;   // [O], see lstmd.v1.OutputMode
  std::vector<double> final;  // [O]
  std::vector<double> h;      // [L*D, P or H]
  std::vector<double> c;      // [L*D, H]
};

double Activate(const Activation& activation, double x);

OracleResult RunOracle(const ModelSpec& spec, const Weights& weights, const OracleInput& input);

}  // namespace lstmd::test

#endif  // LSTMD_TESTS_SUPPORT_ORACLE_H_
