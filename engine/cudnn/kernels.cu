// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime.h>

#include "engine/cudnn/kernel_bodies.h"
#include "engine/cudnn/kernels.h"
#include "engine/cudnn/launch_shape.h"

namespace lstmd::cudnn {
namespace {

template <typename Args>
__global__ void __launch_bounds__(kThreadsPerBlock) Kernel(const Args args) {
  const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (index < args.count()) Body(args, index);
}

}  // namespace

template <typename Args>
cudaError_t Launch(const Args& args, cudaStream_t stream) {
  if (args.count() == 0) return cudaSuccess;
  Kernel<Args><<<BlocksFor(args.count()), kThreadsPerBlock, 0, stream>>>(args);
  return cudaGetLastError();
}

template cudaError_t Launch<GatherArgs>(const GatherArgs&, cudaStream_t);
template cudaError_t Launch<CellArgs>(const CellArgs&, cudaStream_t);
template cudaError_t Launch<StoreHiddenArgs>(const StoreHiddenArgs&, cudaStream_t);
template cudaError_t Launch<MoveStateArgs>(const MoveStateArgs&, cudaStream_t);
template cudaError_t Launch<MergeArgs>(const MergeArgs&, cudaStream_t);
template cudaError_t Launch<HeadArgs>(const HeadArgs&, cudaStream_t);
template cudaError_t Launch<ConvertArgs>(const ConvertArgs&, cudaStream_t);

}  // namespace lstmd::cudnn
