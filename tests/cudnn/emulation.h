// SPDX-License-Identifier: Apache-2.0
//
// A GPU that is none: the functions of engine/cudnn/device_api.h computed on the CPU, strict about the real libraries'
// rules. What a stream is given runs only when something waits for it, so that a forgotten synchronisation shows; every
// broken rule is an error of the call and a line in Violations().
//
// One per process, like the real thing. Thread safety: all calls.
#ifndef LSTMD_TESTS_CUDNN_EMULATION_H_
#define LSTMD_TESTS_CUDNN_EMULATION_H_

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "engine/cudnn/device_api.h"

namespace lstmd::cudnn {

// The table to give to CreateCudnnBackend.
const DeviceApi& EmulatedApi();

// Back to a fresh machine: no violations, no failures to inject, no limit. REQUIRES: nothing is in use.
void ResetEmulation();

// Rules broken since the last reset, in order.
std::vector<std::string> Violations();
// Device and pinned allocations, streams, graphs, handles and descriptors that live now.
size_t LiveObjects();
// How often a function was called since the last reset.
int CallsTo(const std::string& function);
// The `nth` call from now on (1 = the next) of a function fails once with `error`.
void FailCall(const std::string& function, int nth, int error);
// cudaMalloc beyond this many bytes in all is out of memory. 0: no limit.
void LimitDeviceMemory(size_t bytes);

namespace emulation {

// For the parts of the emulation (emulated_*.cc).
struct Entered {
  bool fail = false;
  int error = 0;
};
// Counts a call; says whether it is to fail.
Entered Enter(const char* function);
// Records a broken rule.
void Violate(const std::string& rule);
void ObjectMade();
void ObjectGone();
// Runs `operation` when the stream gets there; or adds it to the graph being captured. False: no such stream.
bool Enqueue(cudaStream_t stream, std::function<void()> operation);
bool IsCapturing();
// Whether [address, address + bytes) lies within one living device allocation.
bool IsDeviceRange(const void* address, size_t bytes);

void BindCuda(DeviceApi* api);
void BindKernels(DeviceApi* api);
void BindBlas(DeviceApi* api);
void BindDnn(DeviceApi* api);
void BindDnnForward(DeviceApi* api);

}  // namespace emulation
}  // namespace lstmd::cudnn

#endif  // LSTMD_TESTS_CUDNN_EMULATION_H_
