// SPDX-License-Identifier: Apache-2.0
//
// Life of sessions: create, look up, list, change, expire, end.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/engine/fixture.h"

namespace lstmd {
namespace {

class SessionsTest : public EngineTest {
 protected:
  void SetUp() override {
    Start();
    AddSmall();
  }
  CreateSessionParams Params(const std::string& id) {
    CreateSessionParams params;
    params.model = "m";
    params.id = id;
    return params;
  }
  absl::Status FindError(const std::string& id) { return engine_->FindSession("m", id, false).status(); }
};

TEST_F(SessionsTest, CreateSaysWhatItMade) {
  CreateSessionParams params = Params("a");
  params.labels = {{"unit", "7"}};
  params.idle_ttl = absl::Minutes(5);
  params.expire_time = clock_.Now() + absl::Hours(1);
  params.initial_state = StateValues{{1, 2, 3}, {4, 5, 6}};
  const auto info = engine_->CreateSession(params);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->model, "m");
  EXPECT_EQ(info->id, "a");
  EXPECT_EQ(info->uid.size(), 32u);
  EXPECT_EQ(info->model_version, 1);
  EXPECT_EQ(info->epoch, 1u);
  EXPECT_EQ(info->labels, params.labels);
  EXPECT_EQ(info->idle_ttl, absl::Minutes(5));
  EXPECT_EQ(info->expire_time, params.expire_time);
  EXPECT_EQ(info->create_time, clock_.Now());
  EXPECT_EQ(info->last_step_time, absl::InfinitePast());
  EXPECT_FALSE(info->state.has_value());
  EXPECT_EQ(StateOf("a").h, params.initial_state->h);
  EXPECT_EQ(StateOf("a").c, params.initial_state->c);
}

TEST_F(SessionsTest, TheEngineMakesNames) {
  std::set<std::string> ids;
  for (int k = 0; k < 20; ++k) {
    const auto info = engine_->CreateSession(Params(""));
    ASSERT_TRUE(info.ok()) << info.status();
    EXPECT_TRUE(IsValidSessionId(info->id)) << info->id;
    ids.insert(info->id);
  }
  EXPECT_EQ(ids.size(), 20u);
}

TEST_F(SessionsTest, ANameIsTakenOnce) {
  const auto first = engine_->CreateSession(Params("a"));
  EXPECT_EQ(Shown(CreateError(Params("a"))), "ALREADY_EXISTS / SESSION_EXISTS");
  CreateSessionParams again = Params("a");
  again.exists_ok = true;
  const auto same = engine_->CreateSession(again);
  ASSERT_TRUE(same.ok());
  EXPECT_EQ(same->uid, first->uid);
  EXPECT_EQ(engine_->Stats().sessions, 1u);
  EXPECT_EQ(control_->live_slots(), 1);
}

TEST_F(SessionsTest, BadRequestsMakeNothing) {
  ModelSpec both = SmallSpec();
  both.direction = Direction::kBidirectional;
  ASSERT_TRUE(engine_->AddModel("both", 1, both, SomeWeights(both)).ok());

  std::vector<std::pair<CreateSessionParams, std::string>> bad;  // with the error and field
  const auto add = [&](const std::string& error) -> CreateSessionParams& {
    bad.emplace_back(Params("a"), error);
    return bad.back().first;
  };
  add("INVALID_ARGUMENT / SESSION_ID session_id").id = "a/b";
  add("NOT_FOUND / MODEL_NOT_FOUND ").model = "other";
  add("NOT_FOUND / MODEL_NOT_FOUND ").model_version = 2;
  add("FAILED_PRECONDITION / NOT_STEPPABLE ").model = "both";
  add("INVALID_ARGUMENT / LABELS session.labels").labels[std::string(64, 'k')] = "v";
  add("INVALID_ARGUMENT / LABELS session.labels").labels[""] = "v";
  add("INVALID_ARGUMENT / LABELS session.labels").labels["k"] = std::string(256, 'v');
  CreateSessionParams& many = add("INVALID_ARGUMENT / LABELS session.labels");
  for (int k = 0; k < 65; ++k) many.labels[absl::StrCat(k)] = "";
  add("INVALID_ARGUMENT / IDLE_TTL session.idle_ttl").idle_ttl = -absl::Seconds(1);
  add("INVALID_ARGUMENT / EXPIRE_TIME session.expire_time").expire_time = clock_.Now();
  add("INVALID_ARGUMENT / TENSOR_SHAPE initial_state.h").initial_state = StateValues{{1, 2}, {1, 2, 3}};
  add("INVALID_ARGUMENT / TENSOR_SHAPE initial_state.c").initial_state = StateValues{{1, 2, 3}, {}};
  for (const auto& [params, error] : bad) {
    const absl::Status status = CreateError(params);
    EXPECT_EQ(absl::StrCat(Shown(status), " ", GetCause(status).field), error) << status;
  }
  EXPECT_EQ(engine_->Stats().sessions, 0u);
  EXPECT_EQ(control_->live_slots(), 0);
  EXPECT_TRUE(engine_->UnloadModel("m", 1, false).ok()) << "no session is counted";
}

TEST_F(SessionsTest, CapAndMemoryAreErrorsThatPass) {
  engine_.reset();
  options_.sessions.max_sessions = 2;
  Start();
  AddSmall();
  NewSession("a");
  control_->set_max_slots(1);
  EXPECT_EQ(Shown(CreateError(Params("b"))), "RESOURCE_EXHAUSTED / DEVICE_MEMORY");
  control_->set_max_slots(100);
  NewSession("b");
  const absl::Status status = CreateError(Params("c"));
  EXPECT_EQ(Shown(status), "RESOURCE_EXHAUSTED / SESSION_LIMIT");
  EXPECT_TRUE(GetCause(status).retry_after.has_value());
  EXPECT_EQ(GetCause(status).quota_subject, "sessions");
  ASSERT_TRUE(engine_->DeleteSession("m", "a").ok());
  EXPECT_TRUE(engine_->CreateSession(Params("c")).ok());
}

TEST_F(SessionsTest, FindCreatesWhereAsked) {
  const auto created = engine_->FindSession("m", "a", true);
  ASSERT_TRUE(created.ok()) << created.status();
  EXPECT_EQ(*engine_->FindSession("m", "a", true), *created);
  EXPECT_EQ(Shown(engine_->FindSession("other", "a", true).status()), "NOT_FOUND / MODEL_NOT_FOUND");
  EXPECT_EQ(Shown(engine_->FindSession("m", "a/b", true).status()), "INVALID_ARGUMENT / SESSION_ID");
  EXPECT_EQ(Shown(engine_->FindSession("m", "", true).status()), "INVALID_ARGUMENT / SESSION_ID");
}

TEST_F(SessionsTest, TheLostDifferFromThoseThatNeverWere) {
  absl::Status status = FindError("a");
  EXPECT_EQ(Shown(status), "NOT_FOUND / SESSION_NOT_FOUND");
  EXPECT_EQ(Metadata(status, "last_event"), "");
  EXPECT_EQ(GetCause(status).resource, "models/m/sessions/a");

  const auto session = NewSession("a");
  ASSERT_TRUE(engine_->DeleteSession("m", "a").ok());
  status = FindError("a");
  EXPECT_EQ(Metadata(status, "last_event"), "DELETED");
  EXPECT_EQ(Shown(engine_->DeleteSession("m", "a")), "NOT_FOUND / SESSION_NOT_FOUND");
  const auto job = MakeStep(session, &sink_, 1);
  status = Run(job.get());
  EXPECT_EQ(Shown(status), "NOT_FOUND / SESSION_NOT_FOUND");
  EXPECT_EQ(Metadata(status, "last_event"), "DELETED");

  clock_.Advance(options_.sessions.tombstone_ttl);
  EXPECT_EQ(Metadata(FindError("a"), "last_event"), "") << "forgotten";
  NewSession("a");
  EXPECT_TRUE(FindError("a").ok());
}

TEST_F(SessionsTest, OnlySoManyTombstonesAreKept) {
  engine_.reset();
  options_.sessions.max_tombstones = 3;
  Start();
  AddSmall();
  for (const char* id : {"a", "b", "c", "d"}) {
    NewSession(id);
    ASSERT_TRUE(engine_->DeleteSession("m", id).ok());
  }
  EXPECT_EQ(Metadata(FindError("a"), "last_event"), "");
  EXPECT_EQ(Metadata(FindError("b"), "last_event"), "DELETED");
}

TEST_F(SessionsTest, IdleSessionsExpire) {
  CreateSessionParams params = Params("short");
  params.idle_ttl = absl::Minutes(1);
  ASSERT_TRUE(engine_->CreateSession(params).ok());
  params.id = "forever";
  params.idle_ttl = absl::ZeroDuration();
  ASSERT_TRUE(engine_->CreateSession(params).ok());
  const auto session = *engine_->FindSession("m", "short", false);

  clock_.Advance(absl::Seconds(59));
  engine_->ExpireSessions();
  const auto job = MakeStep(session, &sink_, 1);
  ASSERT_EQ(Shown(Run(job.get())), "OK");  // starts the time again
  clock_.Advance(absl::Seconds(59));
  engine_->ExpireSessions();
  EXPECT_TRUE(FindError("short").ok());
  clock_.Advance(absl::Seconds(1));
  engine_->ExpireSessions();
  EXPECT_EQ(Metadata(FindError("short"), "last_event"), "EXPIRED");
  EXPECT_EQ(Metadata(Run(job.get()), "last_event"), "EXPIRED");
  clock_.Advance(absl::Hours(100000));
  engine_->ExpireSessions();
  EXPECT_TRUE(FindError("forever").ok());
}

TEST_F(SessionsTest, SessionsWithWorkInFlightAreNotIdle) {
  const auto session = NewSession("a");
  control_->Block();
  const auto job = MakeStep(session, &sink_, 1);
  engine_->Submit(&job->work);
  control_->WaitUntilBlocked();
  clock_.Advance(absl::Hours(10));
  engine_->ExpireSessions();
  EXPECT_TRUE(FindError("a").ok());
  control_->Unblock();
  EXPECT_EQ(Shown(sink_.Wait(&job->work)), "OK");
  EXPECT_EQ(engine_->GetSession("m", "a", false)->last_step_time, clock_.Now());
}

TEST_F(SessionsTest, AbsoluteExpiryTakesNoNewWorkAndAnswersTheOld) {
  CreateSessionParams params = Params("a");
  params.expire_time = clock_.Now() + absl::Minutes(1);
  ASSERT_TRUE(engine_->CreateSession(params).ok());
  const auto session = *engine_->FindSession("m", "a", false);
  control_->Block();
  const auto running = MakeStep(session, &sink_, 1), waiting = MakeStep(session, &sink_, 1);
  engine_->SubmitAll({&running->work, &waiting->work});
  clock_.Advance(absl::Minutes(1));
  engine_->ExpireSessions();
  EXPECT_EQ(Metadata(FindError("a"), "last_event"), "EXPIRED");
  const auto late = MakeStep(session, &sink_, 1);
  EXPECT_EQ(Shown(Run(late.get())), "NOT_FOUND / SESSION_NOT_FOUND");
  control_->Unblock();
  EXPECT_EQ(Shown(sink_.Wait(&waiting->work)), "OK");
}

TEST_F(SessionsTest, DeleteAnswersWhatWasAcceptedFirst) {
  const auto session = NewSession("a");
  control_->Block();
  const auto running = MakeStep(session, &sink_, 1), waiting = MakeStep(session, &sink_, 1);
  engine_->SubmitAll({&running->work, &waiting->work});
  control_->WaitUntilBlocked();
  absl::Status deleted;
  std::thread deleter([&] { deleted = engine_->DeleteSession("m", "a"); });
  while (FindError("a").ok()) std::this_thread::yield();
  EXPECT_TRUE(sink_.order().empty());
  const auto late = MakeStep(session, &sink_, 1);
  EXPECT_EQ(Metadata(Run(late.get()), "last_event"), "DELETED");
  control_->Unblock();
  deleter.join();
  EXPECT_TRUE(deleted.ok()) << deleted;
  EXPECT_EQ(Shown(sink_.Wait(&running->work)), "OK");
  EXPECT_EQ(Shown(sink_.Wait(&waiting->work)), "OK");
}

TEST_F(SessionsTest, AStepMayEndItsSession) {
  const auto session = NewSession("a");
  control_->Block();
  const auto last = MakeStep(session, &sink_, 1), after = MakeStep(session, &sink_, 2);
  last->work.end_session = true;
  engine_->SubmitAll({&last->work, &after->work});
  control_->Unblock();
  EXPECT_EQ(Shown(sink_.Wait(&last->work)), "OK");
  EXPECT_EQ(Metadata(sink_.Wait(&after->work), "last_event"), "DELETED");
  EXPECT_EQ(Metadata(FindError("a"), "last_event"), "DELETED");
  EXPECT_EQ(engine_->Stats().sessions, 0u);
}

TEST_F(SessionsTest, AFailedStepDoesNotEndItsSession) {
  const auto session = NewSession("a");
  control_->FailRun(absl::InternalError("lost"));
  const auto last = MakeStep(session, &sink_, 1);
  last->work.end_session = true;
  EXPECT_EQ(Shown(Run(last.get())), "INTERNAL / DEVICE_ERROR");
  EXPECT_TRUE(FindError("a").ok());
}

TEST_F(SessionsTest, ResetWaitsForItsPlaceAndStartsAgain) {
  const auto session = NewSession("a");
  control_->Block();
  const auto before = MakeStep(session, &sink_, 1);
  engine_->Submit(&before->work);
  control_->WaitUntilBlocked();
  std::thread resetter([&] { EXPECT_TRUE(engine_->ResetSession("m", "a", StateValues{{1, 1, 1}, {2, 2, 2}}).ok()); });
  control_->Unblock();
  resetter.join();
  EXPECT_EQ(Shown(sink_.Wait(&before->work)), "OK");
  EXPECT_EQ(StateOf("a").c, std::vector<float>({2, 2, 2}));
  EXPECT_EQ(Shown(engine_->ResetSession("m", "a", StateValues{{1}, {2, 2, 2}}).status()),
            "INVALID_ARGUMENT / TENSOR_SHAPE");
  EXPECT_EQ(engine_->GetSession("m", "a", false)->epoch, 2u);
  EXPECT_EQ(Shown(engine_->ResetSession("m", "b", std::nullopt).status()), "NOT_FOUND / SESSION_NOT_FOUND");
}

TEST_F(SessionsTest, UpdateChangesWhatIsSet) {
  NewSession("a");
  UpdateSessionParams params;
  params.labels = std::map<std::string, std::string>{{"k", "v"}};
  ASSERT_TRUE(engine_->UpdateSession("m", "a", params).ok());
  UpdateSessionParams more;
  more.idle_ttl = absl::Seconds(5);
  const auto info = engine_->UpdateSession("m", "a", more);
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->labels, *params.labels);
  EXPECT_EQ(info->idle_ttl, absl::Seconds(5));
  EXPECT_EQ(info->epoch, 1u);
  UpdateSessionParams bad;
  bad.state = StateValues{{1, 2, 3}, {1}};
  const absl::Status status = engine_->UpdateSession("m", "a", bad).status();
  EXPECT_EQ(Shown(status), "INVALID_ARGUMENT / TENSOR_SHAPE");
  EXPECT_EQ(GetCause(status).field, "session.state.c");
  clock_.Advance(absl::Seconds(5));
  engine_->ExpireSessions();
  EXPECT_EQ(Metadata(FindError("a"), "last_event"), "EXPIRED");
}

TEST_F(SessionsTest, PagesOfEverySizeShowAllInOrder) {
  std::vector<std::string> want;
  for (int k = 1000; k < 1600; ++k) {
    want.push_back(absl::StrCat("s", k));
    NewSession(want.back());
  }
  for (const int size : {1, 3, 16, 50, 599, 600, 1000}) {
    std::vector<std::string> seen;
    std::string token;
    do {
      const auto page = engine_->ListSessions({"-", "", {}, size, token});
      ASSERT_TRUE(page.ok()) << page.status();
      for (const SessionInfo& info : page->items) seen.push_back(info.id);
      token = page->next_token;
    } while (!token.empty());
    EXPECT_EQ(seen, want) << "pages of " << size;
  }
}

TEST_F(SessionsTest, PagesHoldWhileSessionsComeAndGo) {
  AddSmall("n");
  for (int k = 10; k < 40; ++k) NewSession(absl::StrCat("s", k));
  NewSession("s11", "n");
  std::vector<std::string> seen;
  std::string token;
  int page_number = 0;
  do {
    const auto page = engine_->ListSessions({"m", "", {}, 7, token});
    ASSERT_TRUE(page.ok()) << page.status();
    EXPECT_LE(page->items.size(), 7u);
    for (const SessionInfo& info : page->items) seen.push_back(info.id);
    token = page->next_token;
    // The one that the token names goes, new ones come.
    if (!token.empty()) {
      ASSERT_TRUE(engine_->DeleteSession("m", seen.back()).ok());
    }
    NewSession(absl::StrCat("new", page_number++));
  } while (!token.empty());
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()).size(), seen.size());
  EXPECT_EQ(std::count_if(seen.begin(), seen.end(), [](const std::string& id) { return id[0] == 's'; }), 30);

  const auto all = engine_->ListSessions({"-", "", {}, 1000, ""});
  ASSERT_TRUE(all.ok());
  EXPECT_EQ(all->items.back().model, "n");
  EXPECT_EQ(all->items.size(), engine_->Stats().sessions);
  const auto first = engine_->ListSessions({"m", "", {}, 7, ""});
  EXPECT_EQ(Shown(engine_->ListSessions({"-", "", {}, 7, first->next_token}).status()),
            "INVALID_ARGUMENT / PAGE_TOKEN");
  EXPECT_EQ(Shown(engine_->ListSessions({"m", "", {}, 7, "junk"}).status()), "INVALID_ARGUMENT / PAGE_TOKEN");
  EXPECT_TRUE(engine_->ListSessions({"nobody", "", {}, 7, ""})->items.empty());
}

}  // namespace
}  // namespace lstmd
