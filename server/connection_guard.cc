// SPDX-License-Identifier: Apache-2.0
#include "server/connection_guard.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <queue>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "engine/memory_budget.h"
#include "server/errors.h"
#include "spdlog/spdlog.h"

namespace lstmd::server {
namespace {

// Looks come this often, or at the next glance where memory has grown by so much.
constexpr absl::Duration kInterval = absl::Seconds(1);
constexpr absl::Duration kGlance = absl::Milliseconds(20);
constexpr uint64_t kGrowth = 16 << 20;
// After a cut the next look comes so soon: where one came from there are more.
constexpr absl::Duration kAfterCut = absl::Milliseconds(5);
// Connections whose calls are counted in one look, and in one upon growth.
constexpr size_t kCounted = 128;
constexpr size_t kCountedUponGrowth = 2048;
// A call that has begun and said nothing yet, measured with room to spare.
constexpr uint64_t kCallBytes = 16 << 10;

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

// Resets the connection: what has arrived and was not read is lost too, unlike after shutdown(), so that not one more
// call comes of it. gRPC sees the end, and lets go of all that belongs to it.
void Reset(int fd) {
  sockaddr none = {};
  none.sa_family = AF_UNSPEC;
  if (connect(fd, &none, sizeof none) != 0) shutdown(fd, SHUT_RDWR);
}

// Should a descriptor have become another connection's in between, that client connects again.
void ResetAll(const std::set<std::string>& peers) {
  DIR* const folder = opendir("/proc/self/fd");
  if (folder == nullptr) return;
  while (const dirent* entry = readdir(folder)) {
    int fd = -1;
    if (absl::SimpleAtoi(entry->d_name, &fd) && peers.count(PeerOf(fd)) > 0) Reset(fd);
  }
  closedir(folder);
}

bool IsTcp(const Connection& connection) { return absl::StartsWith(connection.peer, "ip"); }

std::string HostOf(const Connection& connection) { return connection.peer.substr(0, connection.peer.rfind(':')); }

// Marks the newest connections of the hosts that have the most, until `count` are left.
void MarkTooMany(const std::vector<Connection>& connections, size_t count, std::vector<bool>* marked) {
  size_t left = 0;
  std::unordered_map<std::string, std::vector<size_t>> hosts;
  for (size_t i = 0; i < connections.size(); ++i) {
    if (!(*marked)[i] && IsTcp(connections[i])) {
      hosts[HostOf(connections[i])].push_back(i);
      ++left;
    }
  }
  const auto fewer = [](const std::vector<size_t>* a, const std::vector<size_t>* b) { return a->size() < b->size(); };
  std::priority_queue<std::vector<size_t>*, std::vector<std::vector<size_t>*>, decltype(fewer)> order(fewer);
  for (auto& [host, its] : hosts) order.push(&its);
  for (; left > count; --left) {
    std::vector<size_t>* const most = order.top();
    order.pop();
    (*marked)[most->back()] = true;
    most->pop_back();
    order.push(most);
  }
}

// Marks those with the most calls, until no more than `calls` are left.
void MarkBusiest(const std::vector<Connection>& connections, uint64_t calls, std::vector<bool>* marked) {
  uint64_t open = 0;
  std::vector<size_t> order;
  for (size_t i = 0; i < connections.size(); ++i) {
    if ((*marked)[i] || !IsTcp(connections[i])) continue;
    open += connections[i].open;
    order.push_back(i);
  }
  if (open <= calls) return;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return connections[a].open != connections[b].open ? connections[a].open > connections[b].open : a > b;
  });
  for (const size_t i : order) {
    if (open <= calls) return;
    (*marked)[i] = true;
    open -= connections[i].open;
  }
}

}  // namespace

uint64_t CallsFor(uint64_t memory_limit) {
  constexpr uint64_t kFewest = 1024;
  constexpr uint64_t kMost = 1 << 20;
  return memory_limit == 0 ? kMost : std::clamp(memory_limit / 4 / kCallBytes, kFewest, kMost);
}

uint64_t StreamsFor(uint64_t memory_limit) {
  constexpr uint64_t kStreamBytes = 128 << 10;  // the transport's windows both ways, and a reply
  constexpr uint64_t kFewest = 256;
  constexpr uint64_t kMost = 20'000;
  return memory_limit == 0 ? kMost : std::clamp(memory_limit / 2 / kStreamBytes, kFewest, kMost);
}

uint64_t RoomForConnections() {
  constexpr uint64_t kOthers = 128;  // models, stores, logs, and connections on their way out
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return UINT64_MAX;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur > 2 * kOthers ? limit.rlim_cur - kOthers : limit.rlim_cur / 2;
}

std::vector<Cut> ChooseCuts(const std::vector<Connection>& connections, const ConnectionBounds& bounds) {
  std::vector<Cut> cuts;
  std::vector<bool> marked(connections.size(), false);
  std::vector<bool> cut = marked;
  const auto take = [&](CutReason reason) {
    for (size_t i = 0; i < connections.size(); ++i) {
      if (marked[i] && !cut[i]) cuts.push_back({connections[i], reason});
    }
    cut = marked;
  };
  for (size_t i = 0; i < connections.size(); ++i) {
    marked[i] = IsTcp(connections[i]) && connections[i].open > bounds.max_streams_per_connection;
  }
  take(CutReason::kStreams);
  MarkTooMany(connections, bounds.max_connections, &marked);
  take(CutReason::kConnections);
  MarkBusiest(connections, bounds.max_calls, &marked);
  take(CutReason::kCalls);
  return cuts;
}

ConnectionGuard::ConnectionGuard(ConnectionBounds bounds, int64_t server, ConnectionCounters* counters)
    : bounds_(bounds), server_(server), counters_(*counters), held_(ResidentBytes()), thread_(kGlance, [this] {
        return Glance();
      }) {}

absl::Duration ConnectionGuard::Glance() {
  since_ += kGlance;
  const uint64_t now = ResidentBytes();
  held_ = std::min(held_, now);
  const bool grown = now >= held_ + kGrowth;
  const bool quiet = !cut_ && !grown;
  if (quiet && since_ < kInterval) return kGlance;
  since_ = absl::ZeroDuration();
  held_ = now;
  cut_ = Look(quiet ? kCounted : kCountedUponGrowth);
  if (cut_) {
    trim_ = true;
    return kAfterCut;
  }
  if (trim_ && quiet) {
    // The allocator keeps what the connections that were cut held: then the next flood would not show as growth.
    trim_ = false;
    malloc_trim(0);
  }
  return kGlance;
}

bool ConnectionGuard::Look(size_t counted) {
  std::vector<Connection> connections = ListConnections(server_);
  counted = std::min(connections.size(), counted);
  auto at = std::lower_bound(connections.begin(), connections.end(), next_,
                             [](const Connection& one, int64_t id) { return one.id < id; });
  for (size_t i = 0; i < counted; ++i, ++at) {
    if (at == connections.end()) at = connections.begin();
    open_[at->id] = OpenCalls(at->id);
    next_ = at->id + 1;
  }
  std::unordered_map<int64_t, uint64_t> known;
  uint64_t calls = 0;
  for (Connection& connection : connections) {
    const auto it = open_.find(connection.id);
    if (it == open_.end()) continue;
    known.insert(*it);
    connection.open = it->second;
    calls += it->second;
  }
  open_ = std::move(known);
  counters_.connections.Set(static_cast<int64_t>(connections.size()));
  counters_.calls.Set(static_cast<int64_t>(calls));

  // Those that were cut bring nothing more, and go when gRPC has taken down their calls: they count no more.
  const size_t all = connections.size();
  std::unordered_set<int64_t> leaving;
  std::set<std::string> peers;
  const auto is_leaving = [&](const Connection& one) {
    if (leaving_.count(one.id) == 0) return false;
    leaving.insert(one.id);
    peers.insert(one.peer);
    return true;
  };
  connections.erase(std::remove_if(connections.begin(), connections.end(), is_leaving), connections.end());
  const std::vector<Cut> cuts = ChooseCuts(connections, bounds_);
  for (const Cut& cut : cuts) {
    leaving.insert(cut.connection.id);
    peers.insert(cut.connection.peer);
    counters_.cut[static_cast<size_t>(cut.reason)].Add(1);
  }
  leaving_ = std::move(leaving);
  if (!peers.empty()) ResetAll(peers);
  if (cuts.empty()) return false;
  unsaid_ += cuts.size();
  if (const absl::Time now = absl::Now(); now - said_ >= kInterval) {
    const Cut& first = cuts.front();
    spdlog::warn("{} connections cut of {} with {} open calls; that of {} with {} calls, for --{}", unsaid_, all, calls,
                 Printable(first.connection.peer), first.connection.open,
                 absl::StrReplaceAll(kCutReasons[static_cast<size_t>(first.reason)], {{"_", "-"}}));
    unsaid_ = 0;
    said_ = now;
  }
  return true;
}

}  // namespace lstmd::server
