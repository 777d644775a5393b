// SPDX-License-Identifier: Apache-2.0
//
// The CPU backend: LSTMs with kernels of its own (engine/cpu/kernels.h), dispatched at run time to the best instruction
// set of the machine. Runs every option of ModelSpec but PRECISION_F16.
//
// Batch-invariant in each precision: on one machine, with one instruction set, a row's result is bit-identical whatever
// other rows are in the call, however its steps are sliced, as steps or as a sequence, and with any number of threads.
// Reduced weights are rounded once, when the model is loaded; BF16 rounds each row by itself.
#ifndef LSTMD_ENGINE_CPU_CPU_BACKEND_H_
#define LSTMD_ENGINE_CPU_CPU_BACKEND_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend.h"

namespace lstmd {

struct CpuOptions {
  // Threads that compute, the caller of Run among them. 0: one for each core that the process may use,
  // by affinity and by its container's quota. More than there are cores only costs. The others spin for a few
  // microseconds after a call and then sleep.
  int threads = 0;
  // One of CpuInstructionSets(); empty: the best. Results of different ones differ in the last bits.
  std::string instruction_set;
};

// INVALID_ARGUMENT / CPU_OPTIONS for a number of threads outside 0 to 1024 or an instruction set that this machine or
// build does not have.
absl::StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(const CpuOptions& options);

// Names of the instruction sets that this build has kernels for and this machine runs, best first: "AVX3_BF16" (AVX-512
// with AVX512-BF16), "AVX3" (AVX-512), "AVX2", "NEON", …, "SCALAR" (plain C++).
std::vector<std::string> CpuInstructionSets();

}  // namespace lstmd

#endif  // LSTMD_ENGINE_CPU_CPU_BACKEND_H_
