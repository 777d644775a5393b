// SPDX-License-Identifier: Apache-2.0
//
// What the engine promises with a batch-invariant backend: a session's outputs and state are bit-identical whatever
// runs beside it and however its steps are cut, as if it were alone. With the CPU backend and real numbers, in every
// instruction set of this machine and each precision.
#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/cpu/cpu_backend.h"
#include "tests/engine/fixture.h"
#include "tests/support/models.h"

namespace lstmd {
namespace {

constexpr int kSessions = 200;
constexpr int kStreams = 8;
constexpr uint32_t kSteps = 40;      // of each session
constexpr uint32_t kMostSteps = 30;  // in one message: above slice_units

struct Mode {
  std::string instruction_set;
  Precision precision;
};

std::vector<Mode> Modes() {
  std::vector<Mode> modes;
  for (const std::string& instruction_set : CpuInstructionSets()) {
    for (Precision precision : {Precision::kF32, Precision::kBf16Weights, Precision::kInt8Weights, Precision::kBf16}) {
      modes.push_back({instruction_set, precision});
    }
  }
  return modes;
}

class BatchInvarianceTest : public testing::TestWithParam<Mode> {};

INSTANTIATE_TEST_SUITE_P(Cpu, BatchInvarianceTest, testing::ValuesIn(Modes()), [](const auto& info) {
  return absl::StrCat(info.param.instruction_set, "_", absl::string_view(Name(info.param.precision).data()));
});

ModelSpec StackedSpec(Precision precision) {
  ModelSpec spec;
  spec.precision = precision;
  spec.input_size = 7;
  spec.hidden_size = 24;
  spec.num_layers = 2;
  spec.head = Head{5, true, {Function::kTanh}};
  return spec;
}

std::unique_ptr<Engine> CpuEngine(const ModelSpec& spec, const std::string& instruction_set, uint32_t max_batch_size,
                                  uint32_t slice_units) {
  CpuOptions cpu;
  cpu.threads = 2;
  cpu.instruction_set = instruction_set;
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(*CreateCpuBackend(cpu));
  EXPECT_TRUE(backends[0]->batch_invariant());
  EngineOptions options;
  options.scheduler.max_batch_size = max_batch_size;
  options.scheduler.slice_units = slice_units;
  auto engine = Engine::Create(options, std::move(backends));
  EXPECT_TRUE(engine.ok()) << engine.status();
  EXPECT_TRUE((*engine)->AddModel("m", 1, spec, test::SeededWeights(spec, 5)).ok());
  return *std::move(engine);
}

std::vector<float> InputOf(const ModelSpec& spec, int session) {
  return test::SeededFloats(1000 + static_cast<uint64_t>(session), size_t{kSteps} * spec.input_size, 1.0f);
}

// Vectors compare by value; this tells 0 from -0.
bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// One session's stream; messages are cut where they are submitted.
struct Stream {
  std::shared_ptr<Session> session;
  std::vector<float> input, output;
  uint32_t sent = 0;
  std::vector<std::unique_ptr<Work>> works;
};

Work* NextMessage(const ModelSpec& spec, Stream& stream, uint32_t steps, WorkSink* sink) {
  Work& work = *stream.works.emplace_back(std::make_unique<Work>());
  work.session = stream.session;
  work.steps = std::min(steps, kSteps - stream.sent);
  work.input = &stream.input[size_t{stream.sent} * spec.input_size];
  work.output = &stream.output[size_t{stream.sent} * spec.output_size()];
  work.seq = stream.works.size();
  work.sink = sink;
  stream.sent += work.steps;
  return &work;
}

Stream Open(Engine& engine, const ModelSpec& spec, int session) {
  Stream stream;
  stream.session = *engine.FindSession("m", absl::StrCat("s", session), true);
  stream.input = InputOf(spec, session);
  stream.output.resize(size_t{kSteps} * spec.output_size());
  return stream;
}

// Frames of random sessions with random numbers of steps, several in flight of a session, with pauses.
void Drive(Engine& engine, const ModelSpec& spec, std::vector<Stream*> streams, uint32_t seed) {
  std::mt19937 random(seed);
  Recorder sink;
  size_t sent = 0;
  while (!streams.empty()) {
    std::vector<Work*> frame;
    const size_t size = 1 + random() % 16;
    for (size_t k = 0; k < size && !streams.empty(); ++k) {
      const size_t which = random() % streams.size();
      const uint32_t steps = random() % 8 == 0 ? 1 + random() % kMostSteps : 1;
      frame.push_back(NextMessage(spec, *streams[which], steps, &sink));
      if (streams[which]->sent == kSteps) streams.erase(streams.begin() + static_cast<int>(which));
    }
    sent += frame.size();
    engine.SubmitAll(frame);
    if (random() % 3 == 0) sink.WaitForEnds(sent - std::min(sent, size_t{random() % 20}));
    for (uint32_t pause = random() % 200; pause > 0; --pause) std::this_thread::yield();
  }
  sink.WaitForEnds(sent);
  EXPECT_EQ(sink.failures(), 0u);
}

TEST_P(BatchInvarianceTest, ManySessionsAtOnceAreBitIdenticalToOneAtATime) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  const ModelSpec spec = StackedSpec(GetParam().precision);

  // Alone: step after step, nothing beside it.
  std::vector<std::vector<float>> want;
  std::vector<StateValues> want_states;
  {
    const auto engine = CpuEngine(spec, GetParam().instruction_set, 1, 1);
    for (int k = 0; k < kSessions; ++k) {
      Stream stream = Open(*engine, spec, k);
      Recorder sink;
      while (stream.sent < kSteps) {
        Work* const work = NextMessage(spec, stream, 1, &sink);
        engine->Submit(work);
        ASSERT_TRUE(sink.Wait(work).ok());
      }
      want.push_back(stream.output);
      want_states.push_back(*engine->GetSession("m", absl::StrCat("s", k), true)->state);
    }
    EXPECT_EQ(engine->Stats().batches, uint64_t{kSessions} * kSteps);
  }

  const auto engine = CpuEngine(spec, GetParam().instruction_set, 64, 4);
  std::vector<Stream> streams;
  for (int k = 0; k < kSessions; ++k) streams.push_back(Open(*engine, spec, k));
  std::vector<std::thread> threads;
  for (int t = 0; t < kStreams; ++t) {
    std::vector<Stream*> own;
    for (int k = t; k < kSessions; k += kStreams) own.push_back(&streams[static_cast<size_t>(k)]);
    threads.emplace_back([&, own, t] { Drive(*engine, spec, own, seed + static_cast<uint32_t>(t)); });
  }
  for (std::thread& thread : threads) thread.join();

  for (int k = 0; k < kSessions; ++k) {
    const size_t i = static_cast<size_t>(k);
    EXPECT_TRUE(SameBits(streams[i].output, want[i])) << "session " << k;
    const StateValues state = *engine->GetSession("m", absl::StrCat("s", k), true)->state;
    EXPECT_TRUE(SameBits(state.h, want_states[i].h)) << "session " << k;
    EXPECT_TRUE(SameBits(state.c, want_states[i].c)) << "session " << k;
  }
  const EngineStats stats = engine->Stats();
  EXPECT_GT(stats.batched_rows, stats.batches) << "rows did share calls";
}

TEST_P(BatchInvarianceTest, SequencesAreTheirStepsHoweverTheyAreSliced) {
  for (const Direction direction : {Direction::kForward, Direction::kBidirectional, Direction::kReverse}) {
    ModelSpec spec = StackedSpec(GetParam().precision);
    spec.direction = direction;
    std::vector<std::vector<float>> outputs;
    for (const uint32_t slice : {1u, 3u, 1000u}) {
      const auto engine = CpuEngine(spec, GetParam().instruction_set, 8, slice);
      Recorder sink;
      std::vector<std::unique_ptr<Job>> jobs;
      std::vector<Work*> work;
      for (int k = 0; k < 5; ++k) {
        jobs.push_back(MakeSequence(*engine->FindModel("m", 0), &sink, 0, kSteps - static_cast<uint32_t>(k)));
        const std::vector<float> input = InputOf(spec, k);
        std::copy_n(input.begin(), jobs.back()->input.size(), jobs.back()->input.begin());
        work.push_back(&jobs.back()->work);
      }
      engine->SubmitAll(work);
      sink.WaitForEnds(jobs.size());
      EXPECT_EQ(sink.failures(), 0u);
      std::vector<float> all;
      for (const auto& job : jobs) all.insert(all.end(), job->output.begin(), job->output.end());
      outputs.push_back(std::move(all));
    }
    EXPECT_TRUE(SameBits(outputs[0], outputs[1])) << Name(direction);
    EXPECT_TRUE(SameBits(outputs[0], outputs[2])) << Name(direction);
  }
}

}  // namespace
}  // namespace lstmd
