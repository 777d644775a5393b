// SPDX-License-Identifier: Apache-2.0
//
// Bounds on what clients hold before any service hears of it: connections, and calls that are open on them. gRPC has no
// bound on the former, nor on calls in all; and to a client that never acknowledges the setting MAX_CONCURRENT_STREAMS
// it gives as many on one connection as it asks for. A connection costs some 30 kB and a call some 12 kB from its first
// frame on. So a thread looks at what gRPC counts, once a second and whenever memory grows, and cuts connections that
// are above the bounds: those that hold the most, so that a client which holds little is served throughout.
#ifndef LSTMD_SERVER_CONNECTION_GUARD_H_
#define LSTMD_SERVER_CONNECTION_GUARD_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "absl/time/time.h"
#include "engine/counters.h"
#include "engine/interval_thread.h"
#include "server/channelz.h"

namespace lstmd::server {

struct ConnectionBounds {
  uint64_t max_connections = 10'000;
  uint64_t max_streams_per_connection = 256;
  // Calls and streams open on all connections. 0: as CallsFor has it.
  uint64_t max_calls = 0;
};

// So many open calls that they take no more than a quarter of `memory_limit` (0: none).
uint64_t CallsFor(uint64_t memory_limit);
// So many streams that their replies, where nobody reads them, take no more than half of it; at most 20,000.
uint64_t StreamsFor(uint64_t memory_limit);

// Lets the process have as many files as the system allows it, and returns how many connections there is room for: when
// there is none left, gRPC stops to listen.
uint64_t RoomForConnections();

// Why a connection is cut: it is one too many, has too many calls open, or all together have and it has the most.
enum class CutReason : uint8_t { kConnections, kStreams, kCalls };
constexpr std::array<const char*, 3> kCutReasons = {"max_connections", "max_streams_per_connection", "max_calls"};

struct Cut {
  Connection connection;
  CutReason reason{};
};

// Which of `connections`, by age, are to be cut so that the bounds hold. Of those that are too many, the newest of the
// address with the most; of those that have too many calls, the ones with the most, and of equals the newest.
std::vector<Cut> ChooseCuts(const std::vector<Connection>& connections, const ConnectionBounds& bounds);

// For those that watch the server.
struct ConnectionCounters {
  Gauge connections;  // at the last look
  Gauge calls;        // open on them
  std::array<Counter, kCutReasons.size()> cut;
};

class ConnectionGuard {
 public:
  // Watches the connections of `server` (channelz.h) over TCP; peers on unix sockets are left alone. `counters`
  // outlives it.
  ConnectionGuard(ConnectionBounds bounds, int64_t server, ConnectionCounters* counters);

 private:
  // Looks, if memory has grown or it is time. Returns when to glance again.
  absl::Duration Glance();
  // Looks at all connections, and counts the calls of so many of them; the others have their turn in the next look.
  // Returns whether any was cut.
  bool Look(size_t counted);

  const ConnectionBounds bounds_;
  const int64_t server_;
  ConnectionCounters& counters_;
  uint64_t unsaid_ = 0;  // connections that were cut since a line was logged
  absl::Time said_ = absl::InfinitePast();
  int64_t next_ = 0;                            // where the next look at single connections begins
  std::unordered_set<int64_t> leaving_;         // cut, and not yet gone
  std::unordered_map<int64_t, uint64_t> open_;  // calls of each connection when it was looked at last
  uint64_t held_;                               // resident bytes, the least since the last look
  absl::Duration since_;                        // the last look, in glances
  bool cut_ = false;                            // in the last look
  bool trim_ = false;                           // memory of what was cut is to be given back
  IntervalThread thread_;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_CONNECTION_GUARD_H_
