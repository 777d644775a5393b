// SPDX-License-Identifier: Apache-2.0
#include "engine/cpu/cpu_backend.h"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/cpu/batch_run.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/packed_weights.h"
#include "engine/cpu/state_pool.h"
#include "engine/cpu/thread_pool.h"
#include "engine/errors.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace lstmd {
namespace {

constexpr int kMaxThreads = 1024;

// Cores that a container's quota is worth, rounded up: more threads would only be stopped in mid-step.
int QuotaCores() {
  // "max 100000" or "150000 100000": microseconds of CPU in a period (cgroup v2).
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  int64_t quota = 0, period = 0;
  if (!(file >> quota >> period) || quota <= 0 || period <= 0) return kMaxThreads;
  return static_cast<int>(std::clamp<int64_t>((quota + period - 1) / period, 1, kMaxThreads));
}

int UsableCores() {
  int cores = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) cores = CPU_COUNT(&set);
#endif
  return std::clamp(cores, 1, QuotaCores());
}

class CpuBackend : public Backend {
 public:
  CpuBackend(const cpu::Kernels& kernels, int threads)
      : kernels_(kernels), threads_(threads), batch_run_(kernels, threads_) {}

  std::string name() const override { return "cpu"; }
  std::string device() const override { return "cpu"; }
  std::string description() const override {
    return absl::StrCat(kernels_.name, ", ", threads_.threads(), threads_.threads() == 1 ? " thread" : " threads");
  }

  absl::Status Supports(const ModelSpec& spec) const override {
    if (spec.precision != Precision::kF16) return absl::OkStatus();
    return Unimplemented("UNSUPPORTED_BY_DEVICE",
                         "device cpu does not compute in F16; use F32 or BF16 there, or a cuda device")
        .Field("precision");
  }

  absl::StatusOr<std::unique_ptr<DeviceModel>> Load(const ModelSpec& spec, const Weights& weights) override {
    absl::StatusOr<std::unique_ptr<cpu::PackedModel>> model = cpu::PackedModel::Pack(spec, weights, kernels_.units);
    if (!model.ok()) return model.status();
    return std::unique_ptr<DeviceModel>(*std::move(model));
  }

  absl::StatusOr<std::unique_ptr<StatePool>> CreateStatePool(const DeviceModel& model) override {
    return std::unique_ptr<StatePool>(std::make_unique<cpu::CpuStatePool>(static_cast<const cpu::PackedModel&>(model)));
  }

  absl::Status Run(const DeviceModel& model, StatePool& pool, absl::Span<Row* const> rows) override {
    return batch_run_.Run(static_cast<const cpu::PackedModel&>(model), static_cast<cpu::CpuStatePool&>(pool), rows);
  }

  bool batch_invariant() const override { return true; }
  bool any_thread() const override { return true; }

 private:
  const cpu::Kernels& kernels_;
  cpu::ThreadPool threads_;
  cpu::BatchRun batch_run_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(const CpuOptions& options) {
  if (options.threads < 0 || options.threads > kMaxThreads) {
    return InvalidArgument("CPU_OPTIONS", absl::StrCat("threads: got ", options.threads, ", want 0 to ", kMaxThreads));
  }
  const cpu::Kernels* kernels = cpu::FindKernels(options.instruction_set);
  if (kernels == nullptr) {
    return InvalidArgument("CPU_OPTIONS", absl::StrCat("instruction set: got '", options.instruction_set,
                                                       "', want one of ", absl::StrJoin(CpuInstructionSets(), ", ")));
  }
  return std::unique_ptr<Backend>(
      std::make_unique<CpuBackend>(*kernels, options.threads == 0 ? UsableCores() : options.threads));
}

std::vector<std::string> CpuInstructionSets() { return cpu::KernelNames(); }

}  // namespace lstmd
