// SPDX-License-Identifier: Apache-2.0
//
// Everything at once from many threads; made for ThreadSanitizer, and checked by what must hold whatever the order:
// each piece of work ends once, with a documented end; untouched sessions compute as if alone; nothing is left over.
#include <atomic>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/engine/fixture.h"

namespace lstmd {
namespace {

constexpr int kSteppers = 4;
constexpr int kRounds = 150;

const std::set<std::string>& AllowedEnds() {
  static const auto* ends = new std::set<std::string>{"OK",
                                                      "NOT_FOUND / SESSION_NOT_FOUND",
                                                      "NOT_FOUND / MODEL_NOT_FOUND",
                                                      "OUT_OF_RANGE / STEP_GAP",
                                                      "ALREADY_EXISTS / STEP_REPLAY_EXPIRED",
                                                      "INVALID_ARGUMENT / STEP_MISMATCH",
                                                      "ABORTED / SESSION_FENCED",
                                                      "CANCELLED / CANCELLED",
                                                      "DEADLINE_EXCEEDED / DEADLINE",
                                                      "RESOURCE_EXHAUSTED / QUEUE_FULL",
                                                      "RESOURCE_EXHAUSTED / SESSION_LIMIT",
                                                      "INTERNAL / DEVICE_ERROR",
                                                      "UNAVAILABLE / DRAINING"};
  return *ends;
}

// Counts ends of each job; there must be one.
class CountingSink final : public WorkSink {
 public:
  explicit CountingSink(size_t jobs) : ends_(jobs) {}
  ~CountingSink() override {
    MutexLock lock(&mutex_);
    while (!open_.empty()) changed_.Wait(&mutex_);
  }
  void OnDone(Work* work, const absl::Status& status) override {
    const std::string end = Shown(status);
    MutexLock lock(&mutex_);
    open_.insert(std::this_thread::get_id());
    ++ends_.at(static_cast<size_t>(work->input[0]));
    ++done_;
    if (AllowedEnds().count(end) == 0) strange_.insert(end);
    changed_.SignalAll();
  }
  void OnBatchEnd() override {
    MutexLock lock(&mutex_);
    open_.erase(std::this_thread::get_id());
    changed_.SignalAll();
  }
  void WaitForAll() {
    MutexLock lock(&mutex_);
    while (done_ < ends_.size()) changed_.Wait(&mutex_);
  }
  void ExpectOneEach() {
    MutexLock lock(&mutex_);
    EXPECT_THAT(ends_, ::testing::Each(1));
    EXPECT_THAT(strange_, ::testing::IsEmpty());
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::vector<int> ends_ ABSL_GUARDED_BY(mutex_);
  size_t done_ ABSL_GUARDED_BY(mutex_) = 0;
  std::set<std::string> strange_ ABSL_GUARDED_BY(mutex_);
  OpenReports open_ ABSL_GUARDED_BY(mutex_);
};

class StressTest : public EngineTest {
 protected:
  void SetUp() override {
    options_.scheduler.max_batch_size = 6;
    options_.scheduler.slice_units = 3;
    options_.scheduler.max_queued_per_session = 8;
    options_.sessions.max_sessions = 40;
    options_.sessions.replay_ring = 3;
    options_.sessions.max_tombstones = 10;
    control_->set_any_thread(true);
    Start();
    AddSmall("steady");
    AddSmall("m");
  }

  // Sessions that somebody else deletes, resets, expires and unloads.
  void StepAnything(uint32_t seed) {
    std::mt19937 random(seed);
    const auto pick = [&random](uint32_t n) { return static_cast<uint32_t>(random() % n); };
    std::vector<std::unique_ptr<Job>> jobs;
    CountingSink sink(kRounds * 3);
    for (int round = 0; round < kRounds; ++round) {
      std::vector<Work*> work;
      for (int k = 0; k < 3; ++k) {
        const auto session = engine_->FindSession("m", absl::StrCat("s", pick(12)), true);
        const auto model = engine_->FindModel(pick(2) == 0 ? "m" : "steady", 0);
        const float number = static_cast<float>(jobs.size());
        if (session.ok() && pick(3) != 0) {
          jobs.push_back(MakeStep(*session, &sink, number, 1 + pick(8), pick(2) == 0 ? 0 : 1 + pick(6)));
          jobs.back()->work.end_session = pick(20) == 0;
          jobs.back()->work.epoch = pick(10) == 0 ? 1 : 0;
        } else {
          jobs.push_back(MakeSequence(model.ok() ? *model : *engine_->FindModel("steady", 0), &sink, number, pick(10)));
          if (jobs.back()->input.empty()) jobs.back()->input.assign(2, number);
          jobs.back()->work.input = jobs.back()->input.data();
        }
        Job* const job = jobs.back().get();
        if (pick(2) == 0) AskForState(job, SmallSpec());
        if (pick(8) == 0) job->work.deadline = clock_.Now() + absl::Milliseconds(pick(3));
        work.push_back(&job->work);
      }
      engine_->SubmitAll(work);
      if (pick(4) == 0) work[pick(3)]->cancelled = true;
    }
    sink.WaitForAll();
    sink.ExpectOneEach();
  }

  // Sessions that nobody else touches, beside all the rest: bit for bit as if alone.
  void StepSteadily(const std::string& id) {
    const auto session = NewSession(id, "steady");
    FakeModelRun want(SmallSpec());
    Recorder recorder;
    for (int round = 0; round < kRounds; ++round) {
      const auto job = MakeStep(session, &recorder, static_cast<float>(round), 1 + round % 7, 1 + round);
      clock_.Advance(absl::Microseconds(30));  // a pause: the step may run on this thread
      for (absl::Status end = Run(job.get()); !end.ok(); end = Run(job.get())) {
        ASSERT_EQ(Shown(end), "INTERNAL / DEVICE_ERROR");  // injected; a retry with the same number is safe
      }
      ASSERT_EQ(job->output, want.Run(job->input)) << id << " round " << round;
    }
    EXPECT_EQ(StateOf(id, "steady").c, want.c);
  }

  void Meddle(uint32_t seed) {
    std::mt19937 random(seed);
    for (int round = 0; round < kRounds; ++round) {
      const std::string id = absl::StrCat("s", random() % 12);
      switch (random() % 8) {
        case 0:
          engine_->DeleteSession("m", id).IgnoreError();
          break;
        case 1:
          engine_->ResetSession("m", id, std::nullopt).status().IgnoreError();
          break;
        case 2:
          engine_->ResetSession("m", id, StateValues{{1, 2, 3}, {4, 5, 6}}).status().IgnoreError();
          break;
        case 3:
          engine_->GetSession("m", id, true).status().IgnoreError();
          break;
        case 4: {
          UpdateSessionParams params;
          params.labels = std::map<std::string, std::string>{{"round", absl::StrCat(round)}};
          params.idle_ttl = absl::Milliseconds(20);
          if (random() % 2 == 0) params.state = StateValues{{1, 2, 3}, {4, 5, 6}};
          engine_->UpdateSession("m", id, params).status().IgnoreError();
          break;
        }
        case 5: {
          const auto page = engine_->ListSessions({random() % 2 == 0 ? "m" : "-", "", {}, 5, ""});
          ASSERT_TRUE(page.ok());
          if (!page->next_token.empty()) {
            const auto next = engine_->ListSessions({"m", "", {}, 5, page->next_token});
            EXPECT_TRUE(next.ok() || Shown(next.status()) == "INVALID_ARGUMENT / PAGE_TOKEN");
          }
          break;
        }
        case 6:
          clock_.Advance(absl::Milliseconds(5));
          engine_->ExpireSessions();
          break;
        case 7:
          control_->FailRun(absl::InternalError("injected"), static_cast<int>(random() % 4));
          break;
      }
    }
  }

  void LoadAndUnload() {
    for (int round = 0; round < kRounds / 5; ++round) {
      const int64_t version = 2 + round % 2;
      EXPECT_TRUE(engine_->AddModel("m", version, SmallSpec(), SomeWeights(SmallSpec())).ok());
      EXPECT_TRUE(engine_->ListModels(0, "").ok());
      EXPECT_TRUE(engine_->UnloadModel("m", version, true).ok());
    }
  }
};

TEST_F(StressTest, WhateverTheOrder) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  std::vector<std::thread> threads;
  for (int k = 0; k < kSteppers; ++k) threads.emplace_back([=] { StepAnything(seed + static_cast<uint32_t>(k)); });
  for (int k = 0; k < 3; ++k) threads.emplace_back([=] { StepSteadily(absl::StrCat("steady", k)); });
  for (int k = 0; k < 2; ++k) threads.emplace_back([=] { Meddle(seed + 100 + static_cast<uint32_t>(k)); });
  threads.emplace_back([=] { LoadAndUnload(); });
  for (std::thread& thread : threads) thread.join();

  EXPECT_TRUE(engine_->Drain(absl::InfiniteFuture()));
  EXPECT_EQ(engine_->Stats().queued, 0u);
  for (const char* model : {"m", "steady"}) {
    const auto page = engine_->ListSessions({model, "", {}, 1000, ""});
    ASSERT_TRUE(page.ok());
    for (const SessionInfo& info : page->items) EXPECT_TRUE(engine_->DeleteSession(model, info.id).ok()) << info.id;
    EXPECT_TRUE(engine_->UnloadModel(model, 0, false).ok()) << "no session is counted any more";
  }
  EXPECT_EQ(engine_->Stats().sessions, 0u);
  EXPECT_EQ(control_->live_slots(), 0);
}

// The engine goes while others still submit and wait.
TEST_F(StressTest, StopsInTheMiddle) {
  for (int round = 0; round < 20; ++round) {
    CountingSink sink(60);
    std::vector<std::unique_ptr<Job>> jobs;
    std::vector<Work*> work;
    for (int k = 0; k < 60; ++k) {
      const auto session = engine_->FindSession("steady", absl::StrCat("s", k % 7), true);
      ASSERT_TRUE(session.ok());
      jobs.push_back(MakeStep(*session, &sink, static_cast<float>(k), 1 + k % 9));
      work.push_back(&jobs.back()->work);
    }
    std::thread submitter([&] { engine_->SubmitAll(work); });
    submitter.join();
    engine_.reset();
    sink.WaitForAll();
    jobs.clear();
    EXPECT_EQ(control_->live_slots(), 0);
    Start();
    AddSmall("steady");
  }
}

}  // namespace
}  // namespace lstmd
