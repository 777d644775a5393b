// SPDX-License-Identifier: Apache-2.0
//
// Stores that go away and come back.
#include <stdlib.h>

#include <filesystem>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/errors.h"
#include "engine/store/redis_store.h"
#include "engine/store/rocks_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/redis_process.h"

namespace lstmd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Shown(const absl::Status& status) {
  if (status.ok()) return "OK";
  return absl::StrCat(absl::StatusCodeToString(status.code()), " / ", GetCause(status).reason);
}

Snapshot Some(const std::string& id, size_t floats = 1) {
  Snapshot snapshot;
  snapshot.model = "m";
  snapshot.id = id;
  snapshot.epoch = 1;
  snapshot.h.assign(floats, 1.0f);
  return snapshot;
}

absl::Status Create(StateStore& store, const Snapshot& snapshot) {
  const StoreWrite write = MakeWrite(StoreWrite::Kind::kCreate, snapshot, 7, "", 1);
  return store.Write({&write, 1})[0];
}

// Tries until it works, as those who wait for a RetryInfo do.
absl::Status CreateAtLast(StateStore& store, const Snapshot& snapshot) {
  absl::Status status;
  const absl::Time end = absl::Now() + absl::Seconds(30);
  while (absl::Now() < end) {
    status = Create(store, snapshot);
    if (status.ok()) return status;
    EXPECT_TRUE(GetCause(status).retry_after.has_value()) << status;
    std::this_thread::yield();
  }
  return status;
}

TEST(RedisOutageTest, AKilledRedisIsAnErrorUntilItIsBackWithAllItHad) {
  RedisProcess redis;
  auto store = *OpenStore(redis.flag());
  ASSERT_TRUE(Create(*store, Some("a")).ok());
  redis.Kill();
  EXPECT_EQ(Shown(Create(*store, Some("b"))), "UNAVAILABLE / STORE_UNAVAILABLE");
  EXPECT_EQ(Shown(store->Read({"m", "a"}).status()), "UNAVAILABLE / STORE_UNAVAILABLE");
  EXPECT_EQ(Shown(store->Claim({"m", "a"}, 1, "").status()), "UNAVAILABLE / STORE_UNAVAILABLE");
  EXPECT_EQ(Shown(store->Check()), "UNAVAILABLE / STORE_UNAVAILABLE");
  redis.Start();
  EXPECT_TRUE(CreateAtLast(*store, Some("b")).ok());
  EXPECT_TRUE(store->Read({"m", "a"}).ok());
}

TEST(RedisOutageTest, ARedisThatHangsIsAnError) {
  RedisProcess redis;
  auto store = *OpenStore(redis.flag());
  ASSERT_TRUE(Create(*store, Some("a")).ok());
  redis.Pause();
  EXPECT_EQ(Shown(Create(*store, Some("b"))), "UNAVAILABLE / STORE_UNAVAILABLE");
  redis.Resume();
  EXPECT_TRUE(CreateAtLast(*store, Some("b")).ok());
}

TEST(RedisOutageTest, AFullRedisIsSaidToBeFull) {
  RedisProcess redis({"--maxmemory", "3mb", "--maxmemory-policy", "noeviction"});
  auto store = *OpenStore(redis.flag());
  absl::Status status;
  for (int i = 0; i < 100 && status.ok(); ++i) status = Create(*store, Some(absl::StrCat("s", i), 100'000));
  EXPECT_EQ(Shown(status), "RESOURCE_EXHAUSTED / STORE_FULL");
  const StoreWrite erase = MakeWrite(StoreWrite::Kind::kErase, Some("s0"), 7, "", 1);
  EXPECT_TRUE(store->Write({&erase, 1})[0].ok());
}

TEST(RedisOutageTest, WhatIsNoSafePlaceIsSaid) {
  RedisProcess safe;
  EXPECT_EQ((*OpenStore(safe.flag()))->warning(), "");
  EXPECT_THAT((*OpenStore(safe.flag()))->description(), HasSubstr("appendfsync always"));
  RedisProcess forgetful({"--appendonly", "no"});
  EXPECT_THAT((*OpenStore(forgetful.flag()))->warning(), HasSubstr("appendonly"));
  RedisProcess evicting({"--maxmemory-policy", "allkeys-lru"});
  EXPECT_THAT((*OpenStore(evicting.flag()))->warning(), HasSubstr("allkeys-lru"));
}

TEST(RedisOutageTest, APasswordIsGivenWhereOneIsWanted) {
  RedisProcess redis({"--requirepass", "secret word"});
  EXPECT_TRUE((*OpenStore(redis.flag(), "secret word"))->Check().ok());
  EXPECT_EQ(Shown((*OpenStore(redis.flag()))->Check()), "UNAVAILABLE / STORE_UNAVAILABLE");
  EXPECT_EQ(Shown((*OpenStore(redis.flag(), "wrong"))->Check()), "UNAVAILABLE / STORE_UNAVAILABLE");
}

TEST(RocksOutageTest, AFolderIsOfOneProcess) {
  const std::string folder = ::testing::TempDir() + "/lstmd_rocks_once";
  std::filesystem::remove_all(folder);
  auto store = OpenRocksStore(folder);
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ(Shown(OpenRocksStore(folder).status()), "UNAVAILABLE / STORE_UNAVAILABLE");
  ASSERT_TRUE(Create(**store, Some("a")).ok());
  store->reset();
  EXPECT_TRUE((*OpenRocksStore(folder))->Read({"m", "a"}).ok());
  std::filesystem::remove_all(folder);
}

TEST(OpenStoreTest, OnlyWhatIsAStoreIsOpened) {
  for (const char* flag : {"", "none", "rocksdb:", "redis:", "redis:host", "redis:host:0", "redis:host:65536",
                           "redis:host:x", "redis::1", "redis:unix:", "sqlite:x"}) {
    EXPECT_EQ(Shown(OpenStore(flag).status()), "INVALID_ARGUMENT / STORE") << flag;
  }
  EXPECT_TRUE(OpenStore("redis:127.0.0.1:1").ok());  // tried with each call
  EXPECT_EQ(Shown((*OpenStore("redis:127.0.0.1:1"))->Check()), "UNAVAILABLE / STORE_UNAVAILABLE");
  EXPECT_EQ(Shown(OpenStore("rocksdb:/proc/nowhere").status()), "UNAVAILABLE / STORE_UNAVAILABLE");
}

}  // namespace
}  // namespace lstmd
