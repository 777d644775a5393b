// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_RANDOM_BITS_H_
#define LSTMD_ENGINE_RANDOM_BITS_H_

#include <cstdint>

namespace lstmd {

// For names that must not meet by chance; not for secrets. Fast, also where the machine's own source is slow. Any
// thread.
uint64_t RandomBits();

}  // namespace lstmd

#endif  // LSTMD_ENGINE_RANDOM_BITS_H_
