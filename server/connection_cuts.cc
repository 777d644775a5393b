// SPDX-License-Identifier: Apache-2.0
#include "server/connection_cuts.h"

#include <algorithm>
#include <queue>
#include <unordered_map>
#include <utility>

#include "absl/strings/match.h"

namespace lstmd::server {
namespace {

// A call that has begun and said nothing yet, measured with room to spare.
constexpr uint64_t kCallBytes = 16 << 10;
constexpr absl::Duration kLasting = absl::Milliseconds(200);

// Marks the newest connections of the hosts that have the most, until `count` are left.
void MarkTooMany(const std::vector<Connection>& connections, size_t count, std::vector<bool>* marked) {
  size_t left = 0;
  std::unordered_map<std::string, std::vector<size_t>> hosts;
  for (size_t i = 0; i < connections.size(); ++i) {
    if (!(*marked)[i] && IsTcp(connections[i].peer)) {
      hosts[HostOf(connections[i].peer)].push_back(i);
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

// Marks those with the most, and of equals the newest, until what they hold together is no more than `bound`. `held` of
// a connection is what it holds; `of` is by what it is judged, 0: not at all.
template <typename Held, typename Of>
void MarkMost(const std::vector<Connection>& connections, uint64_t bound, const Held& held, const Of& of,
              std::vector<bool>* marked) {
  uint64_t sum = 0;
  std::vector<size_t> order;
  for (size_t i = 0; i < connections.size(); ++i) {
    if ((*marked)[i] || !IsTcp(connections[i].peer)) continue;
    sum += held(connections[i]);
    if (of(connections[i]) > 0) order.push_back(i);
  }
  if (sum <= bound) return;
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return std::pair(of(connections[a]), a) > std::pair(of(connections[b]), b); });
  for (const size_t i : order) {
    if (sum <= bound) return;
    (*marked)[i] = true;
    sum -= held(connections[i]);
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

uint64_t UnfinishedFor(uint64_t memory_limit, uint64_t max_message_bytes) {
  return memory_limit == 0 ? UINT64_MAX : std::max(memory_limit / 4, max_message_bytes);
}

void CallTrack::Count(const CallCounts& counts, absl::Time now) {
  came_whole_ = came_whole_ || counts.messages != counts_.messages;
  if (now - newer_at_ >= kLasting) {
    older_ = newer_;
    newer_ = counts.started;
    newer_at_ = now;
  }
  counts_ = counts;
}

void CallTrack::Receive(uint64_t bytes) {
  bytes_ = bytes;
  if (came_whole_) whole_ = bytes;
  came_whole_ = false;
}

std::string HostOf(const std::string& peer) { return peer.substr(0, peer.rfind(':')); }

bool IsTcp(const std::string& peer) { return absl::StartsWith(peer, "ip"); }

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
    marked[i] = IsTcp(connections[i].peer) && connections[i].lasting > bounds.max_streams_per_connection;
  }
  take(CutReason::kStreams);
  MarkTooMany(connections, bounds.max_connections, &marked);
  take(CutReason::kConnections);
  const auto open = [](const Connection& one) { return one.open; };
  // Where messages come whole, only those are judged that have been open for a while.
  MarkMost(
      connections, bounds.max_calls, open, [](const Connection& one) { return one.piling_up ? one.open : one.lasting; },
      &marked);
  take(CutReason::kCalls);
  const auto unfinished = [](const Connection& one) { return one.unfinished; };
  MarkMost(connections, bounds.max_unfinished_bytes, unfinished, unfinished, &marked);
  take(CutReason::kBytes);
  return cuts;
}

}  // namespace lstmd::server
