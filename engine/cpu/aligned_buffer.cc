// SPDX-License-Identifier: Apache-2.0
#include "engine/cpu/aligned_buffer.h"

#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace lstmd::cpu {
namespace {

constexpr size_t kCacheLine = 64;
constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

bool AlignedBuffer::Reserve(size_t size) {
  if (size <= size_) return true;
  if (size > SIZE_MAX / sizeof(float) - kHugePage) return false;
  // Weights are read from end to end in every step: with 4 KiB pages that is a TLB miss for every 64 lines.
  const bool huge = size * sizeof(float) >= kHugePage;
  const size_t alignment = huge ? kHugePage : kCacheLine;
  const size_t bytes = RoundUp(size * sizeof(float), alignment);
  void* memory = std::aligned_alloc(alignment, bytes);
  if (memory == nullptr) return false;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (huge) (void)madvise(memory, bytes, MADV_HUGEPAGE);  // only advice: without it all works, slower
#endif
  data_.reset(static_cast<float*>(memory));
  size_ = size;
  return true;
}

}  // namespace lstmd::cpu
