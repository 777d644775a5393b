// SPDX-License-Identifier: Apache-2.0
//
// Weights replaced under load, policy follow, with real numbers: each session's outputs are those of version 1 up to
// some step, and from there on those of version 2 going on from the same state, to the bit. On the CPU, and on the GPU
// backend over the emulation.
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/cpu/cpu_backend.h"
#include "tests/engine/fixture.h"
#include "tests/support/models.h"
#ifdef LSTMD_HAVE_EMULATION
#include "engine/cudnn/cudnn_backend.h"
#include "tests/cudnn/emulation.h"
#endif

namespace lstmd {
namespace {

constexpr int kThreads = 4;
constexpr int kSessionsOfAThread = 5;
constexpr size_t kInFlight = 3;  // steps of one session
constexpr size_t kBefore = 60;   // steps of each session before the update, at least
constexpr uint32_t kSlice = 4;

ModelSpec Spec() {
  ModelSpec spec;
  spec.input_size = 3;
  spec.hidden_size = 20;
  spec.num_layers = 2;
  spec.head = Head{4, true, {Function::kTanh}};
  return spec;
}

// The steps of one session: one time step, now and then more than a slice.
uint32_t StepsAt(size_t k) { return k % 11 == 7 ? 3 * kSlice : 1; }
std::vector<float> InputAt(int session, size_t k) {
  return test::SeededFloats(static_cast<uint64_t>(session) * 100'000 + k, size_t{StepsAt(k)} * 3, 1.0f);
}

std::unique_ptr<Job> JobAt(const std::shared_ptr<Session>& session, int number, size_t k, WorkSink* sink) {
  auto job = std::make_unique<Job>();
  job->input = InputAt(number, k);
  job->output.resize(size_t{StepsAt(k)} * 4);
  job->work.session = session;
  job->work.seq = k + 1;
  job->work.steps = StepsAt(k);
  job->work.input = job->input.data();
  job->work.output = job->output.data();
  job->work.sink = sink;
  return job;
}

class HotWeightsExactTest : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Engine> NewEngine() {
    std::vector<std::unique_ptr<Backend>> backends;
    if (GetParam() == "cpu") {
      CpuOptions cpu;
      cpu.threads = 2;
      backends.push_back(*CreateCpuBackend(cpu));
    } else {
#ifdef LSTMD_HAVE_EMULATION
      backends.push_back(*cudnn::CreateCudnnBackend(cudnn::EmulatedApi(), {}, "emulated"));
#endif
    }
    EngineOptions options;
    options.scheduler.slice_units = kSlice;
    auto engine = Engine::Create(options, std::move(backends));
    EXPECT_TRUE(engine.ok()) << engine.status();
    return *std::move(engine);
  }
};

struct Recorded {
  std::vector<float> output;
  int64_t version;
};

TEST_P(HotWeightsExactTest, OutputsChangeAtOneStepAndGoOnFromTheSameState) {
  const ModelSpec spec = Spec();
  const Weights first = test::SeededWeights(spec, 1);
  const Weights second = test::SeededWeights(spec, 500);
  const std::unique_ptr<Engine> engine = NewEngine();
  ASSERT_TRUE(engine->AddModel("m", 1, spec, first).ok());

  std::vector<std::vector<Recorded>> recorded(kThreads * kSessionsOfAThread);
  std::atomic<bool> updated{false};
  std::atomic<int> warm{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::vector<std::shared_ptr<Session>> sessions;
      for (int s = 0; s < kSessionsOfAThread; ++s) {
        sessions.push_back(*engine->FindSession("m", absl::StrCat("s", t * kSessionsOfAThread + s), true));
      }
      size_t next = 0;
      for (size_t after = 0; after < 20; next += kInFlight) {
        const bool was_updated = updated.load();
        Recorder sink;
        std::vector<std::unique_ptr<Job>> jobs;
        std::vector<Work*> works;
        for (size_t k = next; k < next + kInFlight; ++k) {
          for (int s = 0; s < kSessionsOfAThread; ++s) {
            jobs.push_back(JobAt(sessions[static_cast<size_t>(s)], t * kSessionsOfAThread + s, k, &sink));
            works.push_back(&jobs.back()->work);
          }
        }
        engine->SubmitAll(works);
        sink.WaitForEnds(works.size());
        for (size_t i = 0; i < jobs.size(); ++i) {
          ASSERT_TRUE(sink.Wait(works[i]).ok()) << sink.Wait(works[i]);
          const size_t session = static_cast<size_t>(t * kSessionsOfAThread) + i % kSessionsOfAThread;
          recorded[session].push_back({jobs[i]->output, works[i]->result_version});
          if (was_updated) {
            ASSERT_EQ(works[i]->result_version, 2) << "submitted after the update";
          }
        }
        if (next < kBefore && next + kInFlight >= kBefore) ++warm;
        after += was_updated ? 1 : 0;
      }
    });
  }
  while (warm.load() < kThreads) std::this_thread::yield();
  const auto info = engine->UpdateModel("m", 2, spec, second, UpdatePolicy::kFollow);
  updated = true;
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->weight_bytes, engine->GetModel("m", 2)->weight_bytes);

  // The two versions beside each other, one session at a time.
  const std::unique_ptr<Engine> reference = NewEngine();
  ASSERT_TRUE(reference->AddModel("first", 1, spec, first).ok());
  ASSERT_TRUE(reference->AddModel("second", 1, spec, second).ok());
  Recorder sink;
  for (size_t s = 0; s < recorded.size(); ++s) {
    std::shared_ptr<Session> on = *reference->FindSession("first", absl::StrCat("s", s), true);
    int64_t version = 1;
    for (size_t k = 0; k < recorded[s].size(); ++k) {
      if (recorded[s][k].version != version) {
        ASSERT_EQ(recorded[s][k].version, 2) << "session " << s << " step " << k;
        ASSERT_EQ(version, 1);
        version = 2;
        CreateSessionParams params;
        params.model = "second";
        params.id = absl::StrCat("s", s);
        params.initial_state = reference->GetSession("first", params.id, true)->state;
        ASSERT_TRUE(reference->CreateSession(params).ok());
        on = *reference->FindSession("second", params.id, false);
      }
      auto job = JobAt(on, static_cast<int>(s), k, &sink);
      job->work.seq = 0;
      reference->Submit(&job->work);
      ASSERT_TRUE(sink.Wait(&job->work).ok());
      sink.Forget(&job->work);
      ASSERT_EQ(job->output, recorded[s][k].output) << "session " << s << " step " << k << " on version " << version;
    }
    EXPECT_EQ(version, 2) << "session " << s << " never saw the new weights";
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, HotWeightsExactTest,
#ifdef LSTMD_HAVE_EMULATION
                         testing::Values("cpu", "emulated"),
#else
                         testing::Values("cpu"),
#endif
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace lstmd
