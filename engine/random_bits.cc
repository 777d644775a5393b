// SPDX-License-Identifier: Apache-2.0
#include "engine/random_bits.h"

#include <random>

namespace lstmd {

uint64_t RandomBits() {
  thread_local std::mt19937_64 generator = [] {
    std::random_device device;  // tens of microseconds a draw on some virtual machines: only to begin with
    std::seed_seq seed{device(), device(), device(), device(), device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }();
  return generator();
}

}  // namespace lstmd
