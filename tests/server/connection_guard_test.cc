// SPDX-License-Identifier: Apache-2.0
#include "server/connection_guard.h"

#include "gmock/gmock.h"
#include "server/library_logs.h"

namespace lstmd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

ConnectionBounds Bounds(uint64_t connections, uint64_t each, uint64_t calls) { return {connections, each, calls}; }

std::vector<std::pair<int64_t, CutReason>> Chosen(const std::vector<Connection>& connections,
                                                  const ConnectionBounds& bounds) {
  std::vector<std::pair<int64_t, CutReason>> chosen;
  for (const Cut& cut : ChooseCuts(connections, bounds)) chosen.emplace_back(cut.connection.id, cut.reason);
  return chosen;
}

TEST(ChooseCutsTest, NothingWithinTheBounds) {
  EXPECT_THAT(Chosen({}, Bounds(0, 0, 0)), IsEmpty());
  EXPECT_THAT(Chosen({{1, "ipv4:10.0.0.1:1", 5}, {2, "ipv4:10.0.0.1:2", 5}}, Bounds(2, 5, 10)), IsEmpty());
}

TEST(ChooseCutsTest, WhoHasTooManyCallsGoesFirstAndCountsNoMore) {
  EXPECT_THAT(Chosen({{1, "ipv4:10.0.0.1:1", 6}, {2, "ipv4:10.0.0.1:2", 5}}, Bounds(1, 5, 5)),
              ElementsAre(std::pair(1, CutReason::kStreams)));
}

TEST(ChooseCutsTest, OfTooManyTheNewestOfTheAddressWithTheMost) {
  const std::vector<Connection> all = {{1, "ipv4:10.0.0.1:1"},
                                       {2, "ipv6:[::1]:7"},
                                       {3, "ipv4:10.0.0.1:3"},
                                       {4, "ipv4:10.0.0.1:4"},
                                       {5, "ipv4:10.0.0.2:5"}};
  EXPECT_THAT(Chosen(all, Bounds(4, 9, 9)), ElementsAre(std::pair(4, CutReason::kConnections)));
  EXPECT_THAT(Chosen(all, Bounds(3, 9, 9)),
              ElementsAre(std::pair(3, CutReason::kConnections), std::pair(4, CutReason::kConnections)));
  EXPECT_EQ(Chosen(all, Bounds(0, 9, 9)).size(), 5u);
}

TEST(ChooseCutsTest, OfTooManyCallsTheConnectionsWithTheMost) {
  const std::vector<Connection> all = {
      {1, "ipv4:10.0.0.1:1", 2}, {2, "ipv4:10.0.0.1:2", 9}, {3, "ipv4:10.0.0.1:3", 9}, {4, "ipv4:10.0.0.2:4", 3}};
  EXPECT_THAT(Chosen(all, Bounds(9, 9, 22)), ElementsAre(std::pair(3, CutReason::kCalls)));
  EXPECT_THAT(Chosen(all, Bounds(9, 9, 5)),
              ElementsAre(std::pair(2, CutReason::kCalls), std::pair(3, CutReason::kCalls)));
}

TEST(ChooseCutsTest, UnixSocketsAreLeftAlone) {
  EXPECT_THAT(Chosen({{1, "unix:", 100}, {2, "unix:", 100}}, Bounds(1, 5, 5)), IsEmpty());
  EXPECT_THAT(Chosen({{1, "unix:", 100}, {2, "ipv4:10.0.0.1:2", 5}}, Bounds(1, 5, 5)), IsEmpty());
}

TEST(CallsForTest, AQuarterOfTheMemory) {
  EXPECT_EQ(CallsFor(uint64_t{1} << 30), 16'384u);
  EXPECT_EQ(CallsFor(1), 1024u);
  EXPECT_EQ(CallsFor(uint64_t{1} << 50), 1u << 20);
  EXPECT_EQ(CallsFor(0), 1u << 20);
}

TEST(StreamsForTest, HalfOfTheMemory) {
  EXPECT_EQ(StreamsFor(uint64_t{1} << 30), 4096u);
  EXPECT_EQ(StreamsFor(1), 256u);
  EXPECT_EQ(StreamsFor(uint64_t{1} << 50), 20'000u);
  EXPECT_EQ(StreamsFor(0), 20'000u);
}

TEST(LineLimiterTest, LeavesOutAndSaysHowMany) {
  LineLimiter limiter(2, absl::Seconds(10));
  const absl::Time start = absl::UnixEpoch();
  EXPECT_EQ(limiter.Pass(start), 0u);
  EXPECT_EQ(limiter.Pass(start + absl::Seconds(9)), 0u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(limiter.Pass(start + absl::Seconds(9)), std::nullopt);
  EXPECT_EQ(limiter.Pass(start + absl::Seconds(10)), 3u);
  EXPECT_EQ(limiter.Pass(start + absl::Seconds(10)), 0u);
  EXPECT_EQ(limiter.Pass(start + absl::Seconds(11)), std::nullopt);
}

}  // namespace
}  // namespace lstmd::server
