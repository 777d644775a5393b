// SPDX-License-Identifier: Apache-2.0
//
// Memory, streams and graphs of the emulation.
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <set>

#include "engine/mutex.h"
#include "tests/cudnn/emulation.h"

namespace lstmd::cudnn {
namespace {

using emulation::Enter;
using emulation::Violate;
using Operation = std::function<void()>;

struct Stream {
  std::deque<Operation> pending;
};

struct Graph {
  std::vector<Operation> operations;
};

struct Machine {
  Mutex mutex;
  std::map<const char*, size_t> device_memory ABSL_GUARDED_BY(mutex);
  std::map<const char*, size_t> pinned_memory ABSL_GUARDED_BY(mutex);
  size_t used ABSL_GUARDED_BY(mutex) = 0;
  size_t limit ABSL_GUARDED_BY(mutex) = 0;
  std::set<Stream*> streams ABSL_GUARDED_BY(mutex);
  Stream* capturing ABSL_GUARDED_BY(mutex) = nullptr;
  std::unique_ptr<Graph> captured ABSL_GUARDED_BY(mutex);
  // Held while operations run: the emulated device does one thing at a time.
  Mutex running ABSL_ACQUIRED_BEFORE(mutex);
};

Machine& Gpu() {
  static auto* machine = new Machine;
  return *machine;
}

// The thread that captures: like cudaStreamCaptureModeThreadLocal, others may do as they like.
thread_local bool capturing_thread = false;

bool Contains(const std::map<const char*, size_t>& memory, const void* address, size_t bytes) {
  const char* begin = static_cast<const char*>(address);
  auto next = memory.upper_bound(begin);
  if (next == memory.begin()) return false;
  --next;
  return begin + bytes <= next->first + next->second;
}

#define LSTMD_ENTER(function)                               \
  if (const auto entered = Enter(function); entered.fail) { \
    return static_cast<cudaError_t>(entered.error);         \
  }
#define LSTMD_NOT_IN_CAPTURE(function)        \
  if (capturing_thread) {                     \
    Violate(function " during capture");      \
    return cudaErrorStreamCaptureUnsupported; \
  }

void Drain(Stream* stream) {
  Machine& gpu = Gpu();
  MutexLock running(&gpu.running);
  while (true) {
    Operation next;
    {
      MutexLock lock(&gpu.mutex);
      if (gpu.streams.count(stream) == 0 || stream->pending.empty()) return;
      next = std::move(stream->pending.front());
      stream->pending.pop_front();
    }
    next();
  }
}

void DrainAll() {
  std::set<Stream*> streams;
  {
    MutexLock lock(&Gpu().mutex);
    streams = Gpu().streams;
  }
  for (Stream* stream : streams) Drain(stream);
}

cudaError_t GetDeviceCount(int* count) {
  LSTMD_ENTER("cudaGetDeviceCount");
  *count = 1;
  return cudaSuccess;
}

cudaError_t SetDevice(int device) {
  LSTMD_ENTER("cudaSetDevice");
  return device == 0 ? cudaSuccess : cudaErrorInvalidDevice;
}

cudaError_t GetDeviceProperties(cudaDeviceProp* properties, int) {
  LSTMD_ENTER("cudaGetDeviceProperties");
  *properties = {};
  std::strncpy(properties->name, "Emulated GPU", sizeof properties->name - 1);
  properties->major = 9;
  properties->totalGlobalMem = size_t{8} << 30;
  return cudaSuccess;
}

cudaError_t Malloc(void** address, size_t bytes) {
  LSTMD_ENTER("cudaMalloc");
  LSTMD_NOT_IN_CAPTURE("cudaMalloc");
  MutexLock lock(&Gpu().mutex);
  if (Gpu().limit != 0 && Gpu().used + bytes > Gpu().limit) return cudaErrorMemoryAllocation;
  *address = std::malloc(bytes);
  std::memset(*address, 0xff, bytes);  // fresh device memory is not zero: NaN shows what reads it
  Gpu().device_memory[static_cast<char*>(*address)] = bytes;
  Gpu().used += bytes;
  emulation::ObjectMade();
  return cudaSuccess;
}

cudaError_t Free(void* address) {
  LSTMD_ENTER("cudaFree");
  LSTMD_NOT_IN_CAPTURE("cudaFree");
  if (address == nullptr) return cudaSuccess;
  DrainAll();  // the real one waits for the device, too
  MutexLock lock(&Gpu().mutex);
  const auto found = Gpu().device_memory.find(static_cast<char*>(address));
  if (found == Gpu().device_memory.end()) {
    Violate("cudaFree of what cudaMalloc did not give");
    return cudaErrorInvalidValue;
  }
  Gpu().used -= found->second;
  Gpu().device_memory.erase(found);
  std::free(address);
  emulation::ObjectGone();
  return cudaSuccess;
}

cudaError_t HostAlloc(void** address, size_t bytes, unsigned) {
  LSTMD_ENTER("cudaHostAlloc");
  LSTMD_NOT_IN_CAPTURE("cudaHostAlloc");
  *address = std::malloc(bytes);
  MutexLock lock(&Gpu().mutex);
  Gpu().pinned_memory[static_cast<char*>(*address)] = bytes;
  emulation::ObjectMade();
  return cudaSuccess;
}

cudaError_t FreeHost(void* address) {
  LSTMD_ENTER("cudaFreeHost");
  DrainAll();
  MutexLock lock(&Gpu().mutex);
  if (Gpu().pinned_memory.erase(static_cast<char*>(address)) == 0) {
    Violate("cudaFreeHost of what cudaHostAlloc did not give");
    return cudaErrorInvalidValue;
  }
  std::free(address);
  emulation::ObjectGone();
  return cudaSuccess;
}

cudaError_t MemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  LSTMD_ENTER("cudaMemcpyAsync");
  bool from_device, from_pinned, to_device;
  {
    MutexLock lock(&Gpu().mutex);
    from_device = Contains(Gpu().device_memory, from, bytes);
    from_pinned = Contains(Gpu().pinned_memory, from, bytes);
    to_device = Contains(Gpu().device_memory, to, bytes);
  }
  if ((kind == cudaMemcpyHostToDevice && (!to_device || from_device)) ||
      (kind == cudaMemcpyDeviceToHost && (!from_device || to_device)) || (!to_device && !from_device)) {
    Violate("cudaMemcpyAsync: an address is not where its kind says, or reaches out of its allocation");
    return cudaErrorInvalidValue;
  }
  Operation copy = [=] { std::memcpy(to, from, bytes); };
  if (!from_device && !from_pinned) {  // pageable memory is read at once
    const auto* begin = static_cast<const char*>(from);
    copy = [to, content = std::vector<char>(begin, begin + bytes)] { std::memcpy(to, content.data(), content.size()); };
  }
  return emulation::Enqueue(stream, std::move(copy)) ? cudaSuccess : cudaErrorInvalidResourceHandle;
}

cudaError_t MemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  LSTMD_ENTER("cudaMemsetAsync");
  if (!emulation::IsDeviceRange(to, bytes)) {
    Violate("cudaMemsetAsync outside an allocation");
    return cudaErrorInvalidValue;
  }
  return emulation::Enqueue(stream, [=] { std::memset(to, value, bytes); }) ? cudaSuccess
                                                                            : cudaErrorInvalidResourceHandle;
}

cudaError_t StreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  LSTMD_ENTER("cudaStreamCreateWithFlags");
  auto* made = new Stream;
  MutexLock lock(&Gpu().mutex);
  Gpu().streams.insert(made);
  emulation::ObjectMade();
  *stream = reinterpret_cast<cudaStream_t>(made);
  return cudaSuccess;
}

cudaError_t StreamDestroy(cudaStream_t stream) {
  LSTMD_ENTER("cudaStreamDestroy");
  auto* gone = reinterpret_cast<Stream*>(stream);
  Drain(gone);
  MutexLock lock(&Gpu().mutex);
  if (Gpu().streams.erase(gone) == 0) return cudaErrorInvalidResourceHandle;
  delete gone;
  emulation::ObjectGone();
  return cudaSuccess;
}

cudaError_t StreamSynchronize(cudaStream_t stream) {
  LSTMD_ENTER("cudaStreamSynchronize");
  LSTMD_NOT_IN_CAPTURE("cudaStreamSynchronize");
  Drain(reinterpret_cast<Stream*>(stream));
  return cudaSuccess;
}

const char* GetErrorString(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorIllegalAddress:
      return "an illegal memory access was encountered";
    default:
      return "emulated error";
  }
}

cudaError_t StreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  LSTMD_ENTER("cudaStreamBeginCapture");
  LSTMD_NOT_IN_CAPTURE("cudaStreamBeginCapture");
  MutexLock lock(&Gpu().mutex);
  Gpu().capturing = reinterpret_cast<Stream*>(stream);
  Gpu().captured = std::make_unique<Graph>();
  capturing_thread = true;
  return cudaSuccess;
}

cudaError_t StreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const auto entered = Enter("cudaStreamEndCapture");
  MutexLock lock(&Gpu().mutex);
  capturing_thread = false;
  if (entered.fail) {  // the capture has ended all the same
    Gpu().capturing = nullptr;
    Gpu().captured.reset();
    return static_cast<cudaError_t>(entered.error);
  }
  if (Gpu().capturing != reinterpret_cast<Stream*>(stream)) {
    Violate("cudaStreamEndCapture of a stream that does not capture");
    return cudaErrorIllegalState;
  }
  Gpu().capturing = nullptr;
  emulation::ObjectMade();
  *graph = reinterpret_cast<cudaGraph_t>(Gpu().captured.release());
  return cudaSuccess;
}

cudaError_t GraphInstantiateWithFlags(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  LSTMD_ENTER("cudaGraphInstantiateWithFlags");
  emulation::ObjectMade();
  *exec = reinterpret_cast<cudaGraphExec_t>(new Graph(*reinterpret_cast<Graph*>(graph)));
  return cudaSuccess;
}

cudaError_t GraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  LSTMD_ENTER("cudaGraphLaunch");
  LSTMD_NOT_IN_CAPTURE("cudaGraphLaunch");
  for (const Operation& operation : reinterpret_cast<Graph*>(exec)->operations) {
    if (!emulation::Enqueue(stream, operation)) return cudaErrorInvalidResourceHandle;
  }
  return cudaSuccess;
}

cudaError_t GraphDestroy(cudaGraph_t graph) {
  LSTMD_ENTER("cudaGraphDestroy");
  delete reinterpret_cast<Graph*>(graph);
  emulation::ObjectGone();
  return cudaSuccess;
}

cudaError_t GraphExecDestroy(cudaGraphExec_t exec) {
  LSTMD_ENTER("cudaGraphExecDestroy");
  delete reinterpret_cast<Graph*>(exec);
  emulation::ObjectGone();
  return cudaSuccess;
}

}  // namespace

void LimitDeviceMemory(size_t bytes) {
  MutexLock lock(&Gpu().mutex);
  Gpu().limit = bytes;
}

namespace emulation {

bool Enqueue(cudaStream_t stream, std::function<void()> operation) {
  auto* to = reinterpret_cast<Stream*>(stream);
  MutexLock lock(&Gpu().mutex);
  if (Gpu().streams.count(to) == 0) {
    Violate("work for a stream that does not exist");
    return false;
  }
  if (Gpu().capturing == to) {
    Gpu().captured->operations.push_back(std::move(operation));
  } else {
    to->pending.push_back(std::move(operation));
  }
  return true;
}

bool IsCapturing() { return capturing_thread; }

bool IsDeviceRange(const void* address, size_t bytes) {
  MutexLock lock(&Gpu().mutex);
  return Contains(Gpu().device_memory, address, bytes);
}

void BindCuda(DeviceApi* api) {
  api->cudaGetDeviceCount = &GetDeviceCount;
  api->cudaSetDevice = &SetDevice;
  api->cudaGetDeviceProperties = &GetDeviceProperties;
  api->cudaMalloc = &Malloc;
  api->cudaFree = &Free;
  api->cudaHostAlloc = &HostAlloc;
  api->cudaFreeHost = &FreeHost;
  api->cudaMemcpyAsync = &MemcpyAsync;
  api->cudaMemsetAsync = &MemsetAsync;
  api->cudaStreamCreateWithFlags = &StreamCreateWithFlags;
  api->cudaStreamDestroy = &StreamDestroy;
  api->cudaStreamSynchronize = &StreamSynchronize;
  api->cudaGetErrorString = &GetErrorString;
  api->cudaStreamBeginCapture = &StreamBeginCapture;
  api->cudaStreamEndCapture = &StreamEndCapture;
  api->cudaGraphInstantiateWithFlags = &GraphInstantiateWithFlags;
  api->cudaGraphLaunch = &GraphLaunch;
  api->cudaGraphDestroy = &GraphDestroy;
  api->cudaGraphExecDestroy = &GraphExecDestroy;
}

}  // namespace emulation
}  // namespace lstmd::cudnn
