// SPDX-License-Identifier: Apache-2.0
#include "server/tcp_peers.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstddef>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace lstmd::server {
namespace {

uint16_t LocalPort(int fd) {
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  // The port is at the same place in both.
  static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
  return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

// The address of the other end as gRPC writes it, "" where there is none.
std::string PeerOf(int fd) {
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "";
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return absl::StrCat("ipv4:", text, ":", ntohs(v4.sin_port));
  }
  if (address.ss_family != AF_INET6) return "";
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
  if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
    inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text, sizeof text);
    return absl::StrCat("ipv4:", text, ":", ntohs(v6.sin6_port));
  }
  inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
  return absl::StrCat("ipv6:[", text, "]:", ntohs(v6.sin6_port));
}

}  // namespace

std::unordered_map<std::string, TcpPeer> TcpPeers() {
  std::unordered_map<std::string, TcpPeer> peers;
  DIR* const folder = opendir("/proc/self/fd");
  if (folder == nullptr) return peers;
  while (const dirent* entry = readdir(folder)) {
    TcpPeer one;
    if (!absl::SimpleAtoi(entry->d_name, &one.fd)) continue;
    std::string peer = PeerOf(one.fd);
    if (peer.empty()) continue;
    one.port = LocalPort(one.fd);
    int unread = 0;
    if (ioctl(one.fd, FIONREAD, &unread) == 0) one.unread = static_cast<uint64_t>(unread);
    tcp_info info = {};
    socklen_t size = sizeof info;
    if (getsockopt(one.fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0) one.received = info.tcpi_bytes_received;
    peers.emplace(std::move(peer), one);
  }
  closedir(folder);
  return peers;
}

void ResetPeer(int fd, const std::string& peer) {
  if (PeerOf(fd) != peer) return;
  sockaddr none = {};
  none.sa_family = AF_UNSPEC;
  // Unlike shutdown(), this throws away what has arrived.
  if (connect(fd, &none, sizeof none) != 0) shutdown(fd, SHUT_RDWR);
}

}  // namespace lstmd::server
