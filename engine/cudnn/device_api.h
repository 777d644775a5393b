// SPDX-License-Identifier: Apache-2.0
//
// Every call that the cuDNN backend makes to CUDA, cuBLASLt, cuDNN and its own kernels goes through one table of
// functions. The plug-in binds it to the real libraries (real_api.cc); tests bind it to an emulation that computes on
// the CPU and enforces the libraries' rules (tests/cudnn/emulation.h).
#ifndef LSTMD_ENGINE_CUDNN_DEVICE_API_H_
#define LSTMD_ENGINE_CUDNN_DEVICE_API_H_

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>

#include "engine/cudnn/kernel_args.h"

namespace lstmd::cudnn {

// X(name): one entry for each function, with the library's own name and type.
#define LSTMD_DEVICE_CALLS(X)                                                                                        \
  X(cudaGetDeviceCount)                                                                                              \
  X(cudaSetDevice)                                                                                                   \
  X(cudaGetDeviceProperties) X(cudaMalloc) X(cudaFree) X(cudaHostAlloc) X(cudaFreeHost) X(cudaMemcpyAsync)           \
      X(cudaMemsetAsync) X(cudaStreamCreateWithFlags) X(cudaStreamDestroy) X(cudaStreamSynchronize)                  \
          X(cudaGetErrorString) X(cudaStreamBeginCapture) X(cudaStreamEndCapture) X(cudaGraphInstantiateWithFlags)   \
              X(cudaGraphLaunch) X(cudaGraphDestroy) X(cudaGraphExecDestroy) X(cublasLtCreate) X(cublasLtDestroy)    \
                  X(cublasLtMatmulDescCreate) X(cublasLtMatmulDescDestroy) X(cublasLtMatmulDescSetAttribute)         \
                      X(cublasLtMatrixLayoutCreate) X(cublasLtMatrixLayoutDestroy) X(cublasLtMatmulPreferenceCreate) \
                          X(cublasLtMatmulPreferenceDestroy) X(cublasLtMatmulPreferenceSetAttribute)                 \
                              X(cublasLtMatmulAlgoGetHeuristic) X(cublasLtMatmul) X(cudnnCreate) X(cudnnDestroy)     \
                                  X(cudnnSetStream) X(cudnnGetErrorString) X(cudnnGetLastErrorString)                \
                                      X(cudnnCreateRNNDescriptor) X(cudnnDestroyRNNDescriptor)                       \
                                          X(cudnnSetRNNDescriptor_v8) X(cudnnCreateRNNDataDescriptor)                \
                                              X(cudnnDestroyRNNDataDescriptor) X(cudnnSetRNNDataDescriptor)          \
                                                  X(cudnnCreateTensorDescriptor) X(cudnnDestroyTensorDescriptor)     \
                                                      X(cudnnSetTensorNdDescriptor) X(cudnnGetRNNTempSpaceSizes)     \
                                                          X(cudnnGetRNNWeightSpaceSize) X(cudnnGetRNNWeightParams)   \
                                                              X(cudnnRNNForward)

struct DeviceApi {
#define LSTMD_DECLARE(name) decltype(&::name) name = nullptr;
  LSTMD_DEVICE_CALLS(LSTMD_DECLARE)
#undef LSTMD_DECLARE

  // Own kernels, launched on a stream. The element types of the arguments are in the args.
  cudaError_t (*launch_gather)(const GatherArgs&, cudaStream_t) = nullptr;
  cudaError_t (*launch_cell)(const CellArgs&, cudaStream_t) = nullptr;
  cudaError_t (*launch_store_hidden)(const StoreHiddenArgs&, cudaStream_t) = nullptr;
  cudaError_t (*launch_move_state)(const MoveStateArgs&, cudaStream_t) = nullptr;
  cudaError_t (*launch_merge)(const MergeArgs&, cudaStream_t) = nullptr;
  cudaError_t (*launch_head)(const HeadArgs&, cudaStream_t) = nullptr;
  cudaError_t (*launch_convert)(const ConvertArgs&, cudaStream_t) = nullptr;
};

// The real libraries, or nullptr functions where the plug-in was built without.
const DeviceApi& RealApi();

}  // namespace lstmd::cudnn

#endif  // LSTMD_ENGINE_CUDNN_DEVICE_API_H_
