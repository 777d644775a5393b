// SPDX-License-Identifier: Apache-2.0
//
// What is refused when there is too much, and how the engine stops.
#include <string>
#include <thread>

#include "tests/engine/fixture.h"

namespace lstmd {
namespace {

class AdmissionTest : public EngineTest {
 protected:
  void SetUp() override {
    options_.scheduler.max_queued_per_session = 3;
    options_.scheduler.max_queued_per_model = 5;
    options_.scheduler.slice_units = 4;
    Start();
    AddSmall();
  }
};

TEST_F(AdmissionTest, FullQueuesSayWhenToComeBack) {
  const auto a = NewSession("a"), b = NewSession("b");
  control_->Block();
  std::vector<std::unique_ptr<Job>> jobs;
  std::vector<Work*> work;
  for (int k = 0; k < 8; ++k) {
    jobs.push_back(MakeStep(k < 4 ? a : b, &sink_, 1));
    work.push_back(&jobs.back()->work);
  }
  engine_->SubmitAll(work);
  const absl::Status session = sink_.Wait(work[3]);
  EXPECT_EQ(Shown(session), "RESOURCE_EXHAUSTED / QUEUE_FULL");
  EXPECT_EQ(Metadata(session, "limit"), "3");
  EXPECT_EQ(GetCause(session).quota_subject, "models/m/sessions/a");
  EXPECT_TRUE(GetCause(session).retry_after.has_value());
  const absl::Status model = sink_.Wait(work[6]);
  EXPECT_EQ(Shown(model), "RESOURCE_EXHAUSTED / QUEUE_FULL");
  EXPECT_EQ(Metadata(model, "limit"), "5");
  EXPECT_EQ(GetCause(model).quota_subject, "models/m");
  control_->Unblock();
  for (const int k : {0, 1, 2, 4, 5}) EXPECT_EQ(Shown(sink_.Wait(work[k])), "OK") << k;
  const auto again = MakeStep(a, &sink_, 1);
  EXPECT_EQ(Shown(Run(again.get())), "OK");
}

TEST_F(AdmissionTest, DrainFinishesWhatIsInFlight) {
  const auto session = NewSession("a");
  control_->Block();
  const auto running = MakeStep(session, &sink_, 1), waiting = MakeStep(session, &sink_, 2);
  engine_->SubmitAll({&running->work, &waiting->work});
  control_->WaitUntilBlocked();
  EXPECT_FALSE(engine_->Drain(clock_.Now()));
  const auto late = MakeStep(session, &sink_, 1);
  EXPECT_EQ(Shown(Run(late.get())), "UNAVAILABLE / DRAINING");
  CreateSessionParams params;
  params.model = "m";
  EXPECT_EQ(Shown(CreateError(params)), "UNAVAILABLE / DRAINING");
  EXPECT_EQ(Shown(engine_->FindSession("m", "b", true).status()), "UNAVAILABLE / DRAINING");
  control_->Unblock();
  EXPECT_TRUE(engine_->Drain(absl::InfiniteFuture()));
  EXPECT_EQ(Shown(*sink_.Ended(&running->work)), "OK");
  EXPECT_EQ(Shown(*sink_.Ended(&waiting->work)), "OK");
  EXPECT_TRUE(engine_->GetSession("m", "a", true).ok()) << "states can still be read";
}

TEST_F(AdmissionTest, TheEndOfTheEngineEndsItsWork) {
  auto session = NewSession("a");
  control_->Block();
  const auto running = MakeStep(session, &sink_, 1), waiting = MakeStep(session, &sink_, 2, 1, 1);
  const auto sequence = MakeSequence(*engine_->FindModel("m", 0), &sink_, 1, 40);
  engine_->SubmitAll({&running->work, &waiting->work});
  control_->WaitUntilBlocked();
  engine_->Submit(&sequence->work);
  std::thread destroyer([&] { engine_.reset(); });
  control_->Unblock();
  destroyer.join();
  for (const Job* job : {waiting.get(), sequence.get()}) {
    const std::string end = Shown(*sink_.Ended(&job->work));
    EXPECT_TRUE(end == "OK" || end == "UNAVAILABLE / DRAINING") << end;
  }
  EXPECT_EQ(Shown(*sink_.Ended(&running->work)), "OK");
  // Work and sessions may be let go of later.
  running->work.session = waiting->work.session = nullptr;
  session.reset();
  EXPECT_EQ(control_->live_slots(), 0);
}

TEST_F(AdmissionTest, AnEngineNeedsABackendAndSaneLimits) {
  EXPECT_FALSE(Engine::Create({}, {}).ok());
  EngineOptions options;
  options.scheduler.max_batch_size = 0;
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(std::make_unique<FakeBackend>(control_));
  EXPECT_FALSE(Engine::Create(options, std::move(backends)).ok());
}

TEST(DevicesTest, WorkOfSeveralDevicesGoesTogether) {
  auto one = std::make_shared<FakeControl>(), two = std::make_shared<FakeControl>();
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(std::make_unique<FakeBackend>(one, "fake:0"));
  backends.push_back(std::make_unique<FakeBackend>(two, "fake:1"));
  auto engine = *Engine::Create({}, std::move(backends));
  ASSERT_EQ(engine->AddModel("a", 1, SmallSpec(), SomeWeights(SmallSpec()))->device, "fake:0");
  ASSERT_EQ(engine->AddModel("b", 1, SmallSpec(), SomeWeights(SmallSpec()), "fake:1")->device, "fake:1");
  Recorder sink;
  const auto first = MakeStep(*engine->FindSession("a", "s", true), &sink, 1);
  const auto second = MakeStep(*engine->FindSession("b", "s", true), &sink, 2);
  engine->SubmitAll({&first->work, &second->work});
  EXPECT_TRUE(sink.Wait(&first->work).ok());
  EXPECT_TRUE(sink.Wait(&second->work).ok());
  EXPECT_EQ(one->calls().size(), 1u);
  EXPECT_EQ(two->calls().size(), 1u);
  EXPECT_EQ(engine->Backends().size(), 2u);
}

}  // namespace
}  // namespace lstmd
