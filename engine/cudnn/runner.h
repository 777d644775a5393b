// SPDX-License-Identifier: Apache-2.0
//
// Runs planned batches of one model. Two paths lead through a batch, both from packed input to packed output:
//   cells   for each layer, direction and step: gather [x, h], one matrix product with [W|R], one cell kernel. Computes
//           every spec; for single steps the whole sequence of calls is captured as a CUDA graph per batch bucket.
//   rnn     cudnnRNNForward over the whole slice, where cuDNN knows the spec (rnn_path.h).
// New states are made beside the slots and moved into them by the last call, so that a batch that fails on the way has
// changed nothing.
#ifndef LSTMD_ENGINE_CUDNN_RUNNER_H_
#define LSTMD_ENGINE_CUDNN_RUNNER_H_

#include <map>
#include <memory>

#include "engine/cudnn/batch_plan.h"
#include "engine/cudnn/gemm.h"
#include "engine/cudnn/options.h"
#include "engine/cudnn/rnn_path.h"
#include "engine/cudnn/state_pool.h"
#include "engine/cudnn/upload.h"

namespace lstmd::cudnn {

// Thread safety: one thread at a time.
class Runner {
 public:
  Runner(const Device& device, const CudnnModel& model, const CudnnOptions& options);
  ~Runner();

  // As Backend::Run.
  absl::Status Run(CudnnStatePool& pool, absl::Span<Row* const> rows);

 private:
  // What EnqueueCells reads: sizes, and where the upload lies on the device.
  struct Shape {
    const BatchPlan* plan = nullptr;
    int32_t batch = 0;   // rows, padding to the bucket included
    int32_t wanted = 0;  // outputs, likewise
    BatchUpload on_device;
    int32_t active(int32_t step) const { return step == 0 ? batch : plan->active[step]; }
    int32_t total() const { return plan->total() + batch - plan->batch(); }
  };
  // Packed outputs of the top layer: one float32 row of `stride` a step, the backward half at `backward`.
  struct TopOutput {
    const float* forward = nullptr;
    const float* backward = nullptr;
    int32_t stride = 0;
  };
  struct Graph;

  bool UseRnn(const BatchPlan& plan) const;
  absl::Status Upload(const BatchPlan& plan, CudnnStatePool& pool, Shape* shape);
  absl::Status Reserve(const Shape& shape);
  absl::Status RunGraph(const Shape& shape);
  absl::Status EnqueueCells(const Shape& shape);
  absl::Status EnqueueCell(const Shape& shape, uint32_t layer, uint32_t d, const float* x, int32_t step, float* y);
  absl::Status EnqueueOutputs(const Shape& shape, const TopOutput& top);
  absl::Status EnqueueMove(const Shape& shape);
  absl::Status Finish(const Shape& shape, CudnnStatePool& pool);
  uint64_t Generation() const;

  const Device& device_;
  const CudnnModel& model_;
  const CudnnOptions options_;
  const int32_t features_;  // of the top layer's output
  Gemm gemm_;
  std::unique_ptr<RnnPath> rnn_;
  PinnedBuffer pinned_in_, pinned_out_;
  DeviceBuffer in_;                                   // what Upload sends
  DeviceBuffer stage_;                                // [batch, state row]: the new states
  DeviceBuffer operand_;                              // [batch or wanted, widest K] of the element type
  DeviceBuffer gates_;                                // [batch, 4H]
  DeviceBuffer unprojected_;                          // [batch, H] of the element type
  DeviceBuffer hidden_;                               // [batch, P]
  DeviceBuffer y_[2];                                 // [total, P or H]: directions, or layers in turn
  DeviceBuffer merged_;                               // [total, features]
  DeviceBuffer features_out_;                         // [wanted, features]
  DeviceBuffer out_;                                  // [wanted, O], only with a head
  std::map<int32_t, std::unique_ptr<Graph>> graphs_;  // by bucket
};

}  // namespace lstmd::cudnn

#endif  // LSTMD_ENGINE_CUDNN_RUNNER_H_
