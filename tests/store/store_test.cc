// SPDX-License-Identifier: Apache-2.0
//
// What every store promises.
#include <stdlib.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/errors.h"
#include "engine/store/redis_store.h"
#include "engine/store/rocks_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_store.h"
#include "tests/support/redis_process.h"

namespace lstmd {
namespace {

using ::testing::ElementsAre;
using Kind = StoreWrite::Kind;

constexpr uint32_t kRing = 4;
constexpr uint64_t kClaim = 0xfedcba9876543210;  // does not fit a double or an int64
constexpr uint64_t kOther = 5;

std::string Shown(const absl::Status& status) {
  if (status.ok()) return "OK";
  return absl::StrCat(absl::StatusCodeToString(status.code()), " / ", GetCause(status).reason);
}

std::string Owner(const absl::Status& status) {
  for (const auto& [key, value] : GetCause(status).metadata) {
    if (key == "owner_address") return value;
  }
  return "";
}

// Something that can be opened, and opened again after its end.
class Place {
 public:
  virtual ~Place() = default;
  virtual std::unique_ptr<StateStore> Open() = 0;
};

class FakePlace final : public Place {
 public:
  std::unique_ptr<StateStore> Open() override {
    return std::make_unique<FakeStore>(data_, std::make_shared<FakeStoreControl>());
  }

 private:
  const std::shared_ptr<FakeStoreData> data_ = std::make_shared<FakeStoreData>();
};

class RocksPlace final : public Place {
 public:
  RocksPlace() {
    std::string pattern = std::filesystem::temp_directory_path() / "lstmd_rocks_XXXXXX";
    if (mkdtemp(pattern.data()) != nullptr) folder_ = pattern;
  }
  ~RocksPlace() override { std::filesystem::remove_all(folder_); }
  std::unique_ptr<StateStore> Open() override {
    auto store = OpenStore("rocksdb:" + folder_);
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }

 private:
  std::string folder_;
};

class RedisPlace final : public Place {
 public:
  std::unique_ptr<StateStore> Open() override {
    auto store = OpenStore(redis_.flag());
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }

 private:
  RedisProcess redis_;
};

struct Kinds {
  const char* name;
  std::function<std::unique_ptr<Place>()> make;
};

class StoreTest : public ::testing::TestWithParam<Kinds> {
 protected:
  StoreTest() : place_(GetParam().make()), store_(place_->Open()) {}

  void Reopen() {
    store_.reset();
    store_ = place_->Open();
  }

  static Snapshot Some(const std::string& id, uint64_t seq, uint64_t first_reply) {
    Snapshot snapshot;
    snapshot.model = "m";
    snapshot.id = id;
    snapshot.epoch = 1;
    snapshot.last_seq = seq;
    snapshot.h = {static_cast<float>(seq), -1};
    snapshot.c = {0.5f};
    for (uint64_t one = first_reply; one <= seq && first_reply != 0; ++one) {
      Reply reply;
      reply.seq = one;
      reply.output_size = 1;
      reply.values = {static_cast<float>(10 * one)};
      snapshot.replies.push_back(reply);
    }
    return snapshot;
  }

  absl::Status Write(Kind kind, const Snapshot& snapshot, uint64_t claim = kClaim, bool all = false,
                     const std::string& owner = "here:1") {
    StoreWrite write = MakeWrite(kind, snapshot, claim, owner, kRing);
    write.all_replies = all;
    return store_->Write({&write, 1})[0];
  }

  Snapshot Stored(const std::string& id) {
    const auto stored = store_->Read({"m", id});
    EXPECT_TRUE(stored.ok()) << stored.status();
    if (!stored.ok()) return {};
    auto snapshot = ToSnapshot(*stored);
    EXPECT_TRUE(snapshot.ok()) << snapshot.status();
    return snapshot.ok() ? *std::move(snapshot) : Snapshot();
  }
  std::vector<uint64_t> Replies(const std::string& id) {
    std::vector<uint64_t> seqs;
    for (const Reply& reply : Stored(id).replies) {
      EXPECT_EQ(reply.output()[0], static_cast<float>(10 * reply.seq));
      seqs.push_back(reply.seq);
    }
    return seqs;
  }

  const std::unique_ptr<Place> place_;
  std::unique_ptr<StateStore> store_;
};

TEST_P(StoreTest, WhatWasWrittenIsThereAfterwards) {
  ASSERT_TRUE(store_->Check().ok());
  EXPECT_EQ(Shown(store_->Read({"m", "a"}).status()), "NOT_FOUND / SESSION_NOT_FOUND");
  Snapshot snapshot = Some("a", 2, 1);
  snapshot.labels = {{"zero", std::string("\0\xff", 2)}};
  ASSERT_TRUE(Write(Kind::kCreate, snapshot).ok());
  Reopen();
  const Snapshot stored = Stored("a");
  EXPECT_EQ(EncodeSnapshot(stored), EncodeSnapshot(snapshot));
  const auto raw = store_->Read({"m", "a"});
  EXPECT_EQ(raw->claim, kClaim);
  EXPECT_EQ(raw->owner, "here:1");
  EXPECT_EQ(raw->epoch, 1u);
}

TEST_P(StoreTest, AStepAddsItsReplyAndTheOldestGoes) {
  ASSERT_TRUE(Write(Kind::kCreate, Some("a", 0, 0)).ok());
  for (uint64_t seq = 1; seq <= 6; ++seq) ASSERT_TRUE(Write(Kind::kUpdate, Some("a", seq, seq)).ok());
  EXPECT_THAT(Replies("a"), ElementsAre(3, 4, 5, 6));
  EXPECT_EQ(Stored("a").h[0], 6);
}

TEST_P(StoreTest, AllRepliesReplaceThoseBefore) {
  ASSERT_TRUE(Write(Kind::kCreate, Some("a", 4, 1)).ok());
  ASSERT_TRUE(Write(Kind::kUpdate, Some("a", 1, 1), kClaim, true).ok());
  ASSERT_TRUE(Write(Kind::kUpdate, Some("a", 2, 0)).ok());  // a step whose reply is not kept
  const auto raw = store_->Read({"m", "a"});
  ASSERT_EQ(raw->replies.size(), 1u);
  EXPECT_THAT(Replies("a"), ElementsAre());
}

TEST_P(StoreTest, AClaimRaisesTheEpochAndFencesTheOwnerBefore) {
  ASSERT_TRUE(Write(Kind::kCreate, Some("a", 3, 1)).ok());
  const auto claimed = store_->Claim({"m", "a"}, kOther, "there:2");
  ASSERT_TRUE(claimed.ok()) << claimed.status();
  EXPECT_EQ(claimed->epoch, 2u);
  EXPECT_EQ(ToSnapshot(*claimed)->epoch, 2u);
  EXPECT_EQ(ToSnapshot(*claimed)->replies.size(), 3u);

  // However far the old owner has counted on by itself.
  Snapshot stale = Some("a", 4, 4);
  for (stale.epoch = 1; stale.epoch < 5; ++stale.epoch) {
    const absl::Status status = Write(Kind::kUpdate, stale);
    EXPECT_EQ(Shown(status), "ABORTED / SESSION_FENCED");
    EXPECT_EQ(Owner(status), "there:2");
  }
  EXPECT_EQ(Shown(Write(Kind::kErase, stale)), "ABORTED / SESSION_FENCED");
  EXPECT_EQ(Shown(Write(Kind::kCreate, stale)), "ALREADY_EXISTS / SESSION_EXISTS");
  EXPECT_EQ(Stored("a").last_seq, 3u);

  Snapshot mine = Some("a", 4, 4);
  mine.epoch = 2;
  EXPECT_FALSE(claimed->released);
  EXPECT_TRUE(Write(Kind::kUpdate, mine, kOther, false, "").ok());
  EXPECT_TRUE(store_->Read({"m", "a"})->released);
  EXPECT_EQ(Stored("a").last_seq, 4u);
  Reopen();
  const auto again = store_->Claim({"m", "a"}, kClaim, "here:1");
  EXPECT_EQ(again->epoch, 3u);
  EXPECT_TRUE(again->released);
  EXPECT_EQ(again->owner, "here:1");
  EXPECT_FALSE(store_->Read({"m", "a"})->released);
  EXPECT_EQ(Shown(store_->Claim({"m", "b"}, kClaim, "here:1").status()), "NOT_FOUND / SESSION_NOT_FOUND");
}

TEST_P(StoreTest, WhatIsGoneCannotBeWritten) {
  EXPECT_EQ(Shown(Write(Kind::kUpdate, Some("a", 1, 1))), "ABORTED / SESSION_FENCED");
  EXPECT_TRUE(Write(Kind::kErase, Some("a", 1, 1)).ok());
  ASSERT_TRUE(Write(Kind::kCreate, Some("a", 3, 1)).ok());
  ASSERT_TRUE(Write(Kind::kErase, Some("a", 3, 1)).ok());
  EXPECT_EQ(Shown(Write(Kind::kUpdate, Some("a", 4, 4))), "ABORTED / SESSION_FENCED");
  EXPECT_EQ(Shown(store_->Read({"m", "a"}).status()), "NOT_FOUND / SESSION_NOT_FOUND");
  // A new one has nothing of the old.
  ASSERT_TRUE(Write(Kind::kCreate, Some("a", 3, 0), kOther).ok());
  EXPECT_THAT(Replies("a"), ElementsAre());
  EXPECT_TRUE(store_->Read({"m", "a"})->replies.empty());
}

TEST_P(StoreTest, AWriteMayBeMadeAgain) {
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(Write(Kind::kCreate, Some("a", 1, 1)).ok());
    EXPECT_THAT(Replies("a"), ElementsAre(1));
  }
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(Write(Kind::kUpdate, Some("a", 2, 2)).ok());
    EXPECT_THAT(Replies("a"), ElementsAre(1, 2));
  }
}

TEST_P(StoreTest, EachChangeOfAGroupStandsForItself) {
  ASSERT_TRUE(Write(Kind::kCreate, Some("taken", 1, 1), kOther).ok());
  std::vector<StoreWrite> group;
  group.push_back(MakeWrite(Kind::kCreate, Some("new", 1, 1), kClaim, "", kRing));
  group.push_back(MakeWrite(Kind::kUpdate, Some("taken", 2, 2), kClaim, "", kRing));
  group.push_back(MakeWrite(Kind::kUpdate, Some("new", 2, 2), kClaim, "", kRing));  // in order, within the group
  group.push_back(MakeWrite(Kind::kUpdate, Some("new", 3, 3), kOther, "", kRing));
  group.push_back(MakeWrite(Kind::kCreate, Some("gone", 1, 1), kClaim, "", kRing));
  group.push_back(MakeWrite(Kind::kErase, Some("gone", 1, 1), kClaim, "", kRing));
  group.push_back(MakeWrite(Kind::kUpdate, Some("gone", 2, 2), kClaim, "", kRing));
  std::vector<std::string> shown;
  for (const absl::Status& status : store_->Write(group)) shown.push_back(Shown(status));
  const std::string fenced = "ABORTED / SESSION_FENCED";
  EXPECT_THAT(shown, ElementsAre("OK", fenced, "OK", fenced, "OK", "OK", fenced));
  EXPECT_THAT(Replies("new"), ElementsAre(1, 2));
  EXPECT_EQ(Stored("taken").last_seq, 1u);
  EXPECT_TRUE(store_->Write({}).empty());
}

TEST_P(StoreTest, NamesDoNotMix) {
  for (const char* id : {"a", "aa", "a.b", "t1:a"}) ASSERT_TRUE(Write(Kind::kCreate, Some(id, 2, 1)).ok());
  Snapshot other = Some("a", 1, 1);
  other.model = "ma";
  ASSERT_TRUE(Write(Kind::kCreate, other).ok());
  ASSERT_TRUE(Write(Kind::kErase, Some("a", 2, 1)).ok());
  EXPECT_FALSE(store_->Read({"m", "a"}).ok());
  for (const char* id : {"aa", "a.b", "t1:a"}) EXPECT_THAT(Replies(id), ElementsAre(1, 2)) << id;
  EXPECT_EQ(ToSnapshot(*store_->Read({"ma", "a"}))->last_seq, 1u);
}

TEST_P(StoreTest, LargeGroupsAndLargeStates) {
  std::vector<StoreWrite> group;
  for (int i = 0; i < 700; ++i) {
    Snapshot snapshot = Some(absl::StrCat("s", i), 4, 1);
    if (i == 350) snapshot.h.assign(1 << 20, 0.25f);
    group.push_back(MakeWrite(Kind::kCreate, snapshot, kClaim, "here:1", kRing));
  }
  for (const absl::Status& status : store_->Write(group)) ASSERT_TRUE(status.ok()) << status;
  Reopen();
  EXPECT_EQ(Stored("s350").h.size(), size_t{1} << 20);
  EXPECT_THAT(Replies("s699"), ElementsAre(1, 2, 3, 4));
}

TEST_P(StoreTest, OneOfManyClaimsWins) {
  ASSERT_TRUE(Write(Kind::kCreate, Some("a", 1, 1)).ok());
  std::vector<std::thread> threads;
  std::vector<uint64_t> epochs(8);
  for (uint64_t i = 0; i < epochs.size(); ++i) {
    threads.emplace_back([&, i] { epochs[i] = store_->Claim({"m", "a"}, 100 + i, "")->epoch; });
  }
  for (std::thread& thread : threads) thread.join();
  uint64_t winner = 0;
  for (uint64_t i = 0; i < epochs.size(); ++i) {
    if (epochs[i] == 9) winner = 100 + i;
  }
  std::sort(epochs.begin(), epochs.end());
  EXPECT_THAT(epochs, ElementsAre(2, 3, 4, 5, 6, 7, 8, 9));
  EXPECT_EQ(store_->Read({"m", "a"})->claim, winner);
}

TEST_P(StoreTest, WhatWasDueIsForgotten) {
  Snapshot due = Some("due", 1, 1);
  due.expire_time = absl::Now() - absl::Hours(2);
  ASSERT_TRUE(Write(Kind::kCreate, due).ok());
  Snapshot later = Some("later", 1, 1);
  later.expire_time = absl::Now() + absl::Hours(2);
  ASSERT_TRUE(Write(Kind::kCreate, later).ok());
  ASSERT_TRUE(Write(Kind::kCreate, Some("never", 1, 1)).ok());
  Snapshot soon = Some("claimed", 1, 1);
  soon.expire_time = absl::Now() - absl::Minutes(59);
  ASSERT_TRUE(Write(Kind::kCreate, soon).ok());
  ASSERT_TRUE(store_->Claim({"m", "claimed"}, kOther, "").ok());
  ASSERT_TRUE(store_->Sweep(absl::Now()).ok());
  EXPECT_FALSE(store_->Read({"m", "due"}).ok());
  EXPECT_TRUE(store_->Read({"m", "later"}).ok());
  EXPECT_TRUE(store_->Read({"m", "never"}).ok());
  EXPECT_TRUE(store_->Read({"m", "claimed"}).ok());
}

TEST_P(StoreTest, DamageIsSeen) {
  StoreWrite write = MakeWrite(Kind::kCreate, Some("a", 1, 1), kClaim, "", kRing);
  write.head[20] = static_cast<char>(write.head[20] ^ 1);
  ASSERT_TRUE(store_->Write({&write, 1})[0].ok());
  EXPECT_EQ(Shown(ToSnapshot(*store_->Read({"m", "a"})).status()), "DATA_LOSS / SNAPSHOT_CHECKSUM");
}

void PrintTo(const Kinds& kinds, std::ostream* out) { *out << kinds.name; }

INSTANTIATE_TEST_SUITE_P(All, StoreTest,
                         ::testing::Values(Kinds{"Fake", [] { return std::make_unique<FakePlace>(); }},
                                           Kinds{"RocksDb", [] { return std::make_unique<RocksPlace>(); }},
                                           Kinds{"Redis", [] { return std::make_unique<RedisPlace>(); }}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace lstmd
