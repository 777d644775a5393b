// SPDX-License-Identifier: Apache-2.0
#include "server/connection_guard.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/memory_budget.h"
#include "grpc/grpc.h"
#include "grpc/support/alloc.h"
#include "nlohmann/json.hpp"
#include "server/errors.h"
#include "spdlog/spdlog.h"

namespace lstmd::server {
namespace {

using Json = nlohmann::json;

// Looks come this often, or sooner where memory has grown by so much.
constexpr absl::Duration kInterval = absl::Seconds(1);
constexpr absl::Duration kGlance = absl::Milliseconds(50);
constexpr uint64_t kGrowth = 32 << 20;
// Connections whose streams are counted in one look; the others have their turn in the next.
constexpr size_t kCounted = 256;

struct Connection {
  int64_t id = 0;
  std::string peer;  // "ipv4:1.2.3.4:5"
};

Json Parse(char* text) {
  if (text == nullptr) return Json();
  Json json = Json::parse(text, nullptr, false);
  gpr_free(text);
  return json;
}

// channelz writes 64-bit integers as text.
int64_t Number(const Json& json, const char* key) {
  int64_t number = 0;
  if (json.is_object() && json.contains(key) && json[key].is_string()) {
    (void)absl::SimpleAtoi(json[key].get<std::string>(), &number);
  }
  return number;
}

std::string Text(const Json& json, const char* key) {
  return json.is_object() && json.contains(key) && json[key].is_string() ? json[key].get<std::string>() : "";
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

// gRPC sees the end of the connection then, and lets go of all that belongs to it. Should the descriptor have become
// another connection's in between, that client connects again.
void Shut(const std::set<std::string>& peers) {
  DIR* const folder = opendir("/proc/self/fd");
  if (folder == nullptr) return;
  while (const dirent* entry = readdir(folder)) {
    int fd = -1;
    if (absl::SimpleAtoi(entry->d_name, &fd) && peers.count(PeerOf(fd)) > 0) shutdown(fd, SHUT_RDWR);
  }
  closedir(folder);
}

std::string FindServer(const std::vector<int>& ports) {
  const Json servers = Parse(grpc_channelz_get_servers(0));
  if (!servers.is_object() || !servers.contains("server")) return "";
  for (const Json& server : servers["server"]) {
    if (!server.contains("listenSocket")) continue;
    for (const Json& socket : server["listenSocket"]) {
      for (const int port : ports) {
        if (absl::EndsWith(Text(socket, "name"), absl::StrCat(":", port))) return Text(server["ref"], "serverId");
      }
    }
  }
  return "";
}

std::vector<Connection> List(int64_t server) {
  std::vector<Connection> connections;
  int64_t next = 0;
  while (true) {
    const Json page = Parse(grpc_channelz_get_server_sockets(server, next, 500));
    if (!page.is_object() || !page.contains("socketRef") || page["socketRef"].empty()) return connections;
    for (const Json& socket : page["socketRef"]) {
      const std::string name = Text(socket, "name");
      const size_t peer = name.rfind(' ');
      const int64_t id = Number(socket, "socketId");
      connections.push_back({id, peer == name.npos ? name : name.substr(peer + 1)});
      next = std::max(next, id + 1);
    }
    if (page.contains("end") && page["end"].is_boolean() && page["end"].get<bool>()) return connections;
  }
}

uint64_t OpenStreams(int64_t socket) {
  const Json json = Parse(grpc_channelz_get_socket(socket));
  if (!json.is_object() || !json.contains("socket") || !json["socket"].contains("data")) return 0;
  const Json& data = json["socket"]["data"];
  const int64_t open =
      Number(data, "streamsStarted") - Number(data, "streamsSucceeded") - Number(data, "streamsFailed");
  return static_cast<uint64_t>(std::max<int64_t>(0, open));
}

}  // namespace

uint64_t RoomForConnections() {
  constexpr uint64_t kOthers = 128;  // models, stores, logs, and connections on their way out
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return UINT64_MAX;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur > 2 * kOthers ? limit.rlim_cur - kOthers : limit.rlim_cur / 2;
}

ConnectionGuard::ConnectionGuard(ConnectionBounds bounds, std::vector<int> ports)
    : bounds_(bounds), ports_(std::move(ports)), server_id_(FindServer(ports_)), thread_([this] { Watch(); }) {
  if (server_id_.empty()) spdlog::warn("connections cannot be counted: --max-connections does not hold");
}

ConnectionGuard::~ConnectionGuard() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  wake_.SignalAll();
  thread_.join();
}

void ConnectionGuard::Watch() {
  uint64_t held = ResidentBytes();
  absl::Duration since;
  while (true) {
    {
      MutexLock lock(&mutex_);
      if (!stopping_) wake_.WaitFor(&mutex_, kGlance);
      if (stopping_ || server_id_.empty()) return;
    }
    since += kGlance;
    const uint64_t now = ResidentBytes();
    held = std::min(held, now);
    if (since < kInterval && now < held + kGrowth) continue;
    since = absl::ZeroDuration();
    held = now;
    Look();
  }
}

void ConnectionGuard::Look() {
  int64_t server = 0;
  (void)absl::SimpleAtoi(server_id_, &server);
  const std::vector<Connection> connections = List(server);
  std::set<std::string> over;
  // The newest go: who was there first is served.
  for (size_t i = bounds_.max_connections; i < connections.size(); ++i) over.insert(connections[i].peer);
  if (!over.empty()) spdlog::warn("{} connections above --max-connections are shut", over.size());

  const size_t counted = std::min(connections.size(), kCounted);
  auto at = std::lower_bound(connections.begin(), connections.end(), next_socket_,
                             [](const Connection& one, int64_t id) { return one.id < id; });
  for (size_t i = 0; i < counted; ++i, ++at) {
    if (at == connections.end()) at = connections.begin();
    const uint64_t streams = OpenStreams(at->id);
    next_socket_ = at->id + 1;
    if (streams <= bounds_.max_streams_per_connection) continue;
    spdlog::warn("{} has {} streams open and ignores that {} may be: its connection is shut", Printable(at->peer),
                 streams, bounds_.max_streams_per_connection);
    over.insert(at->peer);
  }
  if (!over.empty()) Shut(over);
}

}  // namespace lstmd::server
