// SPDX-License-Identifier: Apache-2.0
//
// What those who watch sessions are told: what happened, in order, and how much they missed.
#include "engine/session_events.h"

#include <atomic>
#include <map>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/engine/durable_fixture.h"
#include "tests/engine/fixture.h"

namespace lstmd {
namespace {

using ::testing::ElementsAre;

const char* KindName(SessionEventKind kind) {
  static const char* const kNames[] = {"created", "deleted", "expired",  "evicted", "unloaded",
                                       "moved",   "spilled", "restored", "missed"};
  return kNames[static_cast<size_t>(kind)];
}

// A watch that keeps what it hears, "created a", in order.
class Listener {
 public:
  Listener(Engine& engine, std::function<bool(const Session&, SessionEventKind)> filter, size_t capacity = 1000)
      : watch_(engine.session_events().Watch(std::move(filter), capacity, [this] { Hear(); })) {}
  // All events.
  explicit Listener(Engine& engine) : Listener(engine, [](const Session&, SessionEventKind) { return true; }) {}

  SessionWatch& watch() { return *watch_; }
  std::vector<SessionEvent> WaitFor(size_t count) {
    MutexLock lock(&mutex_);
    while (events_.size() < count) changed_.Wait(&mutex_);
    return events_;
  }
  std::vector<std::string> Lines(size_t count) {
    std::vector<std::string> lines;
    for (const SessionEvent& event : WaitFor(count)) {
      lines.push_back(
          absl::StrCat(KindName(event.kind), event.missed == 0 ? " " + event.id : absl::StrCat(event.missed)));
    }
    return lines;
  }

 private:
  void Hear() {
    const std::vector<SessionEvent> taken = watch_->Take(SIZE_MAX);
    MutexLock lock(&mutex_);
    events_.insert(events_.end(), taken.begin(), taken.end());
    changed_.SignalAll();
  }

  Mutex mutex_;
  CondVar changed_;
  std::vector<SessionEvent> events_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<SessionWatch> watch_;  // last: it goes first
};

class SessionEventsTest : public EngineTest {
 protected:
  void SetUp() override {
    Start();
    AddSmall();
  }
};

TEST_F(SessionEventsTest, AllThatHappensIsToldInOrderWithItsReason) {
  Listener listener(*engine_);
  NewSession("a");
  ASSERT_TRUE(engine_->DeleteSession("m", "a").ok());
  CreateSessionParams params;
  params.model = "m";
  params.id = "b";
  params.idle_ttl = absl::Minutes(5);
  const auto b = engine_->CreateSession(params);
  ASSERT_TRUE(b.ok()) << b.status();
  clock_.Advance(absl::Minutes(6));
  engine_->ExpireSessions();
  params.id = "c";
  params.expire_time = clock_.Now() + absl::Seconds(1);
  ASSERT_TRUE(engine_->CreateSession(params).ok());
  clock_.Advance(absl::Seconds(2));
  engine_->ExpireSessions();
  const auto d = NewSession("d");
  auto last = MakeStep(d, &sink_, 1);
  last->work.end_session = true;
  ASSERT_TRUE(Run(last.get()).ok());
  NewSession("e");
  ASSERT_TRUE(engine_->UnloadModel("m", 1, /*force=*/true).ok());

  EXPECT_THAT(listener.Lines(10), ElementsAre("created a", "deleted a", "created b", "expired b", "created c",
                                              "expired c", "created d", "deleted d", "created e", "unloaded e"));
  const std::vector<SessionEvent> events = listener.WaitFor(10);
  EXPECT_EQ(events[1].reason, "DeleteSession");
  EXPECT_EQ(events[2].uid, b->uid);
  EXPECT_EQ(events[3].uid, b->uid);
  EXPECT_EQ(events[3].reason, "no step for 5m");
  EXPECT_EQ(events[3].time, clock_.Now() - absl::Seconds(2));
  EXPECT_EQ(events[3].model, "m");
  EXPECT_EQ(events[5].reason, "its expire_time has come");
  EXPECT_EQ(events[7].reason, "a step with end_session");
  EXPECT_EQ(events[9].reason, "its model was unloaded by force");
}

using RestoredEventsTest = DurableTest;

TEST_F(RestoredEventsTest, WhatComesFromTheStoreIsRestoredAndNotCreated) {
  StartWith(Durability::kEveryStep);
  NewSession("a");
  Step("a", 1);
  Crash();
  Listener listener(*engine_);
  Step("a", 2);
  NewSession("b");
  EXPECT_THAT(listener.Lines(2), ElementsAre("restored a", "created b"));
  EXPECT_EQ(listener.WaitFor(2)[0].reason, "from the store");
}

TEST_F(SessionEventsTest, AFilterChoosesByModelAndKind) {
  AddSmall("n");
  Listener ends(*engine_, [](const Session& session, SessionEventKind kind) {
    return NameOf(ModelOf(session)) == "n" && IsEnd(kind);
  });
  NewSession("a", "m");
  NewSession("b", "n");
  ASSERT_TRUE(engine_->DeleteSession("m", "a").ok());
  ASSERT_TRUE(engine_->DeleteSession("n", "b").ok());
  EXPECT_THAT(ends.Lines(1), ElementsAre("deleted b"));
}

TEST_F(SessionEventsTest, ASlowWatchIsToldWhatItMissedAndGoesOn) {
  std::atomic<int> wakes{0};
  const auto watch =
      engine_->session_events().Watch([](const Session&, SessionEventKind) { return true; }, 3, [&wakes] { ++wakes; });
  for (int k = 0; k < 8; ++k) NewSession(absl::StrCat("s", k));
  // Room for one, but what was missed stands before anything new.
  ASSERT_EQ(watch->Take(1).size(), 1u);
  NewSession("later");
  const std::vector<SessionEvent> rest = watch->Take(SIZE_MAX);
  ASSERT_EQ(rest.size(), 3u);
  EXPECT_EQ(rest[0].id, "s1");
  EXPECT_EQ(rest[1].id, "s2");
  EXPECT_EQ(rest[2].kind, SessionEventKind::kMissed);
  EXPECT_EQ(rest[2].missed, 6u);
  EXPECT_TRUE(watch->Take(SIZE_MAX).empty());
  while (wakes.load() < 1) std::this_thread::yield();
  // Emptied, so it is woken again.
  NewSession("new");
  while (wakes.load() < 2) std::this_thread::yield();
  const std::vector<SessionEvent> after = watch->Take(SIZE_MAX);
  ASSERT_EQ(after.size(), 1u);
  EXPECT_EQ(after[0].id, "new");
}

TEST_F(SessionEventsTest, AFollowedSessionsEndIsToldOnce) {
  Listener listener(*engine_, nullptr);
  const auto a = NewSession("a");
  const auto b = NewSession("b");
  const auto c = NewSession("c");
  listener.watch().Follow(*a);
  listener.watch().Follow(*a);
  listener.watch().Follow(*b);
  listener.watch().Unfollow(*b);
  listener.watch().Follow(*c);
  listener.watch().Follow(*c);
  listener.watch().Unfollow(*c);
  for (const char* id : {"b", "a", "c"}) ASSERT_TRUE(engine_->DeleteSession("m", id).ok());
  EXPECT_THAT(listener.Lines(2), ElementsAre("deleted a", "deleted c"));
}

TEST_F(SessionEventsTest, WatchesComeAndGoWhileSessionsDo) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      for (int k = 0; !stop.load(); ++k) {
        const std::string id = absl::StrCat(t, "-", k);
        const auto session = engine_->FindSession("m", id, true);
        ASSERT_TRUE(session.ok()) << session.status();
        ASSERT_TRUE(engine_->DeleteSession("m", id).ok());
      }
    });
  }
  const auto fixed = NewSession("fixed");
  for (int k = 0; k < 200; ++k) {
    Listener listener(*engine_);
    listener.watch().Follow(*fixed);
    listener.WaitFor(k % 3 == 0 ? 0 : 2);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace lstmd
