// SPDX-License-Identifier: Apache-2.0
#include "server/device.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/cpu/cpu_backend.h"
#include "engine/errors.h"
#include "spdlog/spdlog.h"

namespace lstmd::server {

absl::StatusOr<std::vector<std::unique_ptr<Backend>>> MakeBackends(const ServerOptions& options) {
  if (options.device != "auto" && options.device != "cpu") {
    return Unimplemented(
               "UNSUPPORTED_BY_DEVICE",
               absl::StrCat("--device ", options.device, ": this build has no GPU backend; use --device cpu or auto"))
        .With("device", options.device);
  }
  CpuOptions cpu;
  cpu.threads = options.threads;
  absl::StatusOr<std::unique_ptr<Backend>> backend = CreateCpuBackend(cpu);
  if (!backend.ok()) return backend.status();
  if (options.device == "auto") spdlog::info("no GPU backend in this build: using the CPU");
  spdlog::info("device {}: {}", (*backend)->device(), (*backend)->description());
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(*std::move(backend));
  return backends;
}

}  // namespace lstmd::server
