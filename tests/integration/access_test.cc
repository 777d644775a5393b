// SPDX-License-Identifier: Apache-2.0
//
// Tenants: who is let in, what they see of each other, what they may use.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <set>

#include "absl/strings/escaping.h"
#include "gmock/gmock.h"
#include "google/protobuf/dynamic_message.h"
#include "grpcpp/generic/generic_stub.h"
#include "inference/grpc_service.grpc.pb.h"
#include "lstmd/v1/admin_service.pb.h"
#include "server/credentials_file.h"
#include "server/telemetry.h"
#include "tests/integration/oip_client.h"
#include "tests/integration/server_fixture.h"

namespace lstmd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kAlpha[] = "lstmd_alpha";
constexpr char kBeta[] = "lstmd_beta";
constexpr char kOps[] = "lstmd_ops";

const char* const kServices[] = {"lstmd.v1.InferenceService", "lstmd.v1.SessionService", "lstmd.v1.ModelService",
                                 "lstmd.v1.AdminService", "inference.GRPCInferenceService"};

std::string Line(const std::string& tenant, const std::string& role, const std::string& token) {
  const server::Sha256 hash = server::HashOf(token);
  const absl::string_view bytes(reinterpret_cast<const char*>(hash.data()), hash.size());
  return tenant + " " + role + " sha256:" + absl::BytesToHexString(bytes) + "\n";
}

class AccessTest : public ServerTest {
 protected:
  AccessTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "lstmd-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    options_.access.auth_file = folder_ + "/tokens";
    options_.access.reload_interval = absl::Milliseconds(20);
    Write("tokens", Everyone());
  }
  ~AccessTest() override { std::filesystem::remove_all(folder_); }

  static std::string Everyone() {
    return Line("alpha", "user", kAlpha) + Line("beta", "user", kBeta) + Line("ops", "admin", kOps);
  }
  // At once, as a mounted secret changes.
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ + "/next") << text;
    std::filesystem::rename(folder_ + "/next", folder_ + "/" + name);
  }
  void SetQuotas(const std::string& json) {
    Write("quotas", json);
    options_.access.quota_file = folder_ + "/quotas";
  }

  std::unique_ptr<grpc::ClientContext> As(const std::string& token) {
    auto context = Context();
    if (!token.empty()) context->AddMetadata("authorization", "Bearer " + token);
    return context;
  }

  // Any rpc, streams too: one message, and how it ended.
  WireError Call(const std::string& token, const google::protobuf::MethodDescriptor& method,
                 const google::protobuf::Message& request) {
    const auto context = As(token);
    const grpc::Slice slice(request.SerializeAsString());
    grpc::ByteBuffer buffer(&slice, 1);
    grpc::ByteBuffer reply;
    grpc::GenericStub stub(channel());
    std::promise<grpc::Status> ended;
    stub.UnaryCall(context.get(), "/" + method.service()->full_name() + "/" + method.name(), {}, &buffer, &reply,
                   [&](const grpc::Status& status) { ended.set_value(status); });
    return Decode(ended.get_future().get());
  }
  WireError CreateAs(const std::string& token, const std::string& model, const std::string& id) {
    v1::CreateSessionRequest request;
    request.set_parent("models/" + model);
    request.set_session_id(id);
    v1::Session session;
    return Decode(sessions_->CreateSession(As(token).get(), request, &session));
  }
  WireError StepAs(const std::string& token, const std::string& session, int count = 1) {
    v1::StepRequest request;
    *request.add_items() = Item(session, MakeTensor({count, 3}, std::vector<float>(3 * static_cast<size_t>(count))));
    v1::StepResponse response;
    return Decode(inference_->Step(As(token).get(), request, &response));
  }
  std::vector<std::string> ListAs(const std::string& token, const std::string& model = "-") {
    v1::ListSessionsRequest request;
    request.set_parent("models/" + model);
    v1::ListSessionsResponse response;
    EXPECT_TRUE(sessions_->ListSessions(As(token).get(), request, &response).ok());
    std::vector<std::string> names;
    for (const v1::Session& session : response.sessions()) names.push_back(session.name());
    return names;
  }
  std::shared_ptr<grpc::Channel> channel() {
    if (channel_ == nullptr) channel_ = NewChannel();
    return channel_;
  }
  std::vector<const google::protobuf::MethodDescriptor*> Methods() {
    // Links the descriptors in.
    EXPECT_NE(inference::ModelInferRequest::descriptor(), nullptr);
    EXPECT_NE(v1::GetStatsRequest::descriptor(), nullptr);
    std::vector<const google::protobuf::MethodDescriptor*> methods;
    for (const char* name : kServices) {
      const auto* service = google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(name);
      EXPECT_NE(service, nullptr) << name;
      for (int i = 0; service != nullptr && i < service->method_count(); ++i) methods.push_back(service->method(i));
    }
    return methods;
  }
  std::unique_ptr<google::protobuf::Message> NewRequest(const google::protobuf::MethodDescriptor& method) {
    auto* factory = google::protobuf::MessageFactory::generated_factory();
    return std::unique_ptr<google::protobuf::Message>(factory->GetPrototype(method.input_type())->New());
  }

  std::string folder_;
  std::shared_ptr<grpc::Channel> channel_;
};

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
