// SPDX-License-Identifier: Apache-2.0
#include "engine/cudnn/device.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/errors.h"

namespace lstmd::cudnn {
namespace {

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

// After these the CUDA context is gone for the rest of the process.
bool IsSticky(cudaError_t error) {
  switch (error) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorECCUncorrectable:
    case cudaErrorDevicesUnavailable:
    case cudaErrorUnknown:
      return true;
    default:
      return false;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Device>> Device::Open(const DeviceApi& api, int index) {
  std::unique_ptr<Device> device(new Device(api, index));
  if (absl::Status status = device->Start(); !status.ok()) {
    return Unavailable("DEVICE_UNAVAILABLE",
                       absl::StrCat("cuda:", index, " cannot be used: ", absl::string_view(status.message())))
        .With("device", absl::StrCat("cuda:", index));
  }
  return device;
}

absl::Status Device::Start() {
  int count = 0;
  if (absl::Status status = Check(api_.cudaGetDeviceCount(&count), "looking for GPUs"); !status.ok()) return status;
  if (index_ < 0 || index_ >= count) {
    return Unavailable("DEVICE_UNAVAILABLE", absl::StrCat("got device ", index_, ", want one of ", count, " devices"));
  }
  if (absl::Status status = Enter(); !status.ok()) return status;
  cudaDeviceProp properties;
  if (absl::Status status = Check(api_.cudaGetDeviceProperties(&properties, index_), "reading its properties");
      !status.ok()) {
    return status;
  }
  if (properties.major < 8) {
    return Unavailable("DEVICE_UNAVAILABLE", absl::StrCat("compute capability: got ", properties.major, ".",
                                                          properties.minor, ", want 8.0 or newer"));
  }
  description_ = absl::StrCat(properties.name, ", ", properties.totalGlobalMem >> 20, " MiB, compute capability ",
                              properties.major, ".", properties.minor);
  absl::Status status = Check(api_.cudaStreamCreateWithFlags(&run_stream_, cudaStreamNonBlocking), "making a stream");
  if (status.ok()) {
    status = Check(api_.cudaStreamCreateWithFlags(&copy_stream_, cudaStreamNonBlocking), "making a stream");
  }
  if (status.ok()) status = Check(api_.cublasLtCreate(&blas_), "starting cuBLASLt");
  if (status.ok()) status = Check(api_.cudnnCreate(&dnn_), "starting cuDNN");
  if (status.ok()) status = Check(api_.cudnnSetStream(dnn_, run_stream_), "giving cuDNN its stream");
  return status;
}

Device::~Device() {
  if (dnn_ != nullptr) api_.cudnnDestroy(dnn_);
  if (blas_ != nullptr) api_.cublasLtDestroy(blas_);
  if (copy_stream_ != nullptr) api_.cudaStreamDestroy(copy_stream_);
  if (run_stream_ != nullptr) api_.cudaStreamDestroy(run_stream_);
}

absl::Status Device::Enter() const { return Check(api_.cudaSetDevice(index_), "choosing the device"); }

absl::Status Device::Check(cudaError_t error, std::string_view what) const {
  if (error == cudaSuccess) return absl::OkStatus();
  const std::string message = absl::StrCat(View(what), ": ", api_.cudaGetErrorString(error));
  if (error == cudaErrorMemoryAllocation) {
    return ResourceExhausted("DEVICE_MEMORY", message).Quota(absl::StrCat("device:cuda:", index_));
  }
  if (IsSticky(error)) {
    healthy_.store(false, std::memory_order_relaxed);
    return Internal("DEVICE_LOST", message).With("device", absl::StrCat("cuda:", index_));
  }
  return Internal("DEVICE_ERROR", message).With("device", absl::StrCat("cuda:", index_));
}

absl::Status Device::Check(cublasStatus_t status, std::string_view what) const {
  if (status == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
  const std::string message = absl::StrCat(View(what), ": cuBLASLt status ", static_cast<int>(status));
  if (status == CUBLAS_STATUS_ALLOC_FAILED) return ResourceExhausted("DEVICE_MEMORY", message);
  return Internal("DEVICE_ERROR", message).With("device", absl::StrCat("cuda:", index_));
}

absl::Status Device::Check(cudnnStatus_t status, std::string_view what) const {
  if (status == CUDNN_STATUS_SUCCESS) return absl::OkStatus();
  char detail[256] = "";
  api_.cudnnGetLastErrorString(detail, sizeof detail);
  const std::string message =
      absl::StrCat(View(what), ": ", api_.cudnnGetErrorString(status), detail[0] != '\0' ? ", " : "", detail);
  if (status == CUDNN_STATUS_ALLOC_FAILED) return ResourceExhausted("DEVICE_MEMORY", message);
  return Internal("DEVICE_ERROR", message).With("device", absl::StrCat("cuda:", index_));
}

absl::Status Device::CopyNow(void* to, const void* from, size_t bytes) const {
  if (absl::Status status = Enter(); !status.ok()) return status;
  MutexLock lock(&copy_mutex_);
  absl::Status status =
      Check(api_.cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, copy_stream_), "copying to or from the device");
  if (!status.ok()) return status;
  return Check(api_.cudaStreamSynchronize(copy_stream_), "copying to or from the device");
}

absl::Status DeviceBuffer::Reserve(size_t bytes) {
  if (bytes <= bytes_) return absl::OkStatus();
  // Half as much again, so that slowly growing batches do not allocate every time.
  const size_t wanted = std::max(bytes, bytes_ + bytes_ / 2);
  Release();
  ++generation_;
  absl::Status status = device_->Check(device_->api().cudaMalloc(&data_, wanted), "allocating device memory");
  if (!status.ok()) {
    data_ = nullptr;
    return status;
  }
  bytes_ = wanted;
  return status;
}

absl::Status DeviceBuffer::Upload(const void* from, size_t bytes) {
  if (absl::Status status = Reserve(bytes); !status.ok()) return status;
  return bytes == 0 ? absl::OkStatus() : device_->CopyNow(data_, from, bytes);
}

void DeviceBuffer::Release() {
  if (data_ != nullptr) device_->api().cudaFree(data_);
  data_ = nullptr;
  bytes_ = 0;
}

absl::Status PinnedBuffer::Reserve(size_t bytes) {
  if (bytes <= bytes_) return absl::OkStatus();
  const size_t wanted = std::max(bytes, bytes_ + bytes_ / 2);
  Release();
  absl::Status status =
      device_->Check(device_->api().cudaHostAlloc(&data_, wanted, cudaHostAllocDefault), "allocating pinned memory");
  if (!status.ok()) {
    data_ = nullptr;
    return status;
  }
  bytes_ = wanted;
  return status;
}

void PinnedBuffer::Release() {
  if (data_ != nullptr) device_->api().cudaFreeHost(data_);
  data_ = nullptr;
  bytes_ = 0;
}

}  // namespace lstmd::cudnn
