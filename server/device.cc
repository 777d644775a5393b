// SPDX-License-Identifier: Apache-2.0
#include "server/device.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/cpu/cpu_backend.h"
#include "engine/plugin.h"
#include "spdlog/spdlog.h"

namespace lstmd::server {

namespace {

using Backends = std::vector<std::unique_ptr<Backend>>;

void Add(std::unique_ptr<Backend> backend, Backends* backends) {
  spdlog::info("device {}: {}", backend->device(), backend->description());
  backends->push_back(std::move(backend));
}

absl::Status AddCpu(const ServerOptions& options, Backends* backends) {
  CpuOptions cpu;
  cpu.threads = options.threads;
  cpu.instruction_set = options.instruction_set;
  absl::StatusOr<std::unique_ptr<Backend>> backend = CreateCpuBackend(cpu);
  if (!backend.ok()) return backend.status();
  Add(*std::move(backend), backends);
  return absl::OkStatus();
}

// Every GPU that there is, then the CPU for what they cannot.
absl::StatusOr<Backends> AutoBackends(const ServerOptions& options) {
  Backends backends;
  for (int index = 0;; ++index) {
    absl::StatusOr<std::unique_ptr<Backend>> backend = LoadPluginBackend(absl::StrCat("cuda:", index));
    if (!backend.ok()) {
      if (index == 0) spdlog::info("no GPU, using the CPU: {}", std::string(backend.status().message()));
      break;
    }
    Add(*std::move(backend), &backends);
  }
  if (absl::Status status = AddCpu(options, &backends); !status.ok()) return status;
  return backends;
}

}  // namespace

absl::StatusOr<Backends> MakeBackends(const ServerOptions& options) {
  if (options.device == "auto") return AutoBackends(options);
  Backends backends;
  for (const absl::string_view name : absl::StrSplit(options.device, ',')) {
    if (name == "cpu") {
      if (absl::Status status = AddCpu(options, &backends); !status.ok()) return status;
      continue;
    }
    absl::StatusOr<std::unique_ptr<Backend>> backend = LoadPluginBackend({name.data(), name.size()});
    if (!backend.ok()) return backend.status();
    Add(*std::move(backend), &backends);
  }
  return backends;
}

}  // namespace lstmd::server
