// SPDX-License-Identifier: Apache-2.0
#include "engine/cpu/state_pool.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "absl/numeric/bits.h"
#include "absl/strings/str_cat.h"
#include "engine/cpu/aligned_buffer.h"
#include "engine/errors.h"

namespace lstmd::cpu {
namespace {

constexpr uint64_t kFirstSlabBytes = uint64_t{1} << 18;
constexpr int kMaxFirstSlabBits = 10;

}  // namespace

CpuStatePool::CpuStatePool(const PackedModel& model)
    : state_(model.spec.hidden_state_size()),
      hidden_(model.spec.hidden_size),
      initial_h_(model.initial_h),
      initial_c_(model.initial_c),
      cells_(model.spec.cells()),
      h_stride_(model.padded_state()),
      c_stride_(model.padded_hidden()),
      c_offset_(cells_ * h_stride_),
      slot_floats_(cells_ * (h_stride_ + c_stride_)) {
  while (first_slab_bits_ < kMaxFirstSlabBits && (slot_bytes() << (first_slab_bits_ + 1)) <= kFirstSlabBytes) {
    ++first_slab_bits_;
  }
}

CpuStatePool::~CpuStatePool() {
  for (std::atomic<float*>& slab : slabs_) std::free(slab.load(std::memory_order_relaxed));
}

uint64_t CpuStatePool::SlabSlots(size_t slab) const {
  return uint64_t{1} << (first_slab_bits_ + (slab == 0 ? 0 : slab - 1));
}

float* CpuStatePool::Address(Slot slot) const {
  const size_t slab = absl::bit_width(static_cast<uint32_t>(slot >> first_slab_bits_));
  const uint64_t first = slab == 0 ? 0 : SlabSlots(slab);
  return slabs_[slab].load(std::memory_order_acquire) + (slot - first) * slot_floats_;
}

absl::Status CpuStatePool::Grow() {
  const uint64_t slots = SlabSlots(num_slabs_);
  const uint64_t most = UINT64_MAX / (2 * slot_bytes());
  // aligned_alloc takes memory this large straight from the system: pages that no slot uses yet cost nothing.
  void* memory = slots > most || capacity_ + slots > kNoSlot
                     ? nullptr
                     : std::aligned_alloc(kPad * sizeof(float), slots * slot_bytes());
  if (memory == nullptr) {
    return ResourceExhausted("DEVICE_MEMORY",
                             absl::StrCat("no memory for the state of one more session on device cpu: ", capacity_,
                                          " slots of ", slot_bytes(), " bytes are in use"));
  }
  slabs_[num_slabs_].store(static_cast<float*>(memory), std::memory_order_release);
  ++num_slabs_;
  capacity_ += slots;
  return absl::OkStatus();
}

absl::StatusOr<Slot> CpuStatePool::Allocate() {
  Slot slot;
  {
    MutexLock lock(&mutex_);
    if (free_ != kNoSlot) {
      slot = free_;
      std::memcpy(&free_, Address(slot), sizeof(free_));
    } else {
      if (unused_ == capacity_) {
        absl::Status status = Grow();
        if (!status.ok()) return status;
      }
      slot = static_cast<Slot>(unused_++);
    }
  }
  absl::Status status = Reset(slot);
  if (!status.ok()) return status;
  return slot;
}

void CpuStatePool::Free(Slot slot) {
  MutexLock lock(&mutex_);
  std::memcpy(Address(slot), &free_, sizeof(free_));
  free_ = slot;
}

void CpuStatePool::SetToZeros(Slot slot) { std::fill_n(Address(slot), slot_floats_, 0.0f); }

absl::Status CpuStatePool::Reset(Slot slot) {
  SetToZeros(slot);
  if (initial_h_.empty()) return absl::OkStatus();
  return Write(slot, initial_h_, initial_c_);
}

absl::Status CpuStatePool::Read(Slot slot, absl::Span<float> h, absl::Span<float> c) const {
  if (h.size() != cells_ * state_ || c.size() != cells_ * hidden_) {
    return Internal("STATE_SIZE", absl::StrCat("state buffers: got ", h.size(), " and ", c.size(), " floats, want ",
                                               cells_ * state_, " and ", cells_ * hidden_));
  }
  for (size_t cell = 0; cell < cells_; ++cell) {
    std::copy_n(this->h(slot, cell), state_, h.data() + cell * state_);
    std::copy_n(this->c(slot, cell), hidden_, c.data() + cell * hidden_);
  }
  return absl::OkStatus();
}

absl::Status CpuStatePool::Write(Slot slot, absl::Span<const float> h, absl::Span<const float> c) {
  if (h.size() != cells_ * state_ || c.size() != cells_ * hidden_) {
    return Internal("STATE_SIZE", absl::StrCat("state: got ", h.size(), " and ", c.size(), " floats, want ",
                                               cells_ * state_, " and ", cells_ * hidden_));
  }
  for (size_t cell = 0; cell < cells_; ++cell) {
    std::copy_n(h.data() + cell * state_, state_, this->h(slot, cell));
    std::copy_n(c.data() + cell * hidden_, hidden_, this->c(slot, cell));
  }
  return absl::OkStatus();
}

absl::Status CpuStatePool::Copy(Slot from, Slot to) {
  std::copy_n(Address(from), slot_floats_, Address(to));
  return absl::OkStatus();
}

uint64_t CpuStatePool::pool_bytes() const {
  MutexLock lock(&mutex_);
  return capacity_ * slot_bytes();
}

}  // namespace lstmd::cpu
