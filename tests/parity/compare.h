// SPDX-License-Identifier: Apache-2.0
//
// Recorded results against answered ones.
#ifndef LSTMD_TESTS_PARITY_COMPARE_H_
#define LSTMD_TESTS_PARITY_COMPARE_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "tests/parity/case_file.h"
#include "tests/parity/wire.h"

namespace lstmd::parity {

struct Comparison {
  double absolute = 0;  // largest error over all recorded results
  double relative = 0;  // the same relative to what was recorded, where that is above the tolerance
  double rms = 0;       // root of the mean square error
  std::string mistake;  // "" if all is within the tolerance
};

// abs(got - want) <= atol + rtol * abs(want), NaN and infinities at the same places, the same shapes.
absl::StatusOr<Comparison> Compare(const Case& c, const std::map<std::string, Bytes>& got);

// Why 1 % larger weights cannot show in the recorded results (they are zero, saturated or NaN), or "". Computed from
// the weights by the oracle, so that a server which ignores the change is not excused.
absl::StatusOr<std::string> WhyInsensitive(const Case& c, float scale);

// Why what was recorded is a defect of the framework that a server must not repeat, or "".
std::string WhyFrameworkDefect(const Case& c);

// Why int8 weights turn a recorded infinity into a NaN, or "".
std::string WhyNotInt8(const Case& c);

}  // namespace lstmd::parity

#endif  // LSTMD_TESTS_PARITY_COMPARE_H_
