// SPDX-License-Identifier: Apache-2.0
//
// States of sessions in main memory. A slot is one block of floats: h of every cell, each padded to Padded(P or H),
// then c of every cell, each padded to Padded(H). Slab k > 0 has as many slots as all before it together, so the
// address of a slot follows from its number by a shift, and nothing ever moves.
#ifndef LSTMD_ENGINE_CPU_STATE_POOL_H_
#define LSTMD_ENGINE_CPU_STATE_POOL_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "engine/backend.h"
#include "engine/cpu/packed_weights.h"
#include "engine/mutex.h"

namespace lstmd::cpu {

class CpuStatePool : public StatePool {
 public:
  explicit CpuStatePool(const PackedModel& model);
  ~CpuStatePool() override;

  absl::StatusOr<Slot> Allocate() override;
  void Free(Slot slot) override;
  absl::Status Reset(Slot slot) override;
  absl::Status Read(Slot slot, absl::Span<float> h, absl::Span<float> c) const override;
  absl::Status Write(Slot slot, absl::Span<const float> h, absl::Span<const float> c) override;
  absl::Status Copy(Slot from, Slot to) override;
  uint64_t slot_bytes() const override { return slot_floats_ * sizeof(float); }
  uint64_t pool_bytes() const override;

  // Of one cell, at a cache line's boundary. REQUIRES: as the calls above.
  float* h(Slot slot, size_t cell) const { return Address(slot) + cell * h_stride_; }
  float* c(Slot slot, size_t cell) const { return Address(slot) + c_offset_ + cell * c_stride_; }
  void SetToZeros(Slot slot);

 private:
  static constexpr size_t kMaxSlabs = 33;

  float* Address(Slot slot) const;
  uint64_t SlabSlots(size_t slab) const;
  absl::Status Grow() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t state_;                  // P or H
  const size_t hidden_;                 // H
  const std::vector<float> initial_h_;  // empty: zeros
  const std::vector<float> initial_c_;
  const size_t cells_;
  const size_t h_stride_;
  const size_t c_stride_;
  const size_t c_offset_;
  const size_t slot_floats_;
  int first_slab_bits_ = 0;  // the first slab has 1 << first_slab_bits_ slots

  // Written once each, before a slot in it is handed out; the release pairs with the acquire in Address.
  std::array<std::atomic<float*>, kMaxSlabs> slabs_{};

  mutable Mutex mutex_;
  size_t num_slabs_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t unused_ ABSL_GUARDED_BY(mutex_) = 0;    // the lowest slot never handed out
  uint64_t capacity_ ABSL_GUARDED_BY(mutex_) = 0;  // slots in all slabs
  Slot free_ ABSL_GUARDED_BY(mutex_) = kNoSlot;    // a list through the first word of each free slot
};

}  // namespace lstmd::cpu

#endif  // LSTMD_ENGINE_CPU_STATE_POOL_H_
