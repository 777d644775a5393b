// SPDX-License-Identifier: Apache-2.0
//
// Batches that run on the thread that brings them.
#include <thread>
#include <vector>

#include "tests/engine/fixture.h"

namespace lstmd {
namespace {

// Remembers which thread told of each end.
class ThreadSink final : public WorkSink {
 public:
  void OnDone(Work*, const absl::Status& status) override {
    MutexLock lock(&mutex_);
    EXPECT_TRUE(status.ok()) << status;
    last_ = std::this_thread::get_id();
  }
  void OnBatchEnd() override {
    MutexLock lock(&mutex_);
    ++batches_;
    changed_.SignalAll();
  }
  // Waits for that many batches in all. Whether this thread told of the last.
  bool OnThisThread(int batches) {
    MutexLock lock(&mutex_);
    while (batches_ < batches) changed_.Wait(&mutex_);
    return last_ == std::this_thread::get_id();
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  int batches_ ABSL_GUARDED_BY(mutex_) = 0;
  std::thread::id last_ ABSL_GUARDED_BY(mutex_);
};

class InlineTest : public EngineTest {
 protected:
  void SetUp() override {
    control_->set_any_thread(true);
    Start();
    AddSmall();
    session_ = NewSession("s");
  }
  // One step after a pause. Whether this thread ran it.
  bool StepAlone(uint32_t steps = 1) {
    clock_.Advance(absl::Milliseconds(1));
    job_ = MakeStep(session_, &sink_, 1, steps);
    engine_->Submit(&job_->work);
    return sink_.OnThisThread(++batches_);
  }
  // Steps until this thread has run one: the cost of a step must be known, and the worker may still be at the end of
  // the batch before.
  bool WarmUp() {
    for (int k = 0; k < 10'000; ++k) {
      if (StepAlone()) return true;
    }
    return false;
  }

  ThreadSink sink_;
  int batches_ = 0;
  std::shared_ptr<Session> session_;
  std::unique_ptr<Job> job_;
};

TEST_F(InlineTest, LoneStepsRunOnTheThreadThatBringsThem) {
  ASSERT_TRUE(WarmUp());
  FakeModelRun want(SmallSpec());
  for (int k = 0; k < batches_; ++k) want.Run(job_->input);
  for (int k = 0; k < 20; ++k) {
    EXPECT_TRUE(StepAlone()) << k;
    EXPECT_EQ(job_->output, want.Run(job_->input));
  }
  EXPECT_GE(engine_->Stats().inline_batches, 21u);
  EXPECT_LE(engine_->Stats().inline_batches, engine_->Stats().batches);
}

TEST_F(InlineTest, StepsWithoutAPauseGoToTheWorker) {
  ASSERT_TRUE(WarmUp());
  for (int k = 0; k < 20; ++k) {
    job_ = MakeStep(session_, &sink_, 1);
    engine_->Submit(&job_->work);
    EXPECT_FALSE(sink_.OnThisThread(++batches_)) << k;
  }
}

TEST_F(InlineTest, LongSequencesGoToTheWorker) {
  ASSERT_TRUE(WarmUp());
  EXPECT_FALSE(StepAlone(100));
}

TEST_F(InlineTest, ShortWorkThatIsAloneNeedsNoPause) {
  ASSERT_TRUE(WarmUp());
  for (int k = 0; k < 20; ++k) {
    job_ = MakeStep(session_, &sink_, 1);
    job_->work.alone = true;
    engine_->Submit(&job_->work);
    EXPECT_TRUE(sink_.OnThisThread(++batches_)) << k;
  }
}

TEST_F(InlineTest, WorkThatComesMeanwhileRunsAfterIt) {
  ASSERT_TRUE(WarmUp());
  clock_.Advance(absl::Milliseconds(1));
  control_->Block();
  const auto first = MakeStep(session_, &sink_, 1);
  std::thread submitter([&] { engine_->Submit(&first->work); });
  control_->WaitUntilBlocked();
  clock_.Advance(absl::Milliseconds(1));
  const auto other = NewSession("other");
  const auto second = MakeStep(other, &sink_, 2);
  engine_->Submit(&second->work);  // returns at once
  EXPECT_EQ(engine_->Stats().queued, 2u);
  control_->Unblock();
  submitter.join();
  batches_ += 2;
  sink_.OnThisThread(batches_);
  EXPECT_TRUE(engine_->Drain(absl::InfiniteFuture()));
  EXPECT_EQ(second->output, FakeModelRun(SmallSpec()).Run(second->input));
  EXPECT_THAT(control_->violations(), ::testing::IsEmpty());
}

TEST_F(InlineTest, TheEngineWaitsForIt) {
  ASSERT_TRUE(WarmUp());
  clock_.Advance(absl::Milliseconds(1));
  control_->Block();
  const auto job = MakeStep(session_, &sink_, 1);
  std::thread submitter([&] { engine_->Submit(&job->work); });
  control_->WaitUntilBlocked();
  EXPECT_FALSE(engine_->Drain(clock_.Now())) << "a step is under way";
  control_->Unblock();
  submitter.join();
  EXPECT_TRUE(engine_->Drain(absl::InfiniteFuture()));
}

TEST_F(InlineTest, NotWhereTheBackendForbidsIt) {
  ASSERT_TRUE(WarmUp());
  control_->set_any_thread(false);
  for (int k = 0; k < 20; ++k) EXPECT_FALSE(StepAlone());
}

class NoInlineTest : public InlineTest {
 protected:
  NoInlineTest() { options_.scheduler.max_inline_time = absl::ZeroDuration(); }
};

TEST_F(NoInlineTest, NeverWhereItIsTurnedOff) {
  for (int k = 0; k < 20; ++k) EXPECT_FALSE(StepAlone());
  EXPECT_EQ(engine_->Stats().inline_batches, 0u);
}

}  // namespace
}  // namespace lstmd
