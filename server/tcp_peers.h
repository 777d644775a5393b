// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_TCP_PEERS_H_
#define LSTMD_SERVER_TCP_PEERS_H_

#include <cstdint>
#include <string>
#include <unordered_map>

namespace lstmd::server {

// What the kernel knows of a TCP connection of this process.
struct TcpPeer {
  int fd = -1;
  uint16_t port = 0;      // this end's
  uint64_t received = 0;  // bytes, all that have arrived
  uint64_t unread = 0;    // of these
};

// By their other ends, as gRPC writes them: "ipv4:1.2.3.4:5". Takes some microseconds each.
std::unordered_map<std::string, TcpPeer> TcpPeers();

// Resets the connection `fd` if its other end is still `peer`. What has arrived and was not read is lost too, so that
// not one more call comes of it; gRPC sees the end, and lets go of all that belongs to it.
void ResetPeer(int fd, const std::string& peer);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_TCP_PEERS_H_
