// SPDX-License-Identifier: Apache-2.0
//
// Which connections are to be cut, so that what clients hold stays within its bounds. Pure: looking and cutting is the
// guard's (connection_guard.h).
#ifndef LSTMD_SERVER_CONNECTION_CUTS_H_
#define LSTMD_SERVER_CONNECTION_CUTS_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/channelz.h"

namespace lstmd::server {

struct ConnectionBounds {
  uint64_t max_connections = 10'000;
  uint64_t max_streams_per_connection = 256;
  // Calls and streams open on all connections. 0: as CallsFor has it.
  uint64_t max_calls = 0;
  // Bytes of messages that have not come whole, on all connections. 0: as UnfinishedFor has it.
  uint64_t max_unfinished_bytes = 0;
};

// So many open calls that they take no more than a quarter of `memory_limit` (0: none).
uint64_t CallsFor(uint64_t memory_limit);
// So many streams that their replies, where nobody reads them, take no more than half of it; at most 20,000.
uint64_t StreamsFor(uint64_t memory_limit);

// So many bytes that they take no more than a quarter of it, and leave room for one message of the largest size.
uint64_t UnfinishedFor(uint64_t memory_limit, uint64_t max_message_bytes);

// The calls of a connection, counted again and again. gRPC counts a call as ended when it has taken it down, which it
// does late when it is busy: a client that keeps to its limit then seems to be hundreds above it. So what is held
// against a client are calls that last.
class CallTrack {
 public:
  void Count(const CallCounts& counts, absl::Time now);
  // `bytes`: all that the connection has received, when it was counted last.
  void Receive(uint64_t bytes);

  uint64_t open() const { return counts_.started > counts_.ended ? counts_.started - counts_.ended : 0; }
  // Of those that had begun a fifth of a second ago, or longer, how many have not ended yet.
  uint64_t lasting() const { return older_ > counts_.ended ? older_ - counts_.ended : 0; }
  // Whether no more messages have come whole than calls are open, as with one whose calls never say what they want.
  bool piling_up() const { return counts_.messages <= open(); }
  uint64_t received() const { return bytes_; }
  // Bytes that have come since a message came whole, at least.
  uint64_t unfinished() const { return bytes_ - whole_; }

 private:
  CallCounts counts_;
  bool came_whole_ = false;  // a message, since Receive
  uint64_t bytes_ = 0;
  uint64_t whole_ = 0;  // bytes when one came whole
  uint64_t older_ = 0;  // calls that had begun by then
  uint64_t newer_ = 0;
  absl::Time newer_at_ = absl::InfinitePast();
};

constexpr int64_t kShakingHands = -1;

struct Connection {
  int64_t id = 0;    // kShakingHands: gRPC does not list it yet
  std::string peer;  // "ipv4:1.2.3.4:5", "unix:"
  uint64_t open = 0;
  uint64_t lasting = 0;
  bool piling_up = false;
  uint64_t unfinished = 0;
};

// "ipv4:1.2.3.4" of a peer.
std::string HostOf(const std::string& peer);
// Peers on unix sockets are left alone.
bool IsTcp(const std::string& peer);

// Why a connection is cut: it is one too many; has too many calls open; or all together have too many, or too much of
// messages that have not come whole, and it has the most.
enum class CutReason : uint8_t { kConnections, kStreams, kCalls, kBytes };
constexpr std::array<const char*, 4> kCutReasons = {"max_connections", "max_streams_per_connection", "max_calls",
                                                    "max_unfinished_bytes"};

struct Cut {
  Connection connection;
  CutReason reason{};
};

// Which of `connections`, by age, those that shake hands last, are to be cut so that the bounds hold. Of those that are
// too many, the newest of the address with the most. Of those that have too many calls that last, all; where all
// together have too many open, those with the most, and of equals the newest: but none whose calls only are about to
// end. The same with bytes.
std::vector<Cut> ChooseCuts(const std::vector<Connection>& connections, const ConnectionBounds& bounds);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_CONNECTION_CUTS_H_
