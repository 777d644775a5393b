// SPDX-License-Identifier: Apache-2.0
//
// Tenants: what they may use.
#include <atomic>
#include <map>
#include <thread>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "server/telemetry.h"
#include "tests/integration/access_fixture.h"
#include "tests/integration/oip_client.h"

namespace lstmd {
namespace {

TEST_F(AccessTest, ModelsOutsideTheQuotaAreNeitherUsedNorShown) {
  SetQuotas(R"({"tenants": {"alpha": {"models": ["m"]}}})");
  StartCpu();
  EXPECT_EQ(CreateAs(kAlpha, "m", "s").code, grpc::StatusCode::OK);
  EXPECT_EQ(Shown(CreateAs(kAlpha, "wide", "s")), "PERMISSION_DENIED / MODEL_NOT_ALLOWED at parent");
  EXPECT_EQ(Shown(CreateAs(kAlpha, "none", "s")), "PERMISSION_DENIED / MODEL_NOT_ALLOWED at parent");
  EXPECT_EQ(CreateAs(kBeta, "wide", "s").code, grpc::StatusCode::OK);
  EXPECT_EQ(StepAs(kAlpha, SessionName("wide", "s")).reason, "MODEL_NOT_ALLOWED");
  v1::ListModelsResponse models;
  EXPECT_TRUE(models_->ListModels(As(kAlpha).get(), {}, &models).ok());
  ASSERT_EQ(models.models_size(), 1);
  EXPECT_EQ(models.models(0).name(), "models/m");
  auto stub = inference::GRPCInferenceService::NewStub(channel());
  inference::ModelInferResponse response;
  EXPECT_EQ(Decode(stub->ModelInfer(As(kAlpha).get(), OipRequest("wide", {1, 2, 4}, std::vector<float>(8)), &response))
                .reason,
            "MODEL_NOT_ALLOWED");
}

TEST_F(AccessTest, RatesAreTheTenantsOwn) {
  SetQuotas(R"({"tenants": {"alpha": {"steps_per_second": 10}, "beta": {"requests_per_second": 2}}})");
  StartCpu();
  EXPECT_EQ(CreateAs(kAlpha, "m", "s").code, grpc::StatusCode::OK);
  // More than a burst: taken once, and then paid for longer than this test lasts.
  EXPECT_EQ(StepAs(kAlpha, SessionName("m", "s"), 3000).code, grpc::StatusCode::OK);
  const WireError error = StepAs(kAlpha, SessionName("m", "s"));
  EXPECT_EQ(Shown(error), "RESOURCE_EXHAUSTED / QUOTA");
  EXPECT_TRUE(error.has_retry);
  EXPECT_EQ(error.metadata.at("bound"), "steps_per_second");

  const auto context = As(kAlpha);
  const auto stream = inference_->StreamSteps(context.get());
  stream->Write(BindFrame({SessionName("m", "s")}));
  stream->Write(StepFrame(1, {0}, MakeTensor({1, 3}, {1, 2, 3})));
  stream->WritesDone();
  std::string reason;
  for (v1::StreamStepsResponse response; stream->Read(&response);) {
    if (response.failures_size() > 0) reason = Decode(response.failures(0).error()).reason;
  }
  EXPECT_EQ(reason, "QUOTA");
  EXPECT_TRUE(stream->Finish().ok());

  int refused = 0;
  for (int i = 0; i < 200; ++i) refused += StepAs(kBeta, SessionName("m", "b")).reason == "QUOTA" ? 1 : 0;
  EXPECT_GT(refused, 0);
  std::map<std::string, uint64_t> counted;  // other tests of this process count too
  for (const auto& one : server::Telemetry::Get().Refusals()) counted[one.tenant + " " + one.bound] = one.count;
  EXPECT_GE(counted["alpha steps_per_second"], 2u);
  EXPECT_GE(counted["beta requests_per_second"], static_cast<uint64_t>(refused));
  EXPECT_EQ(CreateAs(kOps, "m", "s").code, grpc::StatusCode::OK);
}

// Refusals are held back: calls and streams that come by hundreds all the same are all answered, and their ends are
// too.
TEST_F(AccessTest, WhoGoesOnInSpiteOfRefusalsIsAnsweredAllTheSame) {
  SetQuotas(R"({"tenants": {"alpha": {"steps_per_second": 10}}})");
  StartCpu();
  EXPECT_EQ(CreateAs(kAlpha, "m", "s").code, grpc::StatusCode::OK);
  EXPECT_EQ(StepAs(kAlpha, SessionName("m", "s"), 3000).code, grpc::StatusCode::OK);
  std::vector<std::thread> callers;
  std::atomic<int> refused{0};
  for (int i = 0; i < 8; ++i) {
    callers.emplace_back([&] {
      for (int k = 0; k < 20; ++k) refused += StepAs(kAlpha, SessionName("m", "s")).reason == "QUOTA" ? 1 : 0;
    });
  }
  const auto context = As(kAlpha);
  const auto stream = inference_->StreamSteps(context.get());
  stream->Write(BindFrame({SessionName("m", "s")}));
  for (uint64_t i = 1; i <= 100; ++i) stream->Write(StepFrame(i, {0}, MakeTensor({1, 3}, {1, 2, 3})));
  stream->WritesDone();
  int failures = 0;
  for (v1::StreamStepsResponse response; stream->Read(&response);) failures += response.failures_size();
  EXPECT_EQ(failures, 100);
  EXPECT_TRUE(stream->Finish().ok());
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(refused, 160);
  // One that goes away while it is held.
  const auto gone = As(kAlpha);
  const auto cancelled = inference_->StreamSteps(gone.get());
  cancelled->Write(BindFrame({SessionName("m", "s")}));
  for (uint64_t i = 1; i <= 20; ++i) cancelled->Write(StepFrame(i, {0}, MakeTensor({1, 3}, {1, 2, 3})));
  gone->TryCancel();
  EXPECT_EQ(cancelled->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(CreateAs(kBeta, "m", "s").code, grpc::StatusCode::OK);
}

// No answer comes before its time, and whoever is known does not wait with the others.
TEST_F(AccessTest, WhoIsNotKnownIsHeldBack) {
  StartCpu();
  EXPECT_EQ(CreateAs(kAlpha, "m", "s").code, grpc::StatusCode::OK);
  const absl::Time start = absl::Now();
  std::vector<std::thread> callers;
  std::atomic<int> refused{0};
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      for (const char* token : {"", "lstmd_guess"}) {
        for (int k = 0; k < 10; ++k) refused += StepAs(token, SessionName("m", "s")).reason == "TOKEN" ? 1 : 0;
      }
    });
  }
  EXPECT_EQ(StepAs(kAlpha, SessionName("m", "s")).code, grpc::StatusCode::OK);
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(refused, 80);
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(80 * 2));
}

TEST_F(AccessTest, WorkInFlightIsBoundedForEachTenant) {
  SetQuotas(R"({"tenants": {"alpha": {"in_flight": 2}}})");
  StartFake();
  for (const char* token : {kAlpha, kBeta}) EXPECT_EQ(CreateAs(token, "m", "s").code, grpc::StatusCode::OK);
  const auto context = As(kAlpha);
  const auto stream = inference_->StreamSteps(context.get());
  control_->Block();
  stream->Write(BindFrame({SessionName("m", "s")}));
  for (uint64_t i = 1; i <= 3; ++i) stream->Write(StepFrame(i, {0}, MakeTensor({1, 3}, {1, 2, 3})));
  stream->WritesDone();
  v1::StreamStepsResponse response;
  while (response.failures_size() == 0) ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.failures(0).steps_id(), 3u);
  EXPECT_EQ(Decode(response.failures(0).error()).reason, "QUOTA");
  control_->Unblock();
  int results = 0;
  while (stream->Read(&response)) {
    for (const v1::ResultBlock& block : response.results()) results += block.handles_size();
  }
  EXPECT_EQ(results, 2);
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(StepAs(kAlpha, SessionName("m", "s")).code, grpc::StatusCode::OK);
}

}  // namespace
}  // namespace lstmd
