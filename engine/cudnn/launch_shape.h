// SPDX-License-Identifier: Apache-2.0
//
// How a kernel's elements are laid over blocks and threads: one element a thread, 256 threads a block.
#ifndef LSTMD_ENGINE_CUDNN_LAUNCH_SHAPE_H_
#define LSTMD_ENGINE_CUDNN_LAUNCH_SHAPE_H_

#include <cstdint>

namespace lstmd::cudnn {

inline constexpr int kThreadsPerBlock = 256;

// REQUIRES: count >= 1 and at most 2^31 - 1 blocks' worth.
inline uint32_t BlocksFor(int64_t count) {
  return static_cast<uint32_t>((count + kThreadsPerBlock - 1) / kThreadsPerBlock);
}

}  // namespace lstmd::cudnn

#endif  // LSTMD_ENGINE_CUDNN_LAUNCH_SHAPE_H_
