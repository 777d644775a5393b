// SPDX-License-Identifier: Apache-2.0
//
// The client library's unary calls against a real server.
#include "client/client.h"

#include <string>
#include <vector>

#include "client/endpoints.h"
#include "client/error.h"
#include "gmock/gmock.h"
#include "tests/integration/server_fixture.h"

namespace lstmd::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ClientTest : public ServerTest {
 protected:
  void Connect() {
    absl::StatusOr<std::unique_ptr<Client>> client = Client::Connect(address_);
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
  }
  void SetUp() override {
    StartCpu();
    Connect();
  }
  std::unique_ptr<Client> client_;
};

// T rows of I numbers that differ.
Array Series(int64_t steps, int64_t inputs) {
  Array array{{steps, inputs}, {}};
  for (int64_t i = 0; i < steps * inputs; ++i) array.values.push_back(static_cast<float>((i * 7) % 11) / 11 - 0.4f);
  return array;
}

TEST_F(ClientTest, StepsOfASessionAreTheSequence) {
  const Array input = Series(6, 3);
  const absl::StatusOr<RunResult> whole = client_->RunSequence("m", input, {});
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_THAT(whole->output.shape, ElementsAre(6, 2));
  EXPECT_EQ(whole->model_version, 1);

  absl::StatusOr<Session> session = client_->CreateSession("m");
  ASSERT_TRUE(session.ok()) << session.status();
  std::vector<float> outputs;
  for (int64_t t = 0; t < 6; ++t) {
    const absl::StatusOr<std::vector<float>> output =
        session->Step(absl::MakeConstSpan(input.values).subspan(static_cast<size_t>(3 * t), 3));
    ASSERT_TRUE(output.ok()) << output.status();
    outputs.insert(outputs.end(), output->begin(), output->end());
  }
  EXPECT_EQ(outputs, whole->output.values);

  // The same with several time steps in one call, and the state after them.
  ASSERT_TRUE(session->Reset().ok());
  StepOptions options;
  options.return_state = true;
  const absl::StatusOr<StepOutput> many = session->Step(input, options);
  ASSERT_TRUE(many.ok()) << many.status();
  EXPECT_EQ(many->output.values, whole->output.values);
  EXPECT_EQ(many->epoch, 2u) << "the reset began an epoch";
  ASSERT_TRUE(many->state.has_value());
  EXPECT_THAT(many->state->h.shape, ElementsAre(2, 5));
  EXPECT_EQ(session->GetState()->c.values, many->state->c.values);
}

TEST_F(ClientTest, StateMovesFromSessionToSession) {
  absl::StatusOr<Session> one = client_->CreateSession("m");
  ASSERT_TRUE(one.ok()) << one.status();
  ASSERT_TRUE(one->Step({1, 2, 3}).ok());
  const absl::StatusOr<State> state = one->GetState();
  ASSERT_TRUE(state.ok()) << state.status();

  CreateSessionOptions options;
  options.id = "two";
  options.initial_state = *state;
  options.labels = {{"why", "test"}};
  options.idle_ttl = absl::Milliseconds(90500);
  absl::StatusOr<Session> two = client_->CreateSession("m", options);
  ASSERT_TRUE(two.ok()) << two.status();
  EXPECT_EQ(two->name(), SessionName("m", "two"));
  absl::StatusOr<Session> three = client_->CreateSession("m");
  ASSERT_TRUE(three->SetState(*state).ok());
  absl::StatusOr<Session> four = client_->CreateSession("m");
  ASSERT_TRUE(four->Reset(*state).ok());
  const std::vector<float> want = *one->Step({0, 1, 0});
  EXPECT_EQ(*two->Step({0, 1, 0}), want);
  EXPECT_EQ(*three->Step({0, 1, 0}), want);
  EXPECT_EQ(*four->Step({0, 1, 0}), want);

  const absl::StatusOr<v1::Session> info = two->Get();
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->labels().at("why"), "test");
  EXPECT_EQ(info->idle_ttl().seconds(), 90);
  EXPECT_EQ(info->idle_ttl().nanos(), 500'000'000);
}

TEST_F(ClientTest, BatchesLengthsAndStates) {
  const Array one = Series(4, 3);
  Array batch{{2, 4, 3}, one.values};
  batch.values.insert(batch.values.end(), one.values.begin(), one.values.end());
  RunOptions options;
  options.lengths = {4, 2};
  options.output_mode = v1::OUTPUT_MODE_LAST;
  options.return_final_state = true;
  const absl::StatusOr<RunResult> result = client_->RunSequence("m", batch, options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(result->output.shape, ElementsAre(2, 2));
  ASSERT_TRUE(result->final_state.has_value());
  EXPECT_THAT(result->final_state->h.shape, ElementsAre(2, 2, 5));
  EXPECT_NE(result->output.values[0], result->output.values[2]) << "the second row ended earlier";

  options.lengths = {9, 2};
  const absl::Status status = client_->RunSequence("m", batch, options).status();
  EXPECT_EQ(GetDetails(status).reason, "SEQUENCE_LENGTH") << status;
}

TEST_F(ClientTest, SequencedStepsAreNotTakenTwice) {
  absl::StatusOr<Session> session = client_->CreateSession("m");
  ASSERT_TRUE(session.ok()) << session.status();
  const Array input{{3}, {1, 2, 3}};
  StepOptions options;
  options.seq = 1;
  const absl::StatusOr<StepOutput> first = session->Step(input, options);
  const absl::StatusOr<StepOutput> again = session->Step(input, options);
  ASSERT_TRUE(first.ok() && again.ok()) << first.status() << again.status();
  EXPECT_FALSE(first->replayed);
  EXPECT_TRUE(again->replayed);
  EXPECT_EQ(again->output.values, first->output.values);
  EXPECT_EQ(session->Get()->steps(), 1u);
  options.seq = 5;
  EXPECT_EQ(GetDetails(session->Step(input, options).status()).metadata["expected_seq"], "2");
}

TEST_F(ClientTest, ModelsSessionsAndPages) {
  const absl::StatusOr<std::vector<v1::Model>> models = client_->ListModels();
  ASSERT_TRUE(models.ok()) << models.status();
  ASSERT_EQ(models->size(), 3u);
  EXPECT_EQ((*models)[0].name(), "models/bi");
  EXPECT_EQ(client_->GetModel("wide")->spec().input_size(), 4u);
  EXPECT_EQ(client_->GetModel("models/wide", 1)->output_size(), 8u);

  for (int i = 0; i < 12; ++i) {
    CreateSessionOptions options;
    options.id = "s" + std::to_string(i);
    ASSERT_TRUE(client_->CreateSession(i % 2 == 0 ? "m" : "wide", options).ok());
  }
  EXPECT_EQ(client_->ListSessions()->size(), 12u);
  EXPECT_EQ(client_->ListSessions("m")->size(), 6u);
  EXPECT_EQ(client_->ListSessions("-", 5)->size(), 5u);
  EXPECT_EQ(client_->GetServerInfo()->sessions(), 12u);

  EXPECT_EQ(GetDetails(client_->UnloadModel("wide")).reason, "MODEL_IN_USE");
  EXPECT_TRUE(client_->UnloadModel("wide", 0, /*force=*/true).ok());
  EXPECT_EQ(client_->ListSessions()->size(), 6u);
}

TEST_F(ClientTest, ErrorsCarryTheServersDetails) {
  const absl::Status missing = client_->OpenSession(SessionName("m", "nobody")).Step({1, 2, 3}).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(GetDetails(missing).reason, "SESSION_NOT_FOUND");
  EXPECT_EQ(GetDetails(missing).resource, SessionName("m", "nobody"));

  absl::StatusOr<Session> session = client_->CreateSession("m");
  ASSERT_TRUE(session.ok()) << session.status();
  const absl::Status shape = session->Step({1, 2}).status();
  EXPECT_EQ(shape.code(), absl::StatusCode::kInvalidArgument);
  ASSERT_EQ(GetDetails(shape).fields.size(), 1u);
  EXPECT_THAT(GetDetails(shape).fields[0].first, HasSubstr("input"));
  EXPECT_THAT(Describe(shape), HasSubstr("INVALID_ARGUMENT / TENSOR_SHAPE"));
  EXPECT_EQ(session->Get()->steps(), 0u) << "a step that failed leaves the session as it was";

  EXPECT_EQ(GetDetails(client_->CreateSession("bi").status()).reason, "NOT_STEPPABLE");
  EXPECT_EQ(GetDetails(client_->LoadModel("none").status()).reason, "MODEL_NOT_FOUND");
  ASSERT_TRUE(session->Delete().ok());
  EXPECT_EQ(GetDetails(session->Delete()).reason, "SESSION_NOT_FOUND");
  EXPECT_TRUE(session->Delete(/*allow_missing=*/true).ok());
}

TEST_F(ClientTest, LargeMessagesPass) {
  // 12 MB either way: above gRPC's own limit of 4 MiB.
  const absl::StatusOr<RunResult> result = client_->RunSequence("wide", Series(750'000, 4), {});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(result->output.shape, ElementsAre(750'000, 8));
}

TEST_F(ClientTest, AConnectionIsThereOrWasTried) {
  const auto patience = std::chrono::system_clock::now() + std::chrono::minutes(1);
  const auto good = grpc::CreateChannel(address_, grpc::InsecureChannelCredentials());
  TryToConnect(good.get(), patience);
  EXPECT_EQ(good->GetState(false), GRPC_CHANNEL_READY);
  const auto refused = grpc::CreateChannel("127.0.0.1:1", grpc::InsecureChannelCredentials());
  TryToConnect(refused.get(), patience);
  EXPECT_EQ(refused->GetState(false), GRPC_CHANNEL_TRANSIENT_FAILURE);
  const auto late = grpc::CreateChannel(address_, grpc::InsecureChannelCredentials());
  TryToConnect(late.get(), std::chrono::system_clock::now());
  EXPECT_NE(late->GetState(false), GRPC_CHANNEL_TRANSIENT_FAILURE);
}

TEST_F(ClientTest, UnreachableServersAreNamed) {
  const absl::Status status = Client::Connect("127.0.0.1:1").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("cannot reach an lstmd server at 127.0.0.1:1"));

  ClientOptions patient;
  patient.wait_for_server = true;
  patient.connect_timeout = absl::Milliseconds(50);
  EXPECT_FALSE(Client::Connect("127.0.0.1:1", patient).ok());

  server_.reset();
  EXPECT_EQ(client_->GetServerInfo().status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(ClientTest, TimeoutsEnd) {
  ClientOptions options;
  options.timeout = -absl::Seconds(1);  // over before it begins
  absl::StatusOr<std::unique_ptr<Client>> hurried = Client::Connect(address_, options);
  ASSERT_TRUE(hurried.ok()) << hurried.status();
  EXPECT_EQ((*hurried)->ListModels().status().code(), absl::StatusCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace lstmd::client
