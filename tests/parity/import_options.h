// SPDX-License-Identifier: Apache-2.0
//
// The checkpoints of a case, and what their files do not say.
#ifndef LSTMD_TESTS_PARITY_IMPORT_OPTIONS_H_
#define LSTMD_TESTS_PARITY_IMPORT_OPTIONS_H_

#include <string>
#include <vector>

#include "tests/parity/case_file.h"

namespace lstmd::parity {

// Those of the case's files that the framework wrote itself.
std::vector<std::string> Checkpoints(const Case& c);

// What a user adds to `lstmctl import FILE` for a checkpoint, knowing the layer it came from.
std::vector<std::string> ImportOptions(const Case& c, const std::string& file);

}  // namespace lstmd::parity

#endif  // LSTMD_TESTS_PARITY_IMPORT_OPTIONS_H_
