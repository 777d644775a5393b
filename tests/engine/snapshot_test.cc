// SPDX-License-Identifier: Apache-2.0
//
// The bytes of a snapshot.
#include "engine/snapshot.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "engine/errors.h"
#include "gtest/gtest.h"

namespace lstmd {
namespace {

Reply SomeReply(uint64_t seq, bool state) {
  Reply reply;
  reply.seq = seq;
  reply.output_size = 3;
  reply.values = {1.5f, -0.0f, 3.0f};
  if (state) {
    reply.h_size = 2;
    reply.values.insert(reply.values.end(), {4, 5, 6, 7});
  }
  return reply;
}

Snapshot Some() {
  Snapshot snapshot;
  snapshot.model = "sunspots";
  snapshot.model_version = 3;
  snapshot.weights_sha256 = "ab12";
  snapshot.id = "alice";
  snapshot.uid = {7, 1ull << 63};
  snapshot.epoch = 5;
  snapshot.last_seq = 12;
  snapshot.steps = 99;
  snapshot.create_time = absl::FromUnixNanos(1'700'000'000'123'456'789);
  snapshot.last_step_time = absl::FromUnixNanos(1'700'000'001'000'000'001);
  snapshot.idle_ttl = absl::Hours(1) + absl::Nanoseconds(1);
  snapshot.expire_time = absl::FromUnixSeconds(253402300799);  // the last second of the year 9999
  snapshot.labels = {{"a", ""}, {"tier", "gold"}};
  snapshot.durability = Durability::kEveryStep;
  snapshot.pinned = true;
  snapshot.h = {1, 2, std::numeric_limits<float>::infinity()};
  snapshot.c = {std::nanf("17"), -4};
  snapshot.replies = {SomeReply(11, false), SomeReply(12, true)};
  return snapshot;
}

std::string Reason(const absl::Status& status) { return GetCause(status).reason; }

// With the checksum of what it now holds.
std::string Resealed(std::string bytes) {
  const uint32_t checksum = Crc32c(std::string_view(bytes).substr(12));
  std::memcpy(bytes.data() + 8, &checksum, sizeof checksum);
  return bytes;
}

TEST(SnapshotTest, TheChecksumIsCrc32c) {
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);  // the check value of the CRC catalogue
  EXPECT_EQ(Crc32c(""), 0u);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);  // RFC 3720, B.4
}

TEST(SnapshotTest, EveryFieldComesBack) {
  const Snapshot in = Some();
  const auto out = DecodeSnapshot(EncodeSnapshot(in));
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_EQ(out->model, in.model);
  EXPECT_EQ(out->model_version, in.model_version);
  EXPECT_EQ(out->weights_sha256, in.weights_sha256);
  EXPECT_EQ(out->id, in.id);
  EXPECT_EQ(out->uid, in.uid);
  EXPECT_EQ(out->epoch, in.epoch);
  EXPECT_EQ(out->last_seq, in.last_seq);
  EXPECT_EQ(out->steps, in.steps);
  EXPECT_EQ(out->create_time, in.create_time);
  EXPECT_EQ(out->last_step_time, in.last_step_time);
  EXPECT_EQ(out->idle_ttl, in.idle_ttl);
  EXPECT_EQ(out->expire_time, in.expire_time);
  EXPECT_EQ(out->labels, in.labels);
  EXPECT_EQ(out->durability, in.durability);
  EXPECT_TRUE(out->pinned);
  EXPECT_EQ(std::memcmp(out->h.data(), in.h.data(), 12), 0);
  EXPECT_EQ(std::memcmp(out->c.data(), in.c.data(), 8), 0);
  ASSERT_EQ(out->replies.size(), 2u);
  EXPECT_EQ(out->replies[0].seq, 11u);
  EXPECT_FALSE(out->replies[0].has_state());
  EXPECT_TRUE(std::signbit(out->replies[0].output()[1]));
  EXPECT_EQ(out->replies[1].h()[1], 5);
  EXPECT_EQ(out->replies[1].c()[1], 7);
  EXPECT_EQ(EncodeSnapshot(*out), EncodeSnapshot(in));
}

TEST(SnapshotTest, InfiniteTimesComeBack) {
  Snapshot in;
  in.idle_ttl = absl::InfiniteDuration();
  const auto out = DecodeSnapshot(EncodeSnapshot(in));
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_EQ(out->last_step_time, absl::InfinitePast());
  EXPECT_EQ(out->expire_time, absl::InfiniteFuture());
  EXPECT_EQ(out->idle_ttl, absl::InfiniteDuration());
  EXPECT_EQ(DueTime(*out), absl::InfiniteFuture());
}

TEST(SnapshotTest, ItIsDueAfterItsIdleTimeOrAtItsEnd) {
  Snapshot snapshot = Some();
  EXPECT_EQ(DueTime(snapshot), snapshot.last_step_time + snapshot.idle_ttl);
  snapshot.expire_time = snapshot.create_time + absl::Seconds(1);
  EXPECT_EQ(DueTime(snapshot), snapshot.expire_time);
  snapshot.idle_ttl = absl::ZeroDuration();
  snapshot.expire_time = absl::InfiniteFuture();
  EXPECT_EQ(DueTime(snapshot), absl::InfiniteFuture());
}

TEST(SnapshotTest, EveryFlippedByteIsSeen) {
  const std::string good = EncodeSnapshot(Some());
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x20);
    const auto out = DecodeSnapshot(bad);
    ASSERT_FALSE(out.ok()) << i;
    EXPECT_EQ(Reason(out.status()), i < 8 ? "SNAPSHOT_FORMAT" : "SNAPSHOT_CHECKSUM") << i;
  }
}

TEST(SnapshotTest, EveryTruncationIsSeen) {
  const std::string good = EncodeSnapshot(Some());
  for (size_t size = 0; size < good.size(); ++size) {
    const std::string bad = good.substr(0, size);
    ASSERT_FALSE(DecodeSnapshot(bad).ok()) << size;
    if (size >= 12) {
      EXPECT_EQ(Reason(DecodeSnapshot(Resealed(bad)).status()), "SNAPSHOT_FORMAT") << size;
    }
  }
  EXPECT_EQ(Reason(DecodeSnapshot(Resealed(good + "x")).status()), "SNAPSHOT_FORMAT");
}

TEST(SnapshotTest, ContradictionsAreRefused) {
  const auto refused = [](const Snapshot& snapshot) {
    const auto out = DecodeSnapshot(EncodeSnapshot(snapshot));
    return !out.ok() && Reason(out.status()) == "SNAPSHOT_FORMAT";
  };
  EXPECT_FALSE(refused(Some()));
  Snapshot snapshot = Some();
  snapshot.last_seq = 11;  // a reply of the future
  EXPECT_TRUE(refused(snapshot));
  snapshot = Some();
  std::swap(snapshot.replies[0], snapshot.replies[1]);
  EXPECT_TRUE(refused(snapshot));
  snapshot = Some();
  snapshot.replies[0].output_size = 4;  // more than it has
  EXPECT_TRUE(refused(snapshot));
  snapshot = Some();
  snapshot.replies[0].output_size = 2;  // a value that is neither output nor state
  EXPECT_TRUE(refused(snapshot));
  snapshot = Some();
  snapshot.durability = static_cast<Durability>(3);
  EXPECT_TRUE(refused(snapshot));
}

TEST(SnapshotTest, AReplyAloneComesBack) {
  const Reply in = SomeReply(9, true);
  const std::string bytes = EncodeReply(in);
  const auto out = DecodeReply(bytes);
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_EQ(out->seq, 9u);
  EXPECT_EQ(out->values, in.values);
  EXPECT_EQ(EncodeReply(*out), bytes);
  EXPECT_EQ(Reason(DecodeReply(bytes.substr(0, bytes.size() - 1)).status()), "SNAPSHOT_CHECKSUM");
  EXPECT_EQ(Reason(DecodeReply(EncodeSnapshot(Some())).status()), "SNAPSHOT_FORMAT");
  EXPECT_EQ(Reason(DecodeSnapshot(bytes).status()), "SNAPSHOT_FORMAT");
}

}  // namespace
}  // namespace lstmd
