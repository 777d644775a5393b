// SPDX-License-Identifier: Apache-2.0
//
// Streams of the client library against a real server.
#include "client/stream.h"

#include <atomic>
#include <future>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "client/client.h"
#include "client/error.h"
#include "gmock/gmock.h"
#include "tests/integration/server_fixture.h"

namespace lstmd::client {
namespace {

using testing::ElementsAre;

BindOptions MakeIfMissing() {
  BindOptions options;
  options.create_if_missing = true;
  return options;
}

class StreamTest : public ServerTest {
 protected:
  void Connect() {
    absl::StatusOr<std::unique_ptr<Client>> client = Client::Connect(address_);
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
  }
  // `count` sessions of m on a stream.
  std::vector<uint32_t> BindMany(Stream* stream, int count) {
    std::vector<std::string> names;
    for (int i = 0; i < count; ++i) names.push_back(SessionName("m", "s" + std::to_string(i)));
    absl::StatusOr<std::vector<Binding>> bindings = stream->BindAll(names, MakeIfMissing());
    EXPECT_TRUE(bindings.ok()) << bindings.status();
    std::vector<uint32_t> handles;
    for (const Binding& binding : *bindings) {
      EXPECT_EQ(binding.input_size, 3u);
      EXPECT_EQ(binding.output_size, 2u);
      EXPECT_EQ(binding.session.name(), names[handles.size()]);
      handles.push_back(binding.handle);
    }
    return handles;
  }
  std::unique_ptr<Client> client_;
};

// What session `s` reads at time t.
std::vector<float> Input(size_t s, size_t t) {
  return {static_cast<float>(s) / 7 - 1, static_cast<float>(t) / 3, static_cast<float>((s * 31 + t * 17) % 13) / 13};
}

TEST_F(StreamTest, FramesOfManyHandlesAreUnarySteps) {
  StartCpu();
  Connect();
  constexpr size_t kSessions = 20;
  constexpr size_t kTimes = 5;
  for (const bool coalesce : {true, false}) {
    StreamOptions options;
    options.coalesce = coalesce;
    std::unique_ptr<Stream> stream = client_->OpenStream(options);
    const std::vector<uint32_t> handles = BindMany(stream.get(), kSessions);
    std::vector<std::vector<float>> outputs(kSessions);
    for (size_t t = 0; t < kTimes; ++t) {
      std::vector<float> input;
      for (size_t s = 0; s < kSessions; ++s) {
        for (const float value : Input(s, t)) input.push_back(value);
      }
      Steps steps;
      steps.handles = handles;
      steps.input = input;
      const absl::Status sent = stream->Send(steps, [&](const StepResult& result) {
        EXPECT_TRUE(result.status.ok()) << result.status;
        EXPECT_EQ(result.handle, handles[result.index]);
        EXPECT_GT(result.timing->batch_size(), 0u);
        outputs[result.index].insert(outputs[result.index].end(), result.output.begin(), result.output.end());
      });
      ASSERT_TRUE(sent.ok()) << sent;
    }
    for (const uint32_t handle : handles) ASSERT_TRUE(stream->Unbind(handle, /*delete_session=*/true).ok());
    ASSERT_TRUE(stream->Finish().ok());
    EXPECT_THAT(*client_->ListSessions(), testing::IsEmpty());

    for (size_t s = 0; s < kSessions; ++s) {
      absl::StatusOr<Session> session = client_->CreateSession("m");
      std::vector<float> want;
      for (size_t t = 0; t < kTimes; ++t) {
        const absl::StatusOr<std::vector<float>> output = session->Step(Input(s, t));
        ASSERT_TRUE(output.ok()) << output.status();
        want.insert(want.end(), output->begin(), output->end());
      }
      EXPECT_EQ(outputs[s], want) << "session " << s;
      ASSERT_TRUE(session->Delete().ok());
    }
  }
}

TEST_F(StreamTest, OneHandleSeveralTimesRunsInOrder) {
  StartCpu();
  Connect();
  std::unique_ptr<Stream> stream = client_->OpenStream();
  const std::vector<uint32_t> handles = BindMany(stream.get(), 2);
  const uint32_t order[] = {handles[0], handles[1], handles[0], handles[0]};
  std::vector<float> input;
  for (size_t k = 0; k < 4; ++k) {
    for (const float value : Input(k, k)) input.push_back(value);
  }
  Steps steps;
  steps.handles = order;
  steps.input = input;
  std::map<uint32_t, std::vector<float>> outputs;
  ASSERT_TRUE(stream
                  ->Send(steps,
                         [&](const StepResult& result) {
                           outputs[result.index].assign(result.output.begin(), result.output.end());
                         })
                  .ok());
  ASSERT_TRUE(stream->Finish().ok());
  absl::StatusOr<Session> session = client_->CreateSession("m");
  for (const uint32_t k : {0u, 2u, 3u}) EXPECT_EQ(outputs[k], *session->Step(Input(k, k))) << k;
}

TEST_F(StreamTest, SeveralTimeStepsStatesAndReplays) {
  StartCpu();
  Connect();
  std::unique_ptr<Stream> stream = client_->OpenStream();
  const std::vector<uint32_t> handles = BindMany(stream.get(), 1);
  const std::vector<float> input = {1, 2, 3, 4, 5, 6};
  const uint64_t seqs[] = {1};
  Steps steps;
  steps.handles = handles;
  steps.input = input;
  steps.time_steps = 2;
  steps.seqs = seqs;
  steps.return_state = true;
  std::vector<std::vector<float>> outputs;
  std::vector<bool> replayed;
  std::vector<float> state;
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(stream
                    ->Send(steps,
                           [&](const StepResult& result) {
                             ASSERT_TRUE(result.status.ok()) << result.status;
                             outputs.emplace_back(result.output.begin(), result.output.end());
                             replayed.push_back(result.replayed);
                             EXPECT_EQ(result.seq, 1u);
                             if (result.state != nullptr) state = FromProto(*result.state)->c.values;
                           })
                    .ok());
  }
  ASSERT_TRUE(stream->Finish().ok());
  ASSERT_EQ(outputs.size(), 2u);
  EXPECT_EQ(outputs[0].size(), 4u) << "[T, O]";
  EXPECT_EQ(outputs[0], outputs[1]);
  EXPECT_THAT(replayed, ElementsAre(false, true));
  EXPECT_EQ(client_->OpenSession(SessionName("m", "s0")).GetState()->c.values, state);
}

TEST_F(StreamTest, ErrorsAreItemsAndTheStreamGoesOn) {
  StartCpu();
  Connect();
  std::unique_ptr<Stream> stream = client_->OpenStream();
  const absl::Status missing = stream->Bind(SessionName("m", "nobody")).status();
  EXPECT_EQ(GetDetails(missing).reason, "SESSION_NOT_FOUND") << missing;
  EXPECT_EQ(GetDetails(stream->Bind("nonsense").status()).reason.empty(), false);

  absl::StatusOr<Binding> m = stream->Bind(SessionName("m", "a"), MakeIfMissing());
  absl::StatusOr<Binding> wide = stream->Bind(SessionName("wide", "b"), MakeIfMissing());
  ASSERT_TRUE(m.ok() && wide.ok()) << m.status() << wide.status();
  EXPECT_EQ(GetDetails(stream->Step(m->handle, {1, 2}).status()).reason, "TENSOR_SHAPE");
  EXPECT_EQ(stream->Step(m->handle, {1, 2, 3})->size(), 2u);

  // Three numbers are right for one model, not for the other.
  const uint32_t handles[] = {m->handle, wide->handle};
  const float input[] = {1, 2, 3, 1, 2, 3};
  Steps steps;
  steps.handles = handles;
  steps.input = input;
  std::map<uint32_t, absl::Status> results;
  ASSERT_TRUE(stream->Send(steps, [&](const StepResult& result) { results[result.index] = result.status; }).ok());
  EXPECT_EQ(stream->Step(wide->handle, {1, 2, 3, 4})->size(), 8u);

  ASSERT_TRUE(stream->Unbind(wide->handle).ok());
  EXPECT_EQ(stream->Unbind(wide->handle).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GetDetails(stream->Step(wide->handle, {1, 2, 3, 4}).status()).reason, "HANDLE_UNBOUND");

  steps.input = absl::MakeConstSpan(input).subspan(1);
  const StepCallback never = [](const StepResult&) { ADD_FAILURE() << "called for a Send that failed"; };
  EXPECT_EQ(stream->Send(steps, never).code(), absl::StatusCode::kInvalidArgument);
  steps.handles = {};
  EXPECT_EQ(stream->Send(steps, never).code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(stream->Finish().ok());
  EXPECT_EQ(stream->Send(steps, never).ok(), false);
  EXPECT_TRUE(results[0].ok()) << results[0];
  EXPECT_EQ(GetDetails(results[1]).reason, "TENSOR_SHAPE") << results[1];
}

TEST_F(StreamTest, InFlightIsBounded) {
  StartFake();
  Connect();
  StreamOptions options;
  options.max_in_flight = 2;
  std::unique_ptr<Stream> stream = client_->OpenStream(options);
  const std::vector<uint32_t> handles = BindMany(stream.get(), 3);
  control_->Block();
  const float input[] = {1, 2, 3, 1, 2, 3};
  Steps two;
  two.handles = absl::MakeConstSpan(handles).subspan(0, 2);
  two.input = input;
  Steps one;
  one.handles = absl::MakeConstSpan(handles).subspan(2, 1);
  one.input = absl::MakeConstSpan(input, 3);
  std::atomic<int> answered = 0;
  const StepCallback count = [&](const StepResult& result) {
    EXPECT_TRUE(result.status.ok()) << result.status;
    ++answered;
  };
  ASSERT_TRUE(stream->TrySend(two, count).ok());
  EXPECT_EQ(stream->TrySend(one, count).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(answered, 0);
  std::thread waiting([&] { EXPECT_TRUE(stream->Send(one, count).ok()) << "waits until there is room"; });
  control_->WaitUntilBlocked();
  control_->Unblock();
  waiting.join();
  ASSERT_TRUE(stream->Finish().ok());
  EXPECT_EQ(answered, 3);
}

TEST_F(StreamTest, CallbacksMaySendButNotWait) {
  StartCpu();
  Connect();
  std::unique_ptr<Stream> stream = client_->OpenStream();
  const std::vector<uint32_t> handles = BindMany(stream.get(), 1);
  const float input[] = {1, 2, 3};
  Steps steps;
  steps.handles = handles;
  steps.input = input;
  int left = 300;
  std::promise<void> last;
  StepCallback next = [&](const StepResult& result) {
    EXPECT_TRUE(result.status.ok()) << result.status;
    EXPECT_EQ(stream->Step(handles[0], input).status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(stream->Finish().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(stream->Bind("models/m/sessions/x").status().code(), absl::StatusCode::kFailedPrecondition);
    if (--left == 0) return last.set_value();
    EXPECT_TRUE(stream->TrySend(steps, next).ok());
  };
  ASSERT_TRUE(stream->Send(steps, next).ok());
  last.get_future().wait();
  ASSERT_TRUE(stream->Finish().ok());
  EXPECT_EQ(client_->OpenSession(SessionName("m", "s0")).Get()->steps(), 300u);
}

TEST_F(StreamTest, ThreadsShareAStream) {
  StartCpu();
  Connect();
  StreamOptions options;
  options.max_in_flight = 16;
  std::unique_ptr<Stream> stream = client_->OpenStream(options);
  const std::vector<uint32_t> handles = BindMany(stream.get(), 8);
  std::atomic<int> answered = 0;
  std::vector<std::thread> threads;
  for (size_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (size_t t = 0; t < 100; ++t) {
        const std::vector<float> input = Input(thread, t);
        Steps steps;
        steps.handles = absl::MakeConstSpan(handles).subspan(2 * thread + t % 2, 1);
        steps.input = input;
        const absl::Status sent = stream->Send(steps, [&](const StepResult& result) {
          EXPECT_TRUE(result.status.ok()) << result.status;
          ++answered;
        });
        EXPECT_TRUE(sent.ok()) << sent;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(stream->Finish().ok());
  EXPECT_EQ(answered, 400);
}

TEST_F(StreamTest, CancelFailsWhatIsInFlight) {
  StartFake();
  Connect();
  std::unique_ptr<Stream> stream = client_->OpenStream();
  const std::vector<uint32_t> handles = BindMany(stream.get(), 1);
  control_->Block();
  const float input[] = {1, 2, 3};
  std::future<absl::StatusOr<std::vector<float>>> step = stream->StepAsync(handles[0], input);
  control_->WaitUntilBlocked();
  stream->Cancel();
  EXPECT_EQ(step.get().status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(stream->Finish().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(stream->Step(handles[0], input).status().code(), absl::StatusCode::kCancelled);
  control_->Unblock();
}

TEST_F(StreamTest, DestroyedWithStepsInFlight) {
  StartFake();
  Connect();
  std::unique_ptr<Stream> stream = client_->OpenStream();
  const std::vector<uint32_t> handles = BindMany(stream.get(), 1);
  control_->Block();
  const float input[] = {1, 2, 3};
  std::future<absl::StatusOr<std::vector<float>>> step = stream->StepAsync(handles[0], input);
  stream.reset();
  EXPECT_EQ(step.get().status().code(), absl::StatusCode::kCancelled);
  control_->Unblock();
}

TEST_F(StreamTest, ServerThatEndsIsAnnounced) {
  StartCpu();
  Connect();
  std::promise<void> announced;
  StreamOptions options;
  options.on_go_away = [&](const v1::GoAway&) { announced.set_value(); };
  std::unique_ptr<Stream> stream = client_->OpenStream(options);
  const std::vector<uint32_t> handles = BindMany(stream.get(), 1);
  std::thread drain([&] { EXPECT_TRUE(server_->Drain(absl::Now() + absl::Seconds(30))); });
  announced.get_future().wait();
  EXPECT_TRUE(stream->Finish().ok()) << "a client that goes when told loses nothing";
  drain.join();
  server_.reset();
  const float input[] = {1, 2, 3};
  EXPECT_FALSE(stream->Step(handles[0], input).ok());
}

TEST_F(StreamTest, ServerThatIsGoneFailsTheStream) {
  StartCpu();
  Connect();
  std::unique_ptr<Stream> stream = client_->OpenStream();
  const std::vector<uint32_t> handles = BindMany(stream.get(), 1);
  server_.reset();
  const float input[] = {1, 2, 3};
  const absl::Status status = stream->Step(handles[0], input).status();
  EXPECT_FALSE(status.ok());
  EXPECT_FALSE(stream->Finish().ok());
}

TEST_F(StreamTest, DeletionIsAnEvent) {
  StartCpu();
  Connect();
  std::promise<v1::SessionEvent> heard;
  StreamOptions options;
  options.on_event = [&](const v1::SessionEvent& event) { heard.set_value(event); };
  std::unique_ptr<Stream> stream = client_->OpenStream(options);
  const std::vector<uint32_t> handles = BindMany(stream.get(), 1);
  ASSERT_TRUE(stream->Unbind(handles[0], /*delete_session=*/true).ok());
  const v1::SessionEvent event = heard.get_future().get();
  EXPECT_EQ(event.session(), SessionName("m", "s0"));
  EXPECT_EQ(event.kind(), v1::SessionEvent::DELETED);
}

}  // namespace
}  // namespace lstmd::client
