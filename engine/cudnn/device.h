// SPDX-License-Identifier: Apache-2.0
//
// One GPU: its handles and streams, its health, and memory on it.
#ifndef LSTMD_ENGINE_CUDNN_DEVICE_H_
#define LSTMD_ENGINE_CUDNN_DEVICE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/cudnn/device_api.h"
#include "engine/mutex.h"

namespace lstmd::cudnn {

// Thread safety: handles and run_stream belong to the thread that runs batches; everything else may be called from any.
class Device {
 public:
  // UNAVAILABLE / DEVICE_UNAVAILABLE with what is missing: no driver, no such device, a library that does not start.
  static absl::StatusOr<std::unique_ptr<Device>> Open(const DeviceApi& api, int index);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const DeviceApi& api() const { return api_; }
  int index() const { return index_; }
  const std::string& description() const { return description_; }
  cudaStream_t run_stream() const { return run_stream_; }
  cublasLtHandle_t blas() const { return blas_; }
  cudnnHandle_t dnn() const { return dnn_; }

  // Makes this device the calling thread's. Every entry from outside begins with it.
  absl::Status Enter() const;
  // Status of a call. Out of memory is RESOURCE_EXHAUSTED / DEVICE_MEMORY; an error that poisons the CUDA context marks
  // the device unhealthy for good and is INTERNAL / DEVICE_LOST; others are INTERNAL / DEVICE_ERROR.
  absl::Status Check(cudaError_t error, std::string_view what) const;
  absl::Status Check(cublasStatus_t status, std::string_view what) const;
  absl::Status Check(cudnnStatus_t status, std::string_view what) const;
  bool healthy() const { return healthy_.load(std::memory_order_relaxed); }

  // Host memory to device memory or back, whole when it returns; beside a running batch.
  absl::Status CopyNow(void* to, const void* from, size_t bytes) const ABSL_LOCKS_EXCLUDED(copy_mutex_);

 private:
  Device(const DeviceApi& api, int index) : api_(api), index_(index) {}
  absl::Status Start();

  const DeviceApi& api_;
  const int index_;
  std::string description_;
  cudaStream_t run_stream_ = nullptr;
  cudaStream_t copy_stream_ = nullptr;
  cublasLtHandle_t blas_ = nullptr;
  cudnnHandle_t dnn_ = nullptr;
  mutable Mutex copy_mutex_;
  mutable std::atomic<bool> healthy_{true};
};

// Device memory that grows to the largest size asked for. Old contents are lost when it grows.
class DeviceBuffer {
 public:
  explicit DeviceBuffer(const Device& device) : device_(&device) {}
  ~DeviceBuffer() { Release(); }
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : device_(other.device_), data_(other.data_), bytes_(other.bytes_), generation_(other.generation_) {
    other.data_ = nullptr;
    other.bytes_ = 0;
  }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  // On error the buffer is empty. REQUIRES: nothing in flight uses it.
  absl::Status Reserve(size_t bytes);
  absl::Status Upload(const void* from, size_t bytes);
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }
  // Changes whenever the address does: what was captured with the old one is stale.
  uint64_t generation() const { return generation_; }

 private:
  void Release();

  const Device* device_;
  void* data_ = nullptr;
  size_t bytes_ = 0;
  uint64_t generation_ = 0;
};

// Page-locked host memory, likewise.
class PinnedBuffer {
 public:
  explicit PinnedBuffer(const Device& device) : device_(&device) {}
  ~PinnedBuffer() { Release(); }
  PinnedBuffer(const PinnedBuffer&) = delete;
  PinnedBuffer& operator=(const PinnedBuffer&) = delete;

  absl::Status Reserve(size_t bytes);
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void Release();

  const Device* device_;
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace lstmd::cudnn

#endif  // LSTMD_ENGINE_CUDNN_DEVICE_H_
