// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_CUDNN_STATE_POOL_H_
#define LSTMD_ENGINE_CUDNN_STATE_POOL_H_

#include <array>
#include <atomic>
#include <memory>
#include <vector>

#include "engine/backend.h"
#include "engine/cudnn/device_weights.h"
#include "engine/mutex.h"

namespace lstmd::cudnn {

// State rows in device memory, in slabs that double in number but not in place: a row's address never changes.
class CudnnStatePool final : public StatePool {
 public:
  CudnnStatePool(const Device& device, const CudnnModel& model);

  absl::StatusOr<Slot> Allocate() override ABSL_LOCKS_EXCLUDED(mutex_);
  void Free(Slot slot) override ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Reset(Slot slot) override;
  absl::Status Read(Slot slot, absl::Span<float> h, absl::Span<float> c) const override;
  absl::Status Write(Slot slot, absl::Span<const float> h, absl::Span<const float> c) override;
  absl::Status Copy(Slot from, Slot to) override;
  uint64_t slot_bytes() const override { return uint64_t{row_size_} * sizeof(float); }
  uint64_t pool_bytes() const override;

  // Device address of a slot's state row. REQUIRES: the slot is allocated.
  float* row(Slot slot) const;

 private:
  static constexpr size_t kMaxSlabs = 4096;

  const Device& device_;
  const std::vector<float> initial_row_;
  const size_t row_size_;
  const size_t slots_per_slab_;
  mutable Mutex mutex_;
  std::vector<Slot> free_ ABSL_GUARDED_BY(mutex_);
  // Slabs are published by the counter: row() reads them without the lock.
  std::array<std::unique_ptr<DeviceBuffer>, kMaxSlabs> slabs_;
  std::atomic<size_t> slab_count_{0};
};

}  // namespace lstmd::cudnn

#endif  // LSTMD_ENGINE_CUDNN_STATE_POOL_H_
