// SPDX-License-Identifier: Apache-2.0
//
// What one batch sends to the device, in one copy: input, addresses of state rows, indices.
#ifndef LSTMD_ENGINE_CUDNN_UPLOAD_H_
#define LSTMD_ENGINE_CUDNN_UPLOAD_H_

#include <cstddef>
#include <cstdint>

#include "engine/cudnn/batch_plan.h"
#include "engine/cudnn/state_pool.h"

namespace lstmd::cudnn {

// Addresses on the device.
struct BatchUpload {
  const float* x = nullptr;                  // [total, I]
  const float* const* read = nullptr;        // [batch] slots' rows, null for padding
  float* const* slots = nullptr;             // [batch] the same, to write
  float* const* stage = nullptr;             // [batch] rows of the stage
  const int32_t* reversed = nullptr;         // [total]
  const int32_t* wanted_forward = nullptr;   // [wanted]
  const int32_t* wanted_backward = nullptr;  // [wanted]
};

// The layout for given sizes is always the same, so that a captured graph finds everything where it was.
class UploadLayout {
 public:
  UploadLayout(const ModelSpec& spec, int32_t total, int32_t batch, int32_t wanted);

  size_t bytes() const { return bytes_; }
  // Writes the batch to `host`. `stage`: device address of the stage, rows of `row_size` floats.
  void Fill(const ModelSpec& spec, const BatchPlan& plan, const CudnnStatePool& pool, float* stage, int32_t row_size,
            char* host) const;
  BatchUpload At(char* device) const;

 private:
  int32_t total_, batch_, wanted_;
  size_t x_, slots_, stage_, reversed_, forward_, backward_, bytes_;
};

}  // namespace lstmd::cudnn

#endif  // LSTMD_ENGINE_CUDNN_UPLOAD_H_
