// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_SERVER_H_
#define LSTMD_SERVER_SERVER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "server/options.h"

namespace lstmd::server {

// A running server: engine, services, sockets. Thread-safe.
class Server {
 public:
  // Makes backends and engine as the options say, loads the repository, and serves. A model that does not load is
  // logged and listed; the others are served. Errors: those of the flags' values (INVALID_ARGUMENT, NOT_FOUND for a
  // folder or file; of AccessControl and Transport), UNAVAILABLE / DEVICE_UNAVAILABLE, UNAVAILABLE / LISTEN when an
  // address cannot be listened on.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options);
  // Serves an engine that is there; of options.engine only what the API tells of it is used, so that quotas of sessions
  // and state do not hold.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options, std::unique_ptr<Engine> engine);

  // Ends at once: calls in flight are cancelled. Drain first to end well.
  virtual ~Server() = default;

  // Where it listens, as given but with the ports that were chosen.
  virtual const std::vector<std::string>& addresses() const = 0;
  // Where metrics are served, HOST:PORT; "": nowhere.
  virtual std::string metrics_address() const = 0;
  virtual Engine& engine() = 0;
  // False once a device is lost; only a new process can use it again.
  virtual bool healthy() const = 0;

  // Health goes to NOT_SERVING, streams are told to go away, new work is refused, what is in flight is answered,
  // streams and sockets are closed: at most until `deadline`. Returns whether all was answered by then. Once.
  virtual bool Drain(absl::Time deadline) = 0;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_SERVER_H_
