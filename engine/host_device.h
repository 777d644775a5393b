// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_HOST_DEVICE_H_
#define LSTMD_ENGINE_HOST_DEVICE_H_

// An inline function that CUDA kernels call as well; the same text is compiled for both.
#ifdef __CUDACC__
#define LSTMD_HD __host__ __device__ inline
#else
#define LSTMD_HD inline
#endif

#endif  // LSTMD_ENGINE_HOST_DEVICE_H_
