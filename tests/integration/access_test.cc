// SPDX-License-Identifier: Apache-2.0
//
// Tenants: who is let in, and what they see of each other.
#include <algorithm>
#include <set>

#include "gmock/gmock.h"
#include "tests/integration/access_fixture.h"
#include "tests/integration/oip_client.h"

namespace lstmd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST_F(AccessTest, NoRpcButTheProbesLetsAStrangerIn) {
  StartCpu();
  int refused = 0;
  for (const auto* method : Methods()) {
    for (const std::string token : {"", "lstmd_nobody", "\"alpha\""}) {
      const WireError error = Call(token, *method, *NewRequest(*method));
      if (method->name() == "ServerLive" || method->name() == "ServerReady") {
        EXPECT_EQ(error.code, grpc::StatusCode::OK) << method->full_name();
      } else {
        EXPECT_EQ(Shown(error), "UNAUTHENTICATED / TOKEN") << method->full_name();
        EXPECT_THAT(error.message, Not(HasSubstr("nobody")));
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 60);
}

TEST_F(AccessTest, WhatChangesTheServerIsForAdmins) {
  StartCpu();
  const std::set<std::string> admin = {
      "LoadModel",   "UnloadModel",  "UpdateWeights", "Drain",       "RepositoryModelLoad", "RepositoryModelUnload",
      "LogSettings", "TraceSetting", "GetStats",      "SetLogLevel", "GetLogLevel"};
  size_t found = 0;
  for (const auto* method : Methods()) {
    if (admin.count(method->name()) == 0) continue;
    ++found;
    EXPECT_EQ(Shown(Call(kAlpha, *method, *NewRequest(*method))), "PERMISSION_DENIED / ADMIN_ONLY")
        << method->full_name();
  }
  EXPECT_EQ(found, admin.size());
  v1::UnloadModelRequest unload;
  unload.set_name("models/wide");
  google::protobuf::Empty empty;
  EXPECT_TRUE(models_->UnloadModel(As(kOps).get(), unload, &empty).ok());
}

// Every rpc that names a session is tried on one that another tenant has.
TEST_F(AccessTest, ATenantFindsOnlyItsOwnSessions) {
  StartCpu();
  EXPECT_EQ(CreateAs(kAlpha, "m", "s").code, grpc::StatusCode::OK);
  const std::string name = SessionName("m", "s");
  int tried = 0;
  for (const auto* method : Methods()) {
    const auto request = NewRequest(*method);
    const auto* reflection = request->GetReflection();
    const auto* type = request->GetDescriptor();
    const auto* field = type->FindFieldByName("name");
    if (method->service()->full_name() != "lstmd.v1.SessionService") continue;
    if (field != nullptr) {
      reflection->SetString(request.get(), field, name);
    } else if (method->name() == "UpdateSession") {
      static_cast<v1::UpdateSessionRequest&>(*request).mutable_session()->set_name(name);
    } else {
      continue;
    }
    ++tried;
    EXPECT_THAT(Shown(Call(kBeta, *method, *request)),
                ::testing::AnyOf("NOT_FOUND / SESSION_NOT_FOUND", "UNIMPLEMENTED / NOT_IN_THIS_RELEASE"))
        << method->full_name();
  }
  EXPECT_GE(tried, 7);
  EXPECT_EQ(Shown(StepAs(kBeta, name)), "NOT_FOUND / SESSION_NOT_FOUND");

  v1::RunSequencesRequest run;
  run.set_model("models/m");
  run.add_sequences()->set_session(name);
  *run.mutable_sequences(0)->mutable_input() = MakeTensor({1, 3}, {1, 2, 3});
  v1::RunSequencesResponse ran;
  EXPECT_EQ(Decode(inference_->RunSequences(As(kBeta).get(), run, &ran)).reason, "SESSION_NOT_FOUND");

  const auto context = As(kBeta);
  const auto stream = inference_->StreamSteps(context.get());
  v1::StreamStepsRequest frame;
  frame.add_binds()->set_session(name);
  stream->Write(frame);
  stream->WritesDone();
  v1::StreamStepsResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(Decode(response.failures(0).error()).reason, "SESSION_NOT_FOUND");
  EXPECT_TRUE(stream->Finish().ok());

  EXPECT_EQ(StepAs(kAlpha, name).code, grpc::StatusCode::OK);
}

TEST_F(AccessTest, TheSameNameIsAnotherSessionForEachTenant) {
  StartCpu();
  for (const char* token : {kAlpha, kBeta}) EXPECT_EQ(CreateAs(token, "m", "s").code, grpc::StatusCode::OK);
  EXPECT_EQ(Shown(CreateAs(kAlpha, "m", "s")), "ALREADY_EXISTS / SESSION_EXISTS");
  EXPECT_EQ(CreateAs(kAlpha, "wide", "s").code, grpc::StatusCode::OK);
  EXPECT_EQ(CreateAs(kAlpha, "m", "").code, grpc::StatusCode::OK);
  EXPECT_EQ(StepAs(kAlpha, SessionName("m", "s")).code, grpc::StatusCode::OK);

  EXPECT_THAT(ListAs(kBeta), ::testing::ElementsAre(SessionName("m", "s")));
  EXPECT_THAT(ListAs(kAlpha), ::testing::ElementsAre(SessionName("m", "s"), StartsWith(SessionName("m", "s-")),
                                                     SessionName("wide", "s")));
  EXPECT_THAT(ListAs(kOps), ::testing::IsEmpty());

  v1::GetSessionRequest get;
  get.set_name(SessionName("m", "s"));
  v1::Session session;
  EXPECT_TRUE(sessions_->GetSession(As(kBeta).get(), get, &session).ok());
  EXPECT_EQ(session.steps(), 0u);
  EXPECT_EQ(session.name(), SessionName("m", "s"));

  // What ended is told only to who had it.
  v1::DeleteSessionRequest remove;
  remove.set_name(SessionName("wide", "s"));
  google::protobuf::Empty empty;
  EXPECT_TRUE(sessions_->DeleteSession(As(kAlpha).get(), remove, &empty).ok());
  get.set_name(SessionName("wide", "s"));
  EXPECT_EQ(Decode(sessions_->GetSession(As(kAlpha).get(), get, &session)).metadata["last_event"], "DELETED");
  EXPECT_EQ(Decode(sessions_->GetSession(As(kBeta).get(), get, &session)).metadata.count("last_event"), 0u);

  // No name reaches across.
  EXPECT_EQ(Shown(StepAs(kBeta, "models/m/sessions/alpha:s")), "INVALID_ARGUMENT / RESOURCE_NAME at items[0].session");
  EXPECT_EQ(Shown(CreateAs(kBeta, "m", "alpha:s")), "INVALID_ARGUMENT / SESSION_ID at session_id");
}

TEST_F(AccessTest, PagesOfAListHoldTheTenantsOwn) {
  StartCpu();
  std::vector<std::string> want;
  for (int i = 10; i < 40; ++i) {
    const std::string id = "s" + std::to_string(i);
    // Owners before, between and after each other's names.
    for (const char* token : {kAlpha, kBeta, kOps}) {
      EXPECT_EQ(CreateAs(token, i % 2 == 0 ? "m" : "wide", id).code, grpc::StatusCode::OK);
    }
    want.push_back(SessionName(i % 2 == 0 ? "m" : "wide", id));
  }
  std::sort(want.begin(), want.end());
  for (const char* token : {kAlpha, kBeta, kOps}) {
    v1::ListSessionsRequest request;
    request.set_parent("models/-");
    request.set_page_size(7);
    std::vector<std::string> got;
    do {
      v1::ListSessionsResponse page;
      ASSERT_TRUE(sessions_->ListSessions(As(token).get(), request, &page).ok());
      EXPECT_LE(page.sessions_size(), 7);
      for (const v1::Session& session : page.sessions()) got.push_back(session.name());
      request.set_page_token(page.next_page_token());
    } while (!request.page_token().empty());
    EXPECT_EQ(got, want) << token;
  }
}

TEST_F(AccessTest, SequencesOfTheOpenProtocolAreTheTenantsOwn) {
  StartCpu();
  auto stub = inference::GRPCInferenceService::NewStub(channel());
  inference::ModelInferResponse response;
  EXPECT_TRUE(stub->ModelInfer(As(kAlpha).get(), OipStep("m", 7, {1, 2, 3}, true), &response).ok());
  EXPECT_EQ(Decode(stub->ModelInfer(As(kBeta).get(), OipStep("m", 7, {1, 2, 3}), &response)).reason,
            "SESSION_NOT_FOUND");
  EXPECT_TRUE(stub->ModelInfer(As(kAlpha).get(), OipStep("m", 7, {1, 2, 3}), &response).ok());

  const auto context = As(kBeta);
  const auto stream = stub->ModelStreamInfer(context.get());
  stream->Write(OipStep("m", 7, {1, 2, 3}));
  stream->WritesDone();
  inference::ModelStreamInferResponse answer;
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_THAT(answer.error_message(), StartsWith("[SESSION_NOT_FOUND]"));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(AccessTest, ATokenThatIsTakenAwayEndsAlsoOnOpenStreams) {
  StartCpu();
  EXPECT_EQ(CreateAs(kAlpha, "m", "s").code, grpc::StatusCode::OK);
  const auto context = As(kAlpha);
  const auto stream = inference_->StreamSteps(context.get());
  stream->Write(BindFrame({SessionName("m", "s")}));
  v1::StreamStepsResponse response;
  ASSERT_TRUE(stream->Read(&response));
  // A file that does not parse changes nothing, and a good one does.
  Write("tokens", "alpha user");
  Write("tokens", Line("beta", "user", kBeta) + Line("gamma", "user", "lstmd_gamma"));
  while (CreateAs("lstmd_gamma", "m", "s").code == grpc::StatusCode::UNAUTHENTICATED) {
  }
  EXPECT_EQ(Shown(StepAs(kAlpha, SessionName("m", "s"))), "UNAUTHENTICATED / TOKEN");
  EXPECT_EQ(CreateAs(kBeta, "m", "s").code, grpc::StatusCode::OK);
  stream->Write(StepFrame(1, {0}, MakeTensor({1, 3}, {1, 2, 3})));
  stream->WritesDone();
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(Decode(response.failures(0).error()).reason, "TOKEN");
  EXPECT_TRUE(stream->Finish().ok());
}

}  // namespace
}  // namespace lstmd
