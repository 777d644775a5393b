// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_TESTS_INTEGRATION_ACCESS_FIXTURE_H_
#define LSTMD_TESTS_INTEGRATION_ACCESS_FIXTURE_H_

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "google/protobuf/dynamic_message.h"
#include "grpcpp/generic/generic_stub.h"
#include "inference/grpc_service.grpc.pb.h"
#include "lstmd/v1/admin_service.pb.h"
#include "server/credentials_file.h"
#include "tests/integration/server_fixture.h"

namespace lstmd {

inline constexpr char kAlpha[] = "lstmd_alpha";
inline constexpr char kBeta[] = "lstmd_beta";
inline constexpr char kOps[] = "lstmd_ops";

inline const char* const kServices[] = {"lstmd.v1.InferenceService", "lstmd.v1.SessionService", "lstmd.v1.ModelService",
                                        "lstmd.v1.AdminService", "inference.GRPCInferenceService"};

inline std::string Line(const std::string& tenant, const std::string& role, const std::string& token) {
  const server::Sha256 hash = server::HashOf(token);
  const absl::string_view bytes(reinterpret_cast<const char*>(hash.data()), hash.size());
  return tenant + " " + role + " sha256:" + absl::BytesToHexString(bytes) + "\n";
}

// Two tenants and an admin, on a server whose files a test can change.
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

}  // namespace lstmd

#endif  // LSTMD_TESTS_INTEGRATION_ACCESS_FIXTURE_H_
