// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_DEVICE_H_
#define LSTMD_SERVER_DEVICE_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend.h"
#include "server/options.h"

namespace lstmd::server {

// The backends that --device asks for, in order of preference. UNIMPLEMENTED / UNSUPPORTED_BY_DEVICE when this build or
// machine has none.
absl::StatusOr<std::vector<std::unique_ptr<Backend>>> MakeBackends(const ServerOptions& options);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_DEVICE_H_
