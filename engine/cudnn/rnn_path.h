// SPDX-License-Identifier: Apache-2.0
//
// A packed batch through cudnnRNNForward.
#ifndef LSTMD_ENGINE_CUDNN_RNN_PATH_H_
#define LSTMD_ENGINE_CUDNN_RNN_PATH_H_

#include <list>
#include <memory>
#include <vector>

#include "engine/cudnn/batch_plan.h"
#include "engine/cudnn/descriptors.h"
#include "engine/cudnn/device_weights.h"
#include "engine/cudnn/upload.h"

namespace lstmd::cudnn {

// Thread safety: one thread at a time. REQUIRES: model.has_rnn().
class RnnPath {
 public:
  RnnPath(const Device& device, const CudnnModel& model, bool allow_tf32);
  ~RnnPath();

  // Enqueues everything but the move of the new states into the slots.
  // On success *y is the packed float32 output [total, D * (P or H)], valid until the next call.
  absl::Status Enqueue(const BatchPlan& plan, const BatchUpload& upload, const float** y);
  // Enqueues that move.
  absl::Status EnqueueMove(const BatchPlan& plan, const BatchUpload& upload);

 private:
  // Descriptors and sizes for one list of lengths.
  struct Plan;

  absl::StatusOr<Plan*> FindPlan(const BatchPlan& plan);
  absl::Status MakePlan(const std::vector<int>& lengths, cudnnRNNAlgo_t algorithm, Plan* plan);
  MoveStateArgs StateArgs(const BatchPlan& plan) const;

  const Device& device_;
  const CudnnModel& model_;
  const bool allow_tf32_;
  DeviceBuffer workspace_;
  DeviceBuffer x_;                            // [total, I] of the element type, unless that is float32
  DeviceBuffer y_;                            // [total, D*S] of the element type
  DeviceBuffer y_wide_;                       // the same in float32, unless that is the element type
  DeviceBuffer h_in_, c_in_, h_out_, c_out_;  // [L*D, batch, S or H] of the element type
  std::list<std::unique_ptr<Plan>> plans_;    // most recently used first
};

}  // namespace lstmd::cudnn

#endif  // LSTMD_ENGINE_CUDNN_RNN_PATH_H_
