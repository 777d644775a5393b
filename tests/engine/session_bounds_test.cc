// SPDX-License-Identifier: Apache-2.0
//
// How many sessions there may be, and which goes when one more comes; lists by label.
#include <map>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/engine/fixture.h"

namespace lstmd {
namespace {

class SessionBoundsTest : public EngineTest {
 protected:
  void StartWith(uint64_t server, uint64_t model, bool evict) {
    options_.sessions.max_sessions = server;
    options_.sessions.max_sessions_per_model = model;
    options_.sessions.evict_least_recently_used = evict;
    Start();
    AddSmall("m");
    AddSmall("n");
  }
  absl::Status Create(const std::string& id, const std::string& model = "m", const std::string& owner = "") {
    CreateSessionParams params;
    params.model = model;
    params.owner = owner;
    params.id = id;
    return engine_->CreateSession(params).status();
  }
  void StepIt(const std::string& id) {
    clock_.Advance(absl::Seconds(1));
    const auto session = engine_->FindSession("m", id, false);
    ASSERT_TRUE(session.ok()) << session.status();
    auto step = MakeStep(*session, &sink_, 1);
    ASSERT_TRUE(Run(step.get()).ok());
    sink_.Forget(&step->work);
  }
  std::set<std::string> Living() {
    std::set<std::string> ids;
    const auto page = engine_->ListSessions({"-", "", {}, 1000, ""});
    EXPECT_TRUE(page.ok());
    for (const SessionInfo& info : page->items) ids.insert(info.id);
    return ids;
  }
};

TEST_F(SessionBoundsTest, AModelsBoundRefusesAndNamesItself) {
  options_.sessions.max_sessions_of_model["n"] = 1;
  StartWith(100, 2, false);
  ASSERT_TRUE(Create("a").ok());
  ASSERT_TRUE(Create("b").ok());
  const absl::Status full = Create("c");
  EXPECT_EQ(Shown(full), "RESOURCE_EXHAUSTED / SESSION_LIMIT");
  EXPECT_EQ(Metadata(full, "limit"), "2");
  EXPECT_EQ(GetCause(full).resource, "models/m");
  EXPECT_TRUE(GetCause(full).retry_after.has_value());
  // The other model has a bound of its own.
  ASSERT_TRUE(Create("a", "n").ok());
  EXPECT_EQ(Metadata(Create("b", "n"), "limit"), "1");
  // All versions together.
  AddSmall("m", 2);
  EXPECT_EQ(Shown(Create("c")), "RESOURCE_EXHAUSTED / SESSION_LIMIT");
  ASSERT_TRUE(engine_->DeleteSession("m", "a").ok());
  EXPECT_TRUE(Create("c").ok());
  EXPECT_EQ(engine_->Stats().sessions, 3u);
}

TEST_F(SessionBoundsTest, TheLeastRecentlyUsedGoes) {
  StartWith(4, UINT64_MAX, true);
  for (const char* id : {"a", "b", "c", "d"}) {
    ASSERT_TRUE(Create(id).ok());
    clock_.Advance(absl::Seconds(1));
  }
  StepIt("a");
  ASSERT_TRUE(Create("e", "n").ok());
  EXPECT_EQ(Living(), (std::set<std::string>{"a", "c", "d", "e"}));
  const absl::Status gone = engine_->FindSession("m", "b", false).status();
  EXPECT_EQ(Shown(gone), "NOT_FOUND / SESSION_NOT_FOUND");
  EXPECT_EQ(Metadata(gone, "last_event"), "EVICTED");
  // Found in an earlier look, used since: it stays.
  StepIt("c");
  ASSERT_TRUE(Create("f").ok());
  EXPECT_EQ(Living(), (std::set<std::string>{"a", "c", "e", "f"}));
  EXPECT_EQ(engine_->Stats().sessions, 4u);
}

// What one tenant makes never costs another a session, and one that has none of its own to give up is refused.
TEST_F(SessionBoundsTest, EvictionStaysWithinItsOwner) {
  StartWith(3, UINT64_MAX, true);
  ASSERT_TRUE(Create("old", "m", "team-a").ok());
  clock_.Advance(absl::Seconds(1));
  ASSERT_TRUE(Create("b1", "m", "team-b").ok());
  clock_.Advance(absl::Seconds(1));
  ASSERT_TRUE(Create("b2", "n", "team-b").ok());
  clock_.Advance(absl::Seconds(1));
  ASSERT_TRUE(Create("b3", "m", "team-b").ok());
  EXPECT_TRUE(engine_->FindSession("m", "team-a:old", false).ok());
  const absl::Status gone = engine_->FindSession("m", "team-b:b1", false).status();
  EXPECT_EQ(Metadata(gone, "last_event"), "EVICTED");
  EXPECT_EQ(Shown(Create("c1", "m", "team-c")), "RESOURCE_EXHAUSTED / SESSION_LIMIT");
  EXPECT_EQ(engine_->Stats().sessions, 3u);
}

TEST_F(SessionBoundsTest, AModelsBoundEvictsOfThatModel) {
  StartWith(100, 2, true);
  ASSERT_TRUE(Create("old", "n").ok());
  clock_.Advance(absl::Seconds(1));
  for (const char* id : {"a", "b", "c"}) {
    ASSERT_TRUE(Create(id).ok());
    clock_.Advance(absl::Seconds(1));
  }
  EXPECT_EQ(Living(), (std::set<std::string>{"b", "c", "old"}));
}

TEST_F(SessionBoundsTest, ASessionWithWorkInFlightIsNotEvicted) {
  StartWith(2, UINT64_MAX, true);
  const auto a = NewSession("a");
  clock_.Advance(absl::Seconds(1));
  const auto b = NewSession("b");
  control_->Block();
  auto on_a = MakeStep(a, &sink_, 1);
  engine_->Submit(&on_a->work);
  control_->WaitUntilBlocked();
  ASSERT_TRUE(Create("c").ok());
  EXPECT_EQ(Living(), (std::set<std::string>{"a", "c"}));
  auto on_c = MakeStep(*engine_->FindSession("m", "c", false), &sink_, 1);
  engine_->Submit(&on_c->work);
  EXPECT_EQ(Shown(Create("d")), "RESOURCE_EXHAUSTED / SESSION_LIMIT") << "nobody is idle";
  control_->Unblock();
  EXPECT_TRUE(sink_.Wait(&on_a->work).ok());
  EXPECT_TRUE(sink_.Wait(&on_c->work).ok());
}

// As a plain list of uses would have it, whatever the order of uses and creations.
TEST_F(SessionBoundsTest, EvictionIsExactlyLeastRecentUse) {
  StartWith(20, UINT64_MAX, true);
  std::vector<std::string> by_use;  // longest unused first
  uint32_t random = 12345;
  for (int k = 0; k < 300; ++k) {
    random = random * 1664525 + 1013904223;
    if (!by_use.empty() && (random >> 16) % 3 != 0) {
      const size_t at = (random >> 18) % by_use.size();
      const std::string id = by_use[at];
      StepIt(id);
      by_use.erase(by_use.begin() + static_cast<ptrdiff_t>(at));
      by_use.push_back(id);
    } else {
      clock_.Advance(absl::Seconds(1));
      const std::string id = absl::StrCat("s", k);
      ASSERT_TRUE(Create(id).ok());
      by_use.push_back(id);
      if (by_use.size() > 20) by_use.erase(by_use.begin());
    }
    ASSERT_EQ(Living(), std::set<std::string>(by_use.begin(), by_use.end())) << "after " << k;
  }
}

TEST_F(SessionBoundsTest, ListsByLabel) {
  StartWith(100'000, UINT64_MAX, false);
  CreateSessionParams params;
  params.model = "m";
  for (int k = 0; k < 12'000; ++k) {
    params.id = absl::StrCat("s", 100'000 + k);
    params.labels = {{"rest", absl::StrCat(k % 1000)}, {"parity", k % 2 == 0 ? "even" : "odd"}};
    ASSERT_TRUE(engine_->CreateSession(params).ok());
  }
  std::vector<std::string> seen;
  ListSessionsParams list;
  list.labels = {{"rest", "7"}, {"parity", "odd"}};
  list.page_size = 5;
  int pages = 0;
  do {
    const auto page = engine_->ListSessions(list);
    ASSERT_TRUE(page.ok()) << page.status();
    EXPECT_LE(page->items.size(), 5u);
    for (const SessionInfo& info : page->items) seen.push_back(info.id);
    list.page_token = page->next_token;
    ++pages;
  } while (!list.page_token.empty());
  std::vector<std::string> want;
  for (int k = 7; k < 12'000; k += 1000) want.push_back(absl::StrCat("s", 100'000 + k));
  EXPECT_EQ(seen, want);
  EXPECT_GE(pages, 3);
  list.labels["parity"] = "even";
  list.page_token.clear();
  const auto none = engine_->ListSessions(list);
  ASSERT_TRUE(none.ok());
  EXPECT_TRUE(none->items.empty());
  EXPECT_FALSE(none->next_token.empty()) << "a call looks at a bounded number";
}

}  // namespace
}  // namespace lstmd
