// SPDX-License-Identifier: Apache-2.0
//
// Bounds on what clients hold before any service hears of it: connections, and calls that are open on them. gRPC has no
// bound on the former, nor on calls in all; and to a client that never acknowledges the setting MAX_CONCURRENT_STREAMS
// it gives as many on one connection as it asks for. A connection costs some 30 kB and a call some 12 kB from its first
// frame on. So a thread looks at what gRPC counts, once a second and whenever memory or the calls in all grow, and cuts
// connections that are above the bounds: those that hold the most, so that a client which holds little is served
// throughout.
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
#include "server/connection_cuts.h"
#include "server/tcp_peers.h"

namespace lstmd::server {

// Lets the process have as many files as the system allows it, and returns how many connections there is room for: when
// there is none left, gRPC stops to listen.
uint64_t RoomForConnections();

// For those that watch the server.
struct ConnectionCounters {
  Gauge connections;  // at the last look
  Gauge calls;        // open on them
  Gauge unfinished;   // bytes of messages that have not come whole, at the last look
  std::array<Counter, kCutReasons.size()> cut;
};

class ConnectionGuard {
 public:
  // Watches the connections of `server` (channelz.h), which listens on `ports`; peers on unix sockets are left alone.
  // `counters` outlives it.
  ConnectionGuard(ConnectionBounds bounds, int64_t server, std::vector<int> ports, ConnectionCounters* counters);

 private:
  enum class Found : uint8_t { kNothing, kSuspects, kCuts };
  // Of a host of which a connection was cut for its calls.
  struct Flood {
    absl::Time until;
    int64_t newest = 0;  // connection when it began
  };

  // Looks, if memory has grown or it is time. Returns when to glance again.
  absl::Duration Glance();
  // Looks at all connections. Counts the calls of `counted` of them; the others have their turn next. `bytes`: also
  // looks at what they have received, and counts those that have received much.
  Found Look(size_t counted, bool bytes);
  // All connections but those that were cut. Those that are shaking hands still, for TLS, are known with bytes only.
  std::vector<Connection> List(size_t counted);
  // Since it was counted.
  bool HasReceivedMuch(const Socket& socket) const;
  void Count(const Socket& socket);
  // Hosts of which some are to be cut for their calls flood from now on, for a while, and at least until those calls
  // are gone.
  void NoteFloods(const std::vector<Connection>& connections, const std::vector<Cut>& cuts);
  // Of those hosts: what will be too much once it is read, and while too many calls are open whoever is new.
  std::vector<Cut> ChooseFlooding(const std::vector<Connection>& connections) const;
  // Were open in the last look.
  bool TooManyCalls() const;
  void CutAll(const std::vector<Cut>& cuts);
  void Say(const std::vector<Cut>& cuts, size_t connections);
  // Gives memory back that cut connections held, as long as there is some.
  void Trim();

  const ConnectionBounds bounds_;
  const int64_t server_;
  const std::vector<int> ports_;
  ConnectionCounters& counters_;
  uint64_t unsaid_ = 0;  // connections that were cut since a line was logged
  absl::Time said_ = absl::InfinitePast();
  int64_t next_ = 0;                                // where the next look at single connections begins
  std::unordered_map<int64_t, CallTrack> tracks_;   // of connections
  std::unordered_set<int64_t> leaving_;             // cut, and not yet gone
  std::unordered_set<std::string> leaving_peers_;   // theirs
  std::unordered_set<std::string> busy_hosts_;      // of which such hold calls still
  std::unordered_map<std::string, TcpPeer> peers_;  // in this look, if it is at bytes
  size_t shaking_hands_ = 0;                        // connections, in the last look at bytes
  std::unordered_map<std::string, Flood> floods_;   // by host
  uint64_t held_;                                   // resident bytes, the least since the last look
  uint64_t calls_ = 0;                              // open in all, likewise
  absl::Duration since_;                            // the last look, in glances
  absl::Duration since_thorough_;                   // the last thorough one
  absl::Duration since_bytes_;                      // the last one at bytes
  absl::Duration bytes_interval_;
  Found found_ = Found::kNothing;  // in the last look
  bool trim_ = false;              // memory of what was cut is to be given back
  IntervalThread thread_;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_CONNECTION_GUARD_H_
