// SPDX-License-Identifier: Apache-2.0
//
// Streams against a server that breaks the protocol, or the connection: every callback is called exactly once, and the
// stream ends with an error that says why.
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client/client.h"
#include "client/error.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"

namespace lstmd::client {
namespace {

using testing::HasSubstr;
using ServerStream = grpc::ServerReaderWriter<v1::StreamStepsResponse, v1::StreamStepsRequest>;

// Binds whatever is bound; answers steps as the script says.
class ScriptedService final : public v1::InferenceService::Service {
 public:
  // What is done about the steps of a frame; a status ends the stream.
  using Script = std::function<std::optional<grpc::Status>(const v1::StepBlock&, ServerStream*)>;
  Script script;

  grpc::Status StreamSteps(grpc::ServerContext*, ServerStream* stream) override {
    v1::StreamStepsRequest request;
    while (stream->Read(&request)) {
      v1::StreamStepsResponse response;
      for (const v1::Bind& bind : request.binds()) {
        v1::Bound* bound = response.add_bound();
        bound->set_handle(bind.handle());
        bound->mutable_session()->set_name(bind.session());
        bound->set_input_size(1);
        bound->set_output_size(1);
      }
      if (response.bound_size() > 0) stream->Write(response);
      for (const v1::StepBlock& block : request.steps()) {
        if (std::optional<grpc::Status> end = script(block, stream)) return *end;
      }
    }
    return grpc::Status::OK;
  }
};

// A right answer to all of `block`.
v1::StreamStepsResponse Answer(const v1::StepBlock& block) {
  v1::StreamStepsResponse response;
  v1::ResultBlock* result = response.add_results();
  for (const uint32_t handle : block.handles()) {
    result->add_ids(block.id());
    result->add_handles(handle);
  }
  const std::vector<float> values(static_cast<size_t>(block.handles_size()), 1.0f);
  const int64_t shape[] = {block.handles_size(), 1};
  ToTensor(values, shape, result->mutable_output());
  return response;
}

class StreamProtocolTest : public testing::Test {
 protected:
  void SetUp() override {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    client_ = std::make_unique<Client>(
        grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials()), ClientOptions());
  }
  void TearDown() override {
    client_.reset();
    server_->Shutdown();
  }

  struct Outcome {
    std::map<uint32_t, std::vector<absl::Status>> by_index;  // of each callback
    absl::Status finish;
  };
  // Three handles, one of them twice, in one Send.
  Outcome StepFour() {
    Outcome outcome;
    std::unique_ptr<Stream> stream = client_->OpenStream();
    absl::StatusOr<std::vector<Binding>> bindings =
        stream->BindAll({"models/m/sessions/a", "models/m/sessions/b", "models/m/sessions/c"});
    EXPECT_TRUE(bindings.ok()) << bindings.status();
    if (!bindings.ok()) return outcome;
    const uint32_t handles[] = {(*bindings)[0].handle, (*bindings)[1].handle, (*bindings)[0].handle,
                                (*bindings)[2].handle};
    const float input[] = {1, 2, 3, 4};
    Steps steps;
    steps.handles = handles;
    steps.input = input;
    const absl::Status sent = stream->Send(steps, [&](const StepResult& result) {
      EXPECT_EQ(result.handle, handles[result.index]);
      outcome.by_index[result.index].push_back(result.status);
    });
    EXPECT_TRUE(sent.ok()) << sent;
    outcome.finish = stream->Finish();
    EXPECT_EQ(outcome.by_index.size(), 4u);
    for (const auto& [index, statuses] : outcome.by_index) EXPECT_EQ(statuses.size(), 1u) << index;
    return outcome;
  }

  ScriptedService service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Client> client_;
};

TEST_F(StreamProtocolTest, AnswersAreHandedOut) {
  service_.script = [](const v1::StepBlock& block, ServerStream* stream) {
    stream->Write(Answer(block));
    return std::optional<grpc::Status>();
  };
  const Outcome outcome = StepFour();
  EXPECT_TRUE(outcome.finish.ok()) << outcome.finish;
  for (const auto& [index, statuses] : outcome.by_index) EXPECT_TRUE(statuses[0].ok()) << statuses[0];
}

TEST_F(StreamProtocolTest, AnswersInPiecesAndOtherOrder) {
  service_.script = [](const v1::StepBlock& block, ServerStream* stream) {
    const v1::StreamStepsResponse whole = Answer(block);
    for (const int k : {3, 1, 0, 2}) {
      v1::StepBlock one;
      one.set_id(block.id());
      one.add_handles(block.handles(k));
      stream->Write(Answer(one));
    }
    return std::optional<grpc::Status>();
  };
  const Outcome outcome = StepFour();
  EXPECT_TRUE(outcome.finish.ok()) << outcome.finish;
  for (const auto& [index, statuses] : outcome.by_index) EXPECT_TRUE(statuses[0].ok()) << statuses[0];
}

// What a server must not send, each as a change of a right answer.
TEST_F(StreamProtocolTest, WrongAnswersBreakTheStream) {
  const struct {
    const char* what;
    std::function<void(v1::StreamStepsResponse*)> spoil;
    const char* message;
  } cases[] = {
      {"unknown id", [](v1::StreamStepsResponse* r) { r->mutable_results(0)->set_ids(1, 77); }, "the id 77"},
      {"no ids", [](v1::StreamStepsResponse* r) { r->mutable_results(0)->clear_ids(); }, "differ in number"},
      {"id 0", [](v1::StreamStepsResponse* r) { r->mutable_results(0)->set_ids(0, 0); }, "the id 0"},
      {"stale generation",
       [](v1::StreamStepsResponse* r) {
         r->mutable_results(0)->set_ids(0, r->results(0).ids(0) + (uint64_t{1} << 32));
       },
       "no steps in flight"},
      {"handle that has none", [](v1::StreamStepsResponse* r) { r->mutable_results(0)->set_handles(0, 900); },
       "handle 900 is not open"},
      {"twice", [](v1::StreamStepsResponse* r) { *r->add_results() = r->results(0); }, "is not open"},
      {"output too short",
       [](v1::StreamStepsResponse* r) {
         const int64_t shape[] = {3, 1};
         ToTensor({1, 2, 3}, shape, r->mutable_results(0)->mutable_output());
       },
       "differ in length"},
      {"bytes that do not fit the shape",
       [](v1::StreamStepsResponse* r) { r->mutable_results(0)->mutable_output()->mutable_data()->pop_back(); },
       "15 bytes"},
      {"too few seqs", [](v1::StreamStepsResponse* r) { r->mutable_results(0)->add_seqs(1); }, "differ in length"},
      {"too few states", [](v1::StreamStepsResponse* r) { r->mutable_results(0)->add_states(); }, "differ in length"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    service_.script = [&c](const v1::StepBlock& block, ServerStream* stream) {
      v1::StreamStepsResponse response = Answer(block);
      c.spoil(&response);
      stream->Write(response);
      return std::optional<grpc::Status>();
    };
    const Outcome outcome = StepFour();
    EXPECT_EQ(outcome.finish.code(), absl::StatusCode::kInternal) << outcome.finish;
    EXPECT_THAT(std::string(outcome.finish.message()), HasSubstr(c.message));
    for (const auto& [index, statuses] : outcome.by_index) EXPECT_FALSE(statuses[0].ok());
  }
}

TEST_F(StreamProtocolTest, EndWithoutAnswersIsAnError) {
  service_.script = [](const v1::StepBlock&, ServerStream*) { return std::optional<grpc::Status>(grpc::Status::OK); };
  const Outcome outcome = StepFour();
  EXPECT_EQ(outcome.finish.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(outcome.finish.message()), HasSubstr("before all was answered"));
}

TEST_F(StreamProtocolTest, StatusOfTheStreamReachesEveryStep) {
  service_.script = [](const v1::StepBlock&, ServerStream*) {
    google::rpc::ErrorInfo info;
    info.set_reason("DRAINING");
    google::rpc::Status details;
    details.add_details()->PackFrom(info);
    return std::optional<grpc::Status>(
        grpc::Status(grpc::StatusCode::UNAVAILABLE, "going down", details.SerializeAsString()));
  };
  const Outcome outcome = StepFour();
  EXPECT_EQ(outcome.finish.code(), absl::StatusCode::kUnavailable);
  for (const auto& [index, statuses] : outcome.by_index) {
    EXPECT_EQ(GetDetails(statuses[0]).reason, "DRAINING");
    EXPECT_THAT(Describe(statuses[0]), HasSubstr("going down (UNAVAILABLE / DRAINING"));
  }
}

TEST_F(StreamProtocolTest, FailureWithoutAnErrorIsOne) {
  service_.script = [](const v1::StepBlock& block, ServerStream* stream) {
    v1::StreamStepsResponse response;
    for (const uint32_t handle : block.handles()) {
      v1::StepFailure* failure = response.add_failures();
      failure->set_handle(handle);
      failure->set_steps_id(block.id());
    }
    stream->Write(response);
    return std::optional<grpc::Status>();
  };
  const Outcome outcome = StepFour();
  EXPECT_TRUE(outcome.finish.ok()) << outcome.finish;
  for (const auto& [index, statuses] : outcome.by_index) {
    EXPECT_EQ(statuses[0].code(), absl::StatusCode::kInternal);
  }
}

TEST_F(StreamProtocolTest, NoServerFailsTheBind) {
  Client client(grpc::CreateChannel("127.0.0.1:1", grpc::InsecureChannelCredentials()), ClientOptions());
  std::unique_ptr<Stream> stream = client.OpenStream();
  const absl::StatusOr<Binding> binding = stream->Bind("models/m/sessions/a");
  EXPECT_EQ(binding.status().code(), absl::StatusCode::kUnavailable) << binding.status();
  EXPECT_FALSE(stream->Finish().ok());
  EXPECT_FALSE(stream->Bind("models/m/sessions/b").ok());
}

TEST(ErrorTest, DetailsSurviveTheWay) {
  google::rpc::Status proto;
  proto.set_code(static_cast<int>(absl::StatusCode::kResourceExhausted));
  proto.set_message("queue of model m is full");
  google::rpc::ErrorInfo info;
  info.set_reason("QUEUE_FULL");
  (*info.mutable_metadata())["limit"] = "8";
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_nanos(250'000'000);
  google::rpc::BadRequest bad;
  bad.add_field_violations()->set_field("items[0].input");
  google::rpc::ResourceInfo resource;
  resource.set_resource_name("models/m");
  google::rpc::QuotaFailure quota;
  quota.add_violations()->set_subject("model:m");
  proto.add_details()->PackFrom(info);
  proto.add_details()->PackFrom(retry);
  proto.add_details()->PackFrom(bad);
  proto.add_details()->PackFrom(resource);
  proto.add_details()->PackFrom(quota);

  const absl::Status status = FromProto(proto);
  const ErrorDetails details = GetDetails(status);
  EXPECT_EQ(details.reason, "QUEUE_FULL");
  EXPECT_EQ(details.metadata.at("limit"), "8");
  EXPECT_EQ(details.retry_after, absl::Milliseconds(250));
  ASSERT_EQ(details.fields.size(), 1u);
  EXPECT_EQ(details.fields[0].first, "items[0].input");
  EXPECT_EQ(details.resource, "models/m");
  EXPECT_EQ(details.quota, "model:m");
  EXPECT_EQ(Describe(status),
            "queue of model m is full (RESOURCE_EXHAUSTED / QUEUE_FULL; field items[0].input; limit 8; quota model:m; "
            "try again after 250ms)");

  EXPECT_TRUE(FromProto(google::rpc::Status()).ok());
  proto.set_code(99);
  EXPECT_EQ(FromProto(proto).code(), absl::StatusCode::kUnknown) << "a code from nowhere must not become OK";
  EXPECT_TRUE(GetDetails(absl::InternalError("of this side")).reason.empty());
}

}  // namespace
}  // namespace lstmd::client
