// SPDX-License-Identifier: Apache-2.0
//
// What gRPC counts of a server and its connections. Each call costs some tens of microseconds, for it comes as JSON.
#ifndef LSTMD_SERVER_CHANNELZ_H_
#define LSTMD_SERVER_CHANNELZ_H_

#include <cstdint>
#include <string>
#include <vector>

namespace lstmd::server {

struct Connection {
  int64_t id = 0;     // rises with every connection
  std::string peer;   // "ipv4:1.2.3.4:5", "unix:"
  uint64_t open = 0;  // calls and streams, whether or not a service has heard of them
};

// The id of the gRPC server that this process built last; 0: it has built none.
int64_t NewestServer();

// By age, with `open` 0.
std::vector<Connection> ListConnections(int64_t server);

// 0 also where the connection is gone.
uint64_t OpenCalls(int64_t connection);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_CHANNELZ_H_
