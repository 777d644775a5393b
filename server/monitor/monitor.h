// SPDX-License-Identifier: Apache-2.0
//
// What operators and their tools see, over HTTP on a port of its own:
//   /metrics      Prometheus's text format (server/monitor/metrics.inc)
//   /healthz      200 while the process lives
//   /readyz       200 while it should get traffic, else 503 with why not
//   /             the status page (server/status), /status.json its data: lstmd.v1.ServerStats as JSON
// Whoever reaches the port may read all this; names of sessions and what clients send are not in it.
#ifndef LSTMD_SERVER_MONITOR_MONITOR_H_
#define LSTMD_SERVER_MONITOR_MONITOR_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/context.h"

namespace lstmd::server {

// Thread-safe.
class Monitor {
 public:
  // `address`: HOST:PORT; port 0 takes a free one. `context` outlives it; of it engine, history and pools must be set.
  // UNAVAILABLE / LISTEN when the address cannot be listened on.
  static absl::StatusOr<std::unique_ptr<Monitor>> Start(const std::string& address, const Context& context);
  // Waits for answers under way.
  virtual ~Monitor() = default;

  // HOST:PORT with the port that was chosen.
  virtual const std::string& address() const = 0;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_MONITOR_MONITOR_H_
