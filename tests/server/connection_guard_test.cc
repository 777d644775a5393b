// SPDX-License-Identifier: Apache-2.0
#include "gmock/gmock.h"
#include "server/connection_cuts.h"
#include "server/library_logs.h"

namespace lstmd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

ConnectionBounds Bounds(uint64_t connections, uint64_t each, uint64_t calls, uint64_t bytes = 0) {
  return {connections, each, calls, bytes};
}

// One whose calls have been open for a while.
Connection Of(int64_t id, const std::string& peer, uint64_t calls = 0) { return {id, peer, calls, calls}; }
Connection Filling(int64_t id, uint64_t bytes) { return {id, "ipv4:10.0.0.1:1", 1, 1, false, bytes}; }

std::vector<std::pair<int64_t, CutReason>> Chosen(const std::vector<Connection>& connections,
                                                  const ConnectionBounds& bounds) {
  std::vector<std::pair<int64_t, CutReason>> chosen;
  for (const Cut& cut : ChooseCuts(connections, bounds)) chosen.emplace_back(cut.connection.id, cut.reason);
  return chosen;
}

TEST(ChooseCutsTest, NothingWithinTheBounds) {
  EXPECT_THAT(Chosen({}, Bounds(0, 0, 0)), IsEmpty());
  EXPECT_THAT(Chosen({Of(1, "ipv4:10.0.0.1:1", 5), Of(2, "ipv4:10.0.0.1:2", 5)}, Bounds(2, 5, 10)), IsEmpty());
}

TEST(ChooseCutsTest, WhoHasTooManyCallsGoesFirstAndCountsNoMore) {
  EXPECT_THAT(Chosen({Of(1, "ipv4:10.0.0.1:1", 6), Of(2, "ipv4:10.0.0.1:2", 5)}, Bounds(1, 5, 5)),
              ElementsAre(std::pair(1, CutReason::kStreams)));
}

TEST(ChooseCutsTest, OfTooManyTheNewestOfTheAddressWithTheMost) {
  const std::vector<Connection> all = {Of(1, "ipv4:10.0.0.1:1"), Of(2, "ipv6:[::1]:7"), Of(3, "ipv4:10.0.0.1:3"),
                                       Of(4, "ipv4:10.0.0.1:4"), Of(5, "ipv4:10.0.0.2:5")};
  EXPECT_THAT(Chosen(all, Bounds(4, 9, 9)), ElementsAre(std::pair(4, CutReason::kConnections)));
  EXPECT_THAT(Chosen(all, Bounds(3, 9, 9)),
              ElementsAre(std::pair(3, CutReason::kConnections), std::pair(4, CutReason::kConnections)));
  EXPECT_EQ(Chosen(all, Bounds(0, 9, 9)).size(), 5u);
}

TEST(ChooseCutsTest, OfTooManyCallsTheConnectionsWithTheMost) {
  const std::vector<Connection> all = {Of(1, "ipv4:10.0.0.1:1", 2), Of(2, "ipv4:10.0.0.1:2", 9),
                                       Of(3, "ipv4:10.0.0.1:3", 9), Of(4, "ipv4:10.0.0.2:4", 3)};
  EXPECT_THAT(Chosen(all, Bounds(9, 9, 22)), ElementsAre(std::pair(3, CutReason::kCalls)));
  EXPECT_THAT(Chosen(all, Bounds(9, 9, 5)),
              ElementsAre(std::pair(2, CutReason::kCalls), std::pair(3, CutReason::kCalls)));
}

TEST(ChooseCutsTest, UnixSocketsAreLeftAlone) {
  EXPECT_THAT(Chosen({Of(1, "unix:", 100), Of(2, "unix:", 100)}, Bounds(1, 5, 5)), IsEmpty());
  EXPECT_THAT(Chosen({Of(1, "unix:", 100), Of(2, "ipv4:10.0.0.1:2", 5)}, Bounds(1, 5, 5)), IsEmpty());
}

// gRPC takes calls down late on a busy machine: a client may seem to be above its limit.
TEST(ChooseCutsTest, CallsThatAreAboutToEndAreNotHeldAgainstAnyone) {
  const Connection busy = {1, "ipv4:10.0.0.1:1", 900, 3};
  EXPECT_THAT(Chosen({busy}, Bounds(9, 256, 2000)), IsEmpty());
  const Connection ending = {1, "ipv4:10.0.0.1:1", 900, 0};
  EXPECT_THAT(Chosen({ending, Of(2, "ipv4:10.0.0.2:2", 200)}, Bounds(9, 256, 1000)),
              ElementsAre(std::pair(2, CutReason::kCalls)));
  EXPECT_THAT(Chosen({ending, Of(2, "ipv4:10.0.0.2:2", 200)}, Bounds(9, 256, 1100)), IsEmpty());
  // One whose calls never say what they want has nothing that could be about to end.
  const Connection piling_up = {3, "ipv4:10.0.0.3:3", 900, 0, true};
  EXPECT_THAT(Chosen({ending, piling_up}, Bounds(9, 256, 1000)), ElementsAre(std::pair(3, CutReason::kCalls)));
}

TEST(ChooseCutsTest, OfTooManyUnfinishedBytesTheConnectionsWithTheMost) {
  const std::vector<Connection> all = {Filling(1, 50), Filling(2, 10), Filling(3, 50), Filling(4, 0)};
  EXPECT_THAT(Chosen(all, Bounds(9, 9, 9, 110)), IsEmpty());
  EXPECT_THAT(Chosen(all, Bounds(9, 9, 9, 60)), ElementsAre(std::pair(3, CutReason::kBytes)));
  EXPECT_THAT(Chosen(all, Bounds(9, 9, 9, 59)),
              ElementsAre(std::pair(1, CutReason::kBytes), std::pair(3, CutReason::kBytes)));
}

TEST(CallTrackTest, OnlyCallsThatStayAreLasting) {
  const absl::Time start = absl::UnixEpoch();
  CallTrack track;
  track.Count({900, 0, 0}, start);
  EXPECT_EQ(track.open(), 900u);
  EXPECT_EQ(track.lasting(), 0u);
  track.Count({900, 0, 0}, start + absl::Milliseconds(199));
  EXPECT_EQ(track.lasting(), 0u);
  track.Count({1000, 300, 0}, start + absl::Milliseconds(200));
  EXPECT_EQ(track.open(), 700u);
  EXPECT_EQ(track.lasting(), 600u);
  // As many are open again, but others.
  track.Count({1700, 1000, 0}, start + absl::Milliseconds(400));
  EXPECT_EQ(track.open(), 700u);
  EXPECT_EQ(track.lasting(), 0u);
}

TEST(CallTrackTest, CallsPileUpWhoseMessagesDoNotCome) {
  CallTrack track;
  EXPECT_TRUE(track.piling_up());
  track.Count({5001, 1, 1}, absl::UnixEpoch());  // one that was answered, and 5,000 that say nothing
  EXPECT_TRUE(track.piling_up());
  track.Count({1200, 315, 1200}, absl::UnixEpoch());  // calls that gRPC has yet to take down
  EXPECT_FALSE(track.piling_up());
  track.Count({1, 0, 100}, absl::UnixEpoch());  // a stream
  EXPECT_FALSE(track.piling_up());
}

TEST(CallTrackTest, BytesAreUnfinishedUntilAMessageComesWhole) {
  CallTrack track;
  track.Receive(100);
  EXPECT_EQ(track.unfinished(), 100u);
  track.Count({1, 0, 1}, absl::UnixEpoch());
  track.Receive(300);
  EXPECT_EQ(track.unfinished(), 0u);
  track.Count({2, 1, 1}, absl::UnixEpoch());
  track.Receive(1000);
  EXPECT_EQ(track.unfinished(), 700u);
}

TEST(UnfinishedForTest, AQuarterOfTheMemoryAndAMessage) {
  EXPECT_EQ(UnfinishedFor(uint64_t{1} << 30, 1), 256u << 20);
  EXPECT_EQ(UnfinishedFor(1, 64), 64u);
  EXPECT_EQ(UnfinishedFor(0, 64), UINT64_MAX);
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
