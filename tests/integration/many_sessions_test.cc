// SPDX-License-Identifier: Apache-2.0
//
// 200 sessions on 8 streams at once, in frames of random handles with random pauses, give bit for bit what each gives
// alone, one step a call.
#include <atomic>
#include <random>
#include <thread>

#include "tests/integration/stream_client.h"
#include "tests/support/models.h"

namespace lstmd {
namespace {

constexpr uint32_t kStreams = 8;
constexpr uint32_t kHandles = 25;
constexpr int64_t kSteps = 24;
constexpr int64_t kInput = 3;

std::vector<float> InputOf(uint32_t stream, uint32_t handle) {
  return test::SeededFloats(1000 * stream + handle, kSteps * kInput, 2.0f);
}

// Drives one stream until all its sessions have made all their steps.
void Drive(StreamClient* client, uint32_t stream, uint64_t seed) {
  std::mt19937_64 random(seed + stream);
  std::vector<std::string> names;
  for (uint32_t handle = 0; handle < kHandles; ++handle) {
    names.push_back(SessionName("m", "s" + std::to_string(stream) + "-" + std::to_string(handle)));
  }
  ASSERT_TRUE(client->Write(BindFrame(names)));
  std::vector<int64_t> done(kHandles);
  std::thread reader([client] {
    while (client->ReadFrame()) {
    }
  });
  int64_t left = kHandles * kSteps;
  while (left > 0) {
    v1::StreamStepsRequest frame;
    for (uint64_t blocks = 1 + random() % 2; blocks > 0; --blocks) {
      // Steps of the block, one or several at once, for a random choice of sessions.
      const auto steps = static_cast<int64_t>(random() % 4 == 0 ? 1 + random() % 3 : 1);
      std::vector<uint32_t> handles;
      std::vector<float> values;
      for (uint32_t handle = 0; handle < kHandles; ++handle) {
        if (random() % 3 != 0 || done[handle] + steps > kSteps) continue;
        const std::vector<float> input = InputOf(stream, handle);
        handles.push_back(handle);
        values.insert(values.end(), input.begin() + done[handle] * kInput,
                      input.begin() + (done[handle] + steps) * kInput);
        done[handle] += steps;
        left -= steps;
      }
      if (handles.empty()) continue;
      const auto count = static_cast<int64_t>(handles.size());
      *frame.add_steps() = StepFrame(1, handles, MakeTensor({count, steps, kInput}, values)).steps(0);
    }
    if (frame.steps_size() > 0 && !client->Write(frame)) break;
    // A pause, so that the streams meet in ever other ways.
    for (uint64_t turns = random() % 50; turns > 0; --turns) std::this_thread::yield();
  }
  client->WritesDone();
  reader.join();
  EXPECT_EQ(left, 0);
}

TEST_F(ServerTest, ManySessionsAtOnceGiveWhatEachGivesAlone) {
  const uint64_t seed = std::random_device()();
  RecordProperty("seed", std::to_string(seed));
  SCOPED_TRACE("seed " + std::to_string(seed));
  StartCpu();
  std::vector<std::unique_ptr<v1::InferenceService::Stub>> stubs;
  std::vector<std::unique_ptr<StreamClient>> clients;
  std::vector<std::thread> threads;
  for (uint32_t stream = 0; stream < kStreams; ++stream) {
    stubs.push_back(v1::InferenceService::NewStub(NewChannel()));
    clients.push_back(std::make_unique<StreamClient>(stubs.back().get()));
  }
  for (uint32_t stream = 0; stream < kStreams; ++stream) {
    threads.emplace_back(Drive, clients[stream].get(), stream, seed);
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(server_->engine().Stats().batched_rows, server_->engine().Stats().batches) << "nothing was batched";

  for (uint32_t stream = 0; stream < kStreams; ++stream) {
    EXPECT_TRUE(clients[stream]->Finish().ok());
    EXPECT_TRUE(clients[stream]->failures.empty());
    for (uint32_t handle = 0; handle < kHandles; ++handle) {
      std::vector<float> got;
      for (const StreamResult& result : clients[stream]->results[handle]) {
        got.insert(got.end(), result.output.begin(), result.output.end());
      }
      const std::string alone = Create("m", "").name();
      const std::vector<float> input = InputOf(stream, handle);
      std::vector<float> want;
      for (int64_t t = 0; t < kSteps; ++t) {
        const auto begin = input.begin() + t * kInput;
        for (const float value : Step(alone, {begin, begin + kInput})) want.push_back(value);
      }
      ASSERT_EQ(got, want) << "stream " << stream << ", handle " << handle;
    }
  }
}

}  // namespace
}  // namespace lstmd
