// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_CPU_ALIGNED_BUFFER_H_
#define LSTMD_ENGINE_CPU_ALIGNED_BUFFER_H_

#include <cstddef>
#include <cstdlib>
#include <memory>

namespace lstmd::cpu {

// Floats in a cache line and in the widest vector. Rows of states and scratch are padded to a multiple of it.
inline constexpr size_t kPad = 16;

constexpr size_t RoundUp(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }
constexpr size_t Padded(size_t n) { return RoundUp(n, kPad); }

// Uninitialised floats at a cache line's (or, when large, a huge page's) boundary. Never throws.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;

  // Room for at least `size` floats; the old contents are lost when it grows. False: no memory, nothing has changed.
  bool Reserve(size_t size);

  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> data_;
  size_t size_ = 0;
};

}  // namespace lstmd::cpu

#endif  // LSTMD_ENGINE_CPU_ALIGNED_BUFFER_H_
