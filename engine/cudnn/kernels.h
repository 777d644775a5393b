// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_CUDNN_KERNELS_H_
#define LSTMD_ENGINE_CUDNN_KERNELS_H_

#include <cuda_runtime_api.h>

namespace lstmd::cudnn {

// Launches the kernel of `Args` (kernel_args.h) on `stream`, one element a thread. Defined in kernels.cu.
template <typename Args>
cudaError_t Launch(const Args& args, cudaStream_t stream);

}  // namespace lstmd::cudnn

#endif  // LSTMD_ENGINE_CUDNN_KERNELS_H_
