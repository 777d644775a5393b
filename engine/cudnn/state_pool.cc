// SPDX-License-Identifier: Apache-2.0
#include "engine/cudnn/state_pool.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/errors.h"

namespace lstmd::cudnn {
namespace {

constexpr size_t kSlabBytes = size_t{16} << 20;

}  // namespace

CudnnStatePool::CudnnStatePool(const Device& device, const CudnnModel& model)
    : device_(device),
      initial_row_(model.initial_row()),
      row_size_(model.row_size()),
      slots_per_slab_(std::clamp<size_t>(kSlabBytes / (row_size_ * sizeof(float)), 16, 65536)) {}

float* CudnnStatePool::row(Slot slot) const {
  return slabs_[slot / slots_per_slab_]->as<float>() + slot % slots_per_slab_ * row_size_;
}

absl::StatusOr<Slot> CudnnStatePool::Allocate() {
  if (absl::Status status = device_.Enter(); !status.ok()) return status;
  Slot slot;
  {
    MutexLock lock(&mutex_);
    if (free_.empty()) {
      const size_t count = slab_count_.load(std::memory_order_relaxed);
      if (count == kMaxSlabs) return ResourceExhausted("DEVICE_MEMORY", "the model's state pool is at its largest");
      auto slab = std::make_unique<DeviceBuffer>(device_);
      if (absl::Status status = slab->Reserve(slots_per_slab_ * row_size_ * sizeof(float)); !status.ok()) return status;
      slabs_[count] = std::move(slab);
      slab_count_.store(count + 1, std::memory_order_release);
      for (size_t i = slots_per_slab_; i > 0; --i) free_.push_back(static_cast<Slot>(count * slots_per_slab_ + i - 1));
    }
    slot = free_.back();
    free_.pop_back();
  }
  if (absl::Status status = Reset(slot); !status.ok()) {
    Free(slot);
    return status;
  }
  return slot;
}

void CudnnStatePool::Free(Slot slot) {
  MutexLock lock(&mutex_);
  free_.push_back(slot);
}

absl::Status CudnnStatePool::Reset(Slot slot) {
  return device_.CopyNow(row(slot), initial_row_.data(), row_size_ * sizeof(float));
}

absl::Status CudnnStatePool::Read(Slot slot, absl::Span<float> h, absl::Span<float> c) const {
  if (absl::Status status = device_.CopyNow(h.data(), row(slot), h.size() * sizeof(float)); !status.ok()) return status;
  return device_.CopyNow(c.data(), row(slot) + h.size(), c.size() * sizeof(float));
}

absl::Status CudnnStatePool::Write(Slot slot, absl::Span<const float> h, absl::Span<const float> c) {
  // One copy, so that a failure leaves no half-written state.
  std::vector<float> image(h.begin(), h.end());
  image.insert(image.end(), c.begin(), c.end());
  return device_.CopyNow(row(slot), image.data(), image.size() * sizeof(float));
}

absl::Status CudnnStatePool::Copy(Slot from, Slot to) {
  return device_.CopyNow(row(to), row(from), row_size_ * sizeof(float));
}

uint64_t CudnnStatePool::pool_bytes() const {
  return slab_count_.load(std::memory_order_relaxed) * slots_per_slab_ * row_size_ * sizeof(float);
}

}  // namespace lstmd::cudnn
