// SPDX-License-Identifier: Apache-2.0
//
// The GPU backend: weights and states in device memory, single steps as CUDA graphs over a slot-indexed cell path,
// sequences through cudnnRNNForward. Built into a plug-in of its own (plugin.cc), so that lstmd runs without CUDA.
#ifndef LSTMD_ENGINE_CUDNN_CUDNN_BACKEND_H_
#define LSTMD_ENGINE_CUDNN_CUDNN_BACKEND_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/backend.h"
#include "engine/cudnn/device_api.h"
#include "engine/cudnn/options.h"

namespace lstmd::cudnn {

// UNAVAILABLE / DEVICE_UNAVAILABLE when the GPU cannot be used. `device_name`: what device() answers. `api` outlives
// the backend.
absl::StatusOr<std::unique_ptr<Backend>> CreateCudnnBackend(const DeviceApi& api, const CudnnOptions& options,
                                                            std::string device_name);

}  // namespace lstmd::cudnn

#endif  // LSTMD_ENGINE_CUDNN_CUDNN_BACKEND_H_
