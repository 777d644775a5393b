// SPDX-License-Identifier: Apache-2.0
#include "server/connection_guard.h"

#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "engine/memory_budget.h"
#include "server/errors.h"
#include "spdlog/spdlog.h"

namespace lstmd::server {
namespace {

// Looks come this often, or at the next glance where memory has grown by so much, or the calls in all by so many: a
// heap that had room does not grow.
constexpr absl::Duration kInterval = absl::Seconds(1);
constexpr absl::Duration kGlance = absl::Milliseconds(20);
constexpr uint64_t kGrowth = 16 << 20;
constexpr uint64_t kMoreCalls = 1000;
// A thorough one comes upon growth, and now and then for those who are slow.
constexpr absl::Duration kThoroughInterval = absl::Seconds(5);
// After a cut, and while a host floods, the next look comes so soon: where one came from there are more.
constexpr absl::Duration kSoon = absl::Milliseconds(5);
// What connections have received is looked at this often, or less, so that it takes no more than a small share of the
// time; the calls and messages of one are counted when it has received so much.
constexpr absl::Duration kBytesInterval = absl::Milliseconds(100);
constexpr int kBytesShare = 50;
constexpr uint64_t kManyBytes = 1 << 20;
// Connections whose calls are counted in a look, and in a thorough one.
constexpr size_t kCounted = 128;
constexpr size_t kThoroughlyCounted = 2048;
// What gRPC has read it makes calls of, whoever is cut meanwhile, and to take them down takes it longer. So for a while
// after a host was too much, its connections that pile up calls are cut when they have so many, or more than this
// waiting to be read.
constexpr absl::Duration kFlooding = absl::Seconds(1);
constexpr uint64_t kMostUnread = 16 << 10;
constexpr uint64_t kMostPiledUp = 64;
constexpr uint64_t kWorthTrimming = 8 << 20;

}  // namespace

uint64_t RoomForConnections() {
  constexpr uint64_t kOthers = 128;  // models, stores, logs, and connections on their way out
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return UINT64_MAX;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur > 2 * kOthers ? limit.rlim_cur - kOthers : limit.rlim_cur / 2;
}

ConnectionGuard::ConnectionGuard(ConnectionBounds bounds, int64_t server, std::vector<int> ports,
                                 ConnectionCounters* counters)
    : bounds_(bounds),
      server_(server),
      ports_(std::move(ports)),
      counters_(*counters),
      held_(ResidentBytes()),
      thread_(kGlance, [this] { return Glance(); }) {}

absl::Duration ConnectionGuard::Glance() {
  since_ += kGlance;
  since_thorough_ += kGlance;
  since_bytes_ += kGlance;
  const uint64_t now = ResidentBytes();
  const uint64_t calls = CountOpenCalls(server_);
  held_ = std::min(held_, now);
  calls_ = std::min(calls_, calls);
  const bool quiet = found_ == Found::kNothing && now < held_ + kGrowth && calls < calls_ + kMoreCalls;
  const bool thorough = !quiet || since_thorough_ >= kThoroughInterval;
  const bool bytes = thorough || since_bytes_ >= bytes_interval_;
  const bool regular = thorough || since_ >= kInterval;
  if (!bytes && !regular) return kGlance;
  if (thorough) since_thorough_ = absl::ZeroDuration();
  if (regular) {
    since_ = absl::ZeroDuration();
    held_ = now;
    calls_ = calls;
  }
  found_ = Look(thorough ? kThoroughlyCounted : regular ? kCounted : 0, bytes);
  if (found_ != Found::kNothing) {
    trim_ = true;
    return kSoon;
  }
  if (trim_ && quiet) Trim();
  return kGlance;
}

void ConnectionGuard::Trim() {
  // The allocator keeps what it was given back: then the next flood would not show as growth.
  const uint64_t before = ResidentBytes();
  malloc_trim(0);
  held_ = ResidentBytes();
  trim_ = !leaving_.empty() || before > held_ + kWorthTrimming;
}

bool ConnectionGuard::HasReceivedMuch(const Socket& socket) const {
  const auto peer = peers_.find(socket.peer);
  if (peer == peers_.end()) return false;
  const auto track = tracks_.find(socket.id);
  return peer->second.received >= (track == tracks_.end() ? 0 : track->second.received()) + kManyBytes;
}

void ConnectionGuard::Count(const Socket& socket) {
  CallTrack& track = tracks_[socket.id];
  track.Count(CountCalls(socket.id), absl::Now());
  if (const auto peer = peers_.find(socket.peer); peer != peers_.end()) track.Receive(peer->second.received);
}

std::vector<Connection> ConnectionGuard::List(size_t counted) {
  const std::vector<Socket> sockets = ListSockets(server_);
  counted = std::min(sockets.size(), counted);
  auto at = std::lower_bound(sockets.begin(), sockets.end(), next_,
                             [](const Socket& one, int64_t id) { return one.id < id; });
  for (size_t i = 0; i < counted; ++i, ++at) {
    if (at == sockets.end()) at = sockets.begin();
    Count(*at);
    next_ = at->id + 1;
  }
  for (const Socket& socket : sockets) {
    if (HasReceivedMuch(socket)) Count(socket);
  }
  std::vector<Connection> connections;
  std::unordered_map<int64_t, CallTrack> tracks;
  std::unordered_set<int64_t> leaving;
  leaving_peers_.clear();
  busy_hosts_.clear();
  uint64_t calls = 0;
  uint64_t unfinished = 0;
  for (const Socket& socket : sockets) {
    Connection one = {socket.id, socket.peer};
    if (const auto it = tracks_.find(socket.id); it != tracks_.end()) {
      one.open = it->second.open();
      one.lasting = it->second.lasting();
      one.piling_up = it->second.piling_up();
      one.unfinished = it->second.unfinished();
      calls += one.open;
      unfinished += one.unfinished;
      tracks.insert(*it);
    }
    if (leaving_.count(socket.id) > 0) {
      leaving.insert(socket.id);
      leaving_peers_.insert(socket.peer);
      if (one.open > 0) busy_hosts_.insert(HostOf(socket.peer));
    } else {
      connections.push_back(std::move(one));
    }
  }
  tracks_ = std::move(tracks);
  leaving_ = std::move(leaving);
  if (!peers_.empty()) {
    shaking_hands_ = 0;
    std::unordered_set<std::string> listed;
    for (const Socket& socket : sockets) listed.insert(socket.peer);
    for (const auto& [peer, one] : peers_) {
      if (listed.count(peer) > 0 || std::find(ports_.begin(), ports_.end(), one.port) == ports_.end()) continue;
      connections.push_back({kShakingHands, peer});
      ++shaking_hands_;
    }
  }
  counters_.connections.Set(static_cast<int64_t>(sockets.size() + shaking_hands_));
  counters_.calls.Set(static_cast<int64_t>(calls));
  counters_.unfinished.Set(static_cast<int64_t>(unfinished));
  return connections;
}

ConnectionGuard::Found ConnectionGuard::Look(size_t counted, bool bytes) {
  peers_.clear();
  const absl::Time start = absl::Now();
  if (bytes) peers_ = TcpPeers();
  const std::vector<Connection> connections = List(counted);
  if (bytes) {
    since_bytes_ = absl::ZeroDuration();
    bytes_interval_ = std::max(kBytesInterval, kBytesShare * (absl::Now() - start));
  }
  std::vector<Cut> cuts = ChooseCuts(connections, bounds_);
  NoteFloods(connections, cuts);
  if (cuts.empty()) cuts = ChooseFlooding(connections);
  CutAll(cuts);
  if (!cuts.empty()) {
    Say(cuts, connections.size());
    return Found::kCuts;
  }
  return TooManyCalls() || !floods_.empty() ? Found::kSuspects : Found::kNothing;
}

bool ConnectionGuard::TooManyCalls() const { return counters_.calls.value() > static_cast<int64_t>(bounds_.max_calls); }

void ConnectionGuard::NoteFloods(const std::vector<Connection>& connections, const std::vector<Cut>& cuts) {
  const absl::Time now = absl::Now();
  // What it sent last is torn down last: it would flood again before that is gone.
  for (auto& [host, flood] : floods_) {
    if (busy_hosts_.count(host) > 0) flood.until = now + kFlooding;
  }
  for (auto it = floods_.begin(); it != floods_.end();) it = it->second.until < now ? floods_.erase(it) : std::next(it);
  for (const Cut& cut : cuts) {
    if (cut.reason != CutReason::kStreams && cut.reason != CutReason::kCalls) continue;
    const auto [it, is_new] = floods_.try_emplace(HostOf(cut.connection.peer));
    it->second.until = now + kFlooding;
    if (!is_new) continue;
    for (const Connection& one : connections) it->second.newest = std::max(it->second.newest, one.id);
  }
}

std::vector<Cut> ConnectionGuard::ChooseFlooding(const std::vector<Connection>& connections) const {
  const bool too_many = TooManyCalls();
  std::vector<Cut> cuts;
  for (const Connection& one : connections) {
    const auto flood = floods_.find(HostOf(one.peer));
    if (flood == floods_.end()) continue;
    const auto peer = peers_.find(one.peer);
    const bool unread = peer != peers_.end() && peer->second.unread > kMostUnread;
    const bool piled_up = one.piling_up && (unread || one.open > kMostPiledUp);
    if (piled_up || (too_many && one.id > flood->second.newest)) cuts.push_back({one, CutReason::kCalls});
  }
  return cuts;
}

void ConnectionGuard::CutAll(const std::vector<Cut>& cuts) {
  for (const Cut& cut : cuts) {
    leaving_.insert(cut.connection.id);
    leaving_peers_.insert(cut.connection.peer);
    counters_.cut[static_cast<size_t>(cut.reason)].Add(1);
  }
  // Also once more those of before: what they sent on their way in may have come since.
  if (leaving_peers_.empty()) return;
  if (peers_.empty()) peers_ = TcpPeers();
  for (const std::string& peer : leaving_peers_) {
    if (const auto it = peers_.find(peer); it != peers_.end()) ResetPeer(it->second.fd, peer);
  }
}

void ConnectionGuard::Say(const std::vector<Cut>& cuts, size_t connections) {
  unsaid_ += cuts.size();
  const absl::Time now = absl::Now();
  if (now - said_ < kInterval) return;
  const Cut& first = cuts.front();
  spdlog::warn("{} connections cut of {} with {} open calls; that of {} with {} calls and {} KiB unfinished, for --{}",
               unsaid_, connections, counters_.calls.value(), Printable(first.connection.peer), first.connection.open,
               first.connection.unfinished >> 10,
               absl::StrReplaceAll(kCutReasons[static_cast<size_t>(first.reason)], {{"_", "-"}}));
  unsaid_ = 0;
  said_ = now;
}

}  // namespace lstmd::server
