// SPDX-License-Identifier: Apache-2.0
//
// Bounds on connections that gRPC has no setting for, or does not enforce: their number, and streams of a client that
// never acknowledges the setting MAX_CONCURRENT_STREAMS, to whom gRPC gives as many as it asks for. Each stream costs
// some 15 kB from its first frame on, before any service hears of it. So a thread looks at what gRPC counts (channelz),
// and shuts the sockets that are above the bounds.
#ifndef LSTMD_SERVER_CONNECTION_GUARD_H_
#define LSTMD_SERVER_CONNECTION_GUARD_H_

#include <cstdint>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "engine/mutex.h"

namespace lstmd::server {

struct ConnectionBounds {
  uint64_t max_connections = 10'000;
  uint64_t max_streams_per_connection = 1024;
};

// Lets the process have as many files as the system allows it, and returns how many connections there is room for: when
// there is none left, gRPC stops to listen.
uint64_t RoomForConnections();

class ConnectionGuard {
 public:
  // Watches the server of this process that listens on `ports` (TCP; peers on unix sockets are left alone).
  ConnectionGuard(ConnectionBounds bounds, std::vector<int> ports);
  ~ConnectionGuard();
  ConnectionGuard(const ConnectionGuard&) = delete;
  ConnectionGuard& operator=(const ConnectionGuard&) = delete;

 private:
  void Watch();
  void Look();

  const ConnectionBounds bounds_;
  const std::vector<int> ports_;
  std::string server_id_;
  int64_t next_socket_ = 0;  // where the next look at single connections begins
  Mutex mutex_;
  CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_CONNECTION_GUARD_H_
