// SPDX-License-Identifier: Apache-2.0
//
// What the machine could do at best, measured in the same run as what it is compared with.
#ifndef LSTMD_TESTS_BENCH_LIMITS_H_
#define LSTMD_TESTS_BENCH_LIMITS_H_

#include <cstddef>

namespace lstmd::bench {

// f32 FLOP/s of fused multiply-adds in registers, on `threads` threads.
double FmaPeak(int threads);
// The same of products of bfloat16 pairs, or of the above where the machine has no instruction for them.
double Bf16Peak(int threads);

// Bytes/s of reading `bytes` of memory over and over, each thread its own part.
double ReadBandwidth(size_t bytes, int threads);

}  // namespace lstmd::bench

#endif  // LSTMD_TESTS_BENCH_LIMITS_H_
