// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_DEVICE_H_
#define LSTMD_SERVER_DEVICE_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend.h"
#include "server/options.h"

namespace lstmd::server {

// The backends that --device asks for, in order of preference. "auto" takes every GPU and the CPU and always finds the
// latter. UNAVAILABLE / DEVICE_UNAVAILABLE when a device that is asked for by name cannot be used.
absl::StatusOr<std::vector<std::unique_ptr<Backend>>> MakeBackends(const ServerOptions& options);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_DEVICE_H_
