// SPDX-License-Identifier: Apache-2.0
//
// What gRPC counts of a server and its connections. Each call costs some tens of microseconds, for it comes as JSON.
#ifndef LSTMD_SERVER_CHANNELZ_H_
#define LSTMD_SERVER_CHANNELZ_H_

#include <cstdint>
#include <string>
#include <vector>

namespace lstmd::server {

struct Socket {
  int64_t id = 0;    // rises with every connection
  std::string peer;  // "ipv4:1.2.3.4:5", "unix:"
};

// Calls and streams of a connection, whether or not a service has heard of them.
struct CallCounts {
  uint64_t started = 0;
  uint64_t ended = 0;
  uint64_t messages = 0;  // that have come whole
};

// The id of the gRPC server that this process built last; 0: it has built none.
int64_t NewestServer();

// By age.
std::vector<Socket> ListSockets(int64_t server);

// Calls of the server that have begun and not ended. 0 also where it is gone.
uint64_t CountOpenCalls(int64_t server);

// 0 also where the socket is gone.
CallCounts CountCalls(int64_t socket);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_CHANNELZ_H_
