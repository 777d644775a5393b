// SPDX-License-Identifier: Apache-2.0
//
// What can be set from outside: flags, environment, a file.
#ifndef LSTMD_SERVER_OPTIONS_H_
#define LSTMD_SERVER_OPTIONS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "engine/engine.h"
#include "server/access.h"
#include "server/connection_guard.h"
#include "server/context.h"
#include "server/transport.h"

namespace lstmd::server {

// Defaults here are the defaults of the flags; ParseOptions documents each.
struct ServerOptions {
  std::vector<std::string> listen = {"127.0.0.1:8001"};
  std::string device = "auto";
  int threads = 0;
  std::string instruction_set;  // empty: the best
  EngineOptions engine;
  Limits limits;
  AccessOptions access;
  TransportOptions transport;
  std::string store = "none";
  std::string store_password_file;
  std::string durability = "none";
  std::string advertise;
  // Called when a Drain rpc has saved all sessions: the server should be drained for good, and end.
  std::function<void()> on_drained;
  absl::Duration keepalive_time = absl::Seconds(60);
  absl::Duration keepalive_timeout = absl::Seconds(20);
  ConnectionBounds connections;
  // A connection without a call for this long is closed. Zero: never.
  absl::Duration max_connection_idle = absl::Hours(1);
  // One that is older is asked to end when its calls have. Zero: never.
  absl::Duration max_connection_age = absl::ZeroDuration();
  absl::Duration drain_timeout = absl::Seconds(30);
  absl::Duration watch_repository = absl::ZeroDuration();  // 0: not watched
  std::string log_level = "info";
  std::string log_format = "text";
  absl::Duration slow_request = absl::ZeroDuration();
  // Where metrics, probes and the status page are served; "": nowhere. The flag's own default, which a server made
  // without flags does not take, may be in use by another server: then it goes without.
  std::string metrics_listen;
  bool metrics_optional = false;
};

// Reads flags, then the environment, then the file of --config: what comes first wins. nullopt when the program should
// end with *exit_code: 0 after --help and --version (written to `out`), 2 after one line on `err` about what is wrong.
std::optional<ServerOptions> ParseOptions(int argc, const char* const* argv, std::ostream& out, std::ostream& err,
                                          int* exit_code);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_OPTIONS_H_
