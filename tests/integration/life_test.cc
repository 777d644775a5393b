// SPDX-License-Identifier: Apache-2.0
//
// Health, reflection, and how a server drains: everything that was accepted is answered.
#include <thread>

#include "gmock/gmock.h"
#include "tests/integration/raw_call.h"
#include "tests/integration/stream_client.h"

namespace lstmd {
namespace {

using ::testing::HasSubstr;

// grpc.health.v1: HealthCheckRequest{string service = 1}, HealthCheckResponse{ServingStatus status = 1}.
std::string HealthRequest(const std::string& service) {
  if (service.empty()) return "";
  return std::string("\x0a") + static_cast<char>(service.size()) + service;
}
const char kServing[] = "\x08\x01";
const char kNotServing[] = "\x08\x02";
constexpr char kCheck[] = "/grpc.health.v1.Health/Check";
constexpr char kWatch[] = "/grpc.health.v1.Health/Watch";

class LifeTest : public ServerTest {
 protected:
  std::optional<std::string> Health(const std::string& service) {
    RawCall call(NewChannel(), kCheck);
    call.Write(HealthRequest(service), true);
    return call.Read();
  }
};

TEST_F(LifeTest, HealthKnowsTheServerAndEachService) {
  StartFake();
  for (const char* service : {"", "lstmd.v1.InferenceService", "lstmd.v1.SessionService", "lstmd.v1.ModelService"}) {
    EXPECT_EQ(Health(service), kServing) << service;
  }
  EXPECT_EQ(Health("lstmd.v1.Nothing"), std::nullopt);
}

TEST_F(LifeTest, HealthWatchSeesTheDrain) {
  StartFake();
  RawCall watch(NewChannel(), kWatch);
  watch.Write(HealthRequest("lstmd.v1.InferenceService"), true);
  EXPECT_EQ(watch.Read(), kServing);
  EXPECT_TRUE(server_->Drain(absl::Now() + absl::Seconds(30)));
  EXPECT_EQ(watch.Read(), kNotServing);
}

TEST_F(LifeTest, ReflectionListsTheServices) {
  StartFake();
  RawCall call(NewChannel(), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
  call.Write(std::string("\x3a\x00", 2), true);  // list_services = ""
  const std::optional<std::string> reply = call.Read();
  ASSERT_TRUE(reply.has_value());
  for (const char* service : {"lstmd.v1.InferenceService", "lstmd.v1.SessionService", "lstmd.v1.ModelService",
                              "grpc.reflection.v1alpha.ServerReflection"}) {
    EXPECT_THAT(*reply, HasSubstr(service));
  }
}

TEST_F(LifeTest, DrainAnswersWhatWasAcceptedAndRefusesTheRest) {
  StartFake();
  StreamClient stream(inference_.get());
  ASSERT_TRUE(stream.Write(BindFrame({SessionName("m", "a"), SessionName("m", "b")})));
  stream.ReadAnswers(2);
  control_->Block();
  for (uint64_t i = 1; i <= 40; ++i) {
    ASSERT_TRUE(stream.Write(StepFrame(i, {0, 1}, MakeTensor({2, 3}, std::vector<float>(6)))));
  }
  control_->WaitUntilBlocked();
  while (server_->engine().Stats().queued != 80) std::this_thread::yield();
  // A unary call waits for the device, too.
  v1::StepRequest request;
  *request.add_items() = Item(SessionName("m", "a"), MakeTensor({3}, {1, 2, 3}));
  v1::StepResponse response;
  grpc::Status unary;
  std::thread caller([&] { unary = StepStatus(request, &response); });
  while (server_->engine().Stats().queued != 81) std::this_thread::yield();

  bool drained = false;
  std::thread drain([&] { drained = server_->Drain(absl::Now() + absl::Seconds(60)); });
  while (!stream.go_away) ASSERT_TRUE(stream.ReadFrame());
  // The engine refuses new work at some moment after the word is out: a step is answered either way, or the stream
  // has ended before it was read.
  stream.Write(StepFrame(41, {0}, MakeTensor({1, 3}, {1, 2, 3})));
  control_->Unblock();
  EXPECT_TRUE(stream.Finish().ok());
  drain.join();
  caller.join();
  EXPECT_TRUE(drained);
  EXPECT_TRUE(unary.ok()) << unary.error_message();
  for (const uint32_t handle : {0u, 1u}) {
    ASSERT_GE(stream.results[handle].size(), 40u);
    for (uint64_t i = 0; i < 40; ++i) EXPECT_EQ(stream.results[handle][i].id, i + 1);
  }
  for (const v1::StepFailure& failure : stream.failures) {
    EXPECT_EQ(Shown(Decode(failure.error())), "UNAVAILABLE / DRAINING");
    EXPECT_EQ(failure.steps_id(), 41u);
  }
}

TEST_F(LifeTest, ADrainReturnsAtItsDeadline) {
  StartFake();
  StreamClient stream(inference_.get());
  ASSERT_TRUE(stream.Write(BindFrame({SessionName("m", "a")})));
  stream.ReadAnswers(1);
  control_->Block();
  ASSERT_TRUE(stream.Write(StepFrame(1, {0}, MakeTensor({1, 3}, {1, 2, 3}))));
  control_->WaitUntilBlocked();
  EXPECT_FALSE(server_->Drain(absl::Now() + absl::Milliseconds(50)));
  // Late, but not lost as long as the server lives.
  control_->Unblock();
  EXPECT_TRUE(stream.Finish().ok());
  EXPECT_EQ(stream.results[0].size(), 1u);
}

TEST_F(LifeTest, AStreamOpenedWhileDrainingIsToldAtOnce) {
  StartFake();
  StreamClient busy(inference_.get());
  ASSERT_TRUE(busy.Write(BindFrame({SessionName("m", "a")})));
  busy.ReadAnswers(1);
  control_->Block();
  ASSERT_TRUE(busy.Write(StepFrame(1, {0}, MakeTensor({1, 3}, {1, 2, 3}))));
  control_->WaitUntilBlocked();
  std::thread drain([&] { server_->Drain(absl::Now() + absl::Seconds(60)); });
  while (!busy.go_away) ASSERT_TRUE(busy.ReadFrame());
  StreamClient late(inference_.get());
  while (!late.go_away) ASSERT_TRUE(late.ReadFrame());
  control_->Unblock();
  EXPECT_TRUE(late.Finish().ok());
  EXPECT_TRUE(busy.Finish().ok());
  drain.join();
  EXPECT_EQ(busy.results[0].size(), 1u);
}

TEST_F(LifeTest, AnAddressInUseIsAnError) {
  StartFake();
  server::ServerOptions options;
  options.listen = {address_};
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(std::make_unique<FakeBackend>(std::make_shared<FakeControl>()));
  auto engine = Engine::Create({}, std::move(backends));
  ASSERT_TRUE(engine.ok());
  const auto second = server::Server::Start(options, *std::move(engine));
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(second.status().message(), HasSubstr(address_));
}

}  // namespace
}  // namespace lstmd
