// SPDX-License-Identifier: Apache-2.0
//
// The cuDNN backend over the emulation: what goes beyond the suite of all backends. Failures anywhere in a batch change
// nothing, graphs replay what they captured, memory runs out politely, nothing leaks.
#include "engine/cudnn/cudnn_backend.h"

#include <memory>
#include <random>
#include <vector>

#include "engine/errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cudnn/emulation.h"
#include "tests/support/backend_suite.h"

namespace lstmd::cudnn {
namespace {

using testing::IsEmpty;

class CudnnBackendTest : public testing::Test {
 protected:
  void SetUp() override { ResetEmulation(); }
  void TearDown() override {
    EXPECT_THAT(Violations(), IsEmpty());
    EXPECT_EQ(LiveObjects(), 0u);
  }
  static std::unique_ptr<Backend> Create(const CudnnOptions& options = {}) {
    auto backend = CreateCudnnBackend(EmulatedApi(), options, "emulated");
    EXPECT_TRUE(backend.ok()) << backend.status();
    return std::move(*backend);
  }
};

ModelSpec SmallSpec() {
  ModelSpec spec;
  spec.input_size = 3;
  spec.hidden_size = 5;
  spec.num_layers = 2;
  return spec;
}

struct Loaded {
  Loaded(Backend& backend, const ModelSpec& spec) : spec(spec) {
    test::Rng rng(7);
    auto made = backend.Load(spec, test::RandomWeights(rng, spec));
    EXPECT_TRUE(made.ok()) << made.status();
    model = std::move(*made);
    auto pool_made = backend.CreateStatePool(*model);
    EXPECT_TRUE(pool_made.ok()) << pool_made.status();
    pool = std::move(*pool_made);
  }

  std::vector<float> State(Slot slot) const {
    std::vector<float> h(spec.h_size()), c(spec.c_size());
    EXPECT_TRUE(pool->Read(slot, absl::MakeSpan(h), absl::MakeSpan(c)).ok());
    h.insert(h.end(), c.begin(), c.end());
    return h;
  }

  ModelSpec spec;
  std::unique_ptr<DeviceModel> model;
  std::unique_ptr<StatePool> pool;
};

// `count` rows of `steps` random time steps, each in a slot of its own.
struct Rows {
  Rows(Loaded& loaded, size_t count, uint32_t steps, uint64_t seed) : rows(count) {
    test::Rng rng(seed);
    for (Row& row : rows) {
      inputs.push_back(test::RandomFloats(rng, steps * loaded.spec.input_size, 1.0f));
      outputs.emplace_back(steps * loaded.spec.output_size());
      auto slot = loaded.pool->Allocate();
      EXPECT_TRUE(slot.ok()) << slot.status();
      row.slot = *slot;
      row.steps = steps;
      row.budget = steps;
      pointers.push_back(&row);
    }
    Rewind();
  }
  void Rewind() {
    for (size_t i = 0; i < rows.size(); ++i) {
      rows[i].input = inputs[i].data();
      rows[i].output = outputs[i].data();
      rows[i].position = 0;
    }
  }
  std::vector<Row> rows;
  std::vector<Row*> pointers;
  std::vector<std::vector<float>> inputs, outputs;
};

TEST_F(CudnnBackendTest, AFailureAnywhereChangesNothing) {
  const std::vector<std::pair<const char*, int>> failures = {
      {"cudaMemcpyAsync", cudaErrorInvalidValue},         {"launch_gather", cudaErrorInvalidConfiguration},
      {"cublasLtMatmul", CUBLAS_STATUS_EXECUTION_FAILED}, {"launch_cell", cudaErrorInvalidConfiguration},
      {"launch_merge", cudaErrorInvalidConfiguration},    {"launch_move_state", cudaErrorInvalidConfiguration},
      {"cudaGraphLaunch", cudaErrorInvalidValue},         {"cudaStreamBeginCapture", cudaErrorInvalidValue},
      {"cudaStreamEndCapture", cudaErrorInvalidValue},    {"cudnnRNNForward", CUDNN_STATUS_EXECUTION_FAILED},
  };
  for (const uint32_t steps : {1u, 3u, 12u}) {
    int failed = 0;
    for (const auto& [function, error] : failures) {
      SCOPED_TRACE(testing::Message() << function << ", " << steps << " steps");
      ResetEmulation();
      auto backend = Create();
      Loaded loaded(*backend, SmallSpec());
      Rows rows(loaded, 3, steps, 11);
      std::vector<std::vector<float>> before;
      for (const Row& row : rows.rows) before.push_back(loaded.State(row.slot));
      FailCall(function, 1, error);
      const absl::Status status = backend->Run(*loaded.model, *loaded.pool, rows.pointers);
      if (status.ok()) continue;  // this path does not make that call
      ++failed;
      EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
      EXPECT_EQ(GetCause(status).reason, "DEVICE_ERROR");
      for (size_t i = 0; i < rows.rows.size(); ++i) {
        EXPECT_EQ(loaded.State(rows.rows[i].slot), before[i]);
        EXPECT_EQ(rows.rows[i].position, 0u);
      }
      // And the next call works.
      EXPECT_TRUE(backend->Run(*loaded.model, *loaded.pool, rows.pointers).ok());
    }
    EXPECT_GE(failed, 4);
  }
}

TEST_F(CudnnBackendTest, GraphsReplayWhatRunsWithoutThem) {
  CudnnOptions eager;
  eager.graphs = false;
  auto with = Create();
  auto without = Create(eager);
  Loaded one(*with, SmallSpec()), two(*without, SmallSpec());
  for (const size_t batch : {1u, 3u, 4u, 9u, 3u, 1u}) {
    Rows a(one, batch, 1, batch), b(two, batch, 1, batch);
    for (int step = 0; step < 3; ++step) {
      a.Rewind();
      b.Rewind();
      ASSERT_TRUE(with->Run(*one.model, *one.pool, a.pointers).ok());
      ASSERT_TRUE(without->Run(*two.model, *two.pool, b.pointers).ok());
      EXPECT_EQ(a.outputs, b.outputs);
      for (size_t i = 0; i < batch; ++i) EXPECT_EQ(one.State(a.rows[i].slot), two.State(b.rows[i].slot));
    }
  }
  EXPECT_GE(CallsTo("cudaGraphLaunch"), 18);
  // One per bucket, and again where a larger batch moved the buffers: never one per step.
  EXPECT_LE(CallsTo("cudaGraphInstantiateWithFlags"), 8);
}

TEST_F(CudnnBackendTest, LongSequencesGoThroughCudnnAndShortOnesDoNot) {
  auto backend = Create();
  Loaded loaded(*backend, SmallSpec());
  Rows steps(loaded, 2, 1, 1), sequences(loaded, 2, 20, 2);
  ASSERT_TRUE(backend->Run(*loaded.model, *loaded.pool, steps.pointers).ok());
  EXPECT_EQ(CallsTo("cudnnRNNForward"), 0);
  ASSERT_TRUE(backend->Run(*loaded.model, *loaded.pool, sequences.pointers).ok());
  EXPECT_EQ(CallsTo("cudnnRNNForward"), 1);
}

TEST_F(CudnnBackendTest, OutOfMemoryIsSaidAndLosesNoSession) {
  auto backend = Create();
  Loaded loaded(*backend, SmallSpec());
  Rows rows(loaded, 2, 1, 3);
  ASSERT_TRUE(backend->Run(*loaded.model, *loaded.pool, rows.pointers).ok());
  const std::vector<float> before = loaded.State(rows.rows[0].slot);
  LimitDeviceMemory(1);
  absl::Status status;
  // The first slab is large; taking slots until it is used up meets the limit.
  std::vector<Slot> taken;
  for (int i = 0; i < 70000 && status.ok(); ++i) {
    auto slot = loaded.pool->Allocate();
    status = slot.status();
    if (slot.ok()) taken.push_back(*slot);
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(GetCause(status).reason, "DEVICE_MEMORY");
  EXPECT_EQ(loaded.State(rows.rows[0].slot), before);
  test::Rng rng(7);
  EXPECT_EQ(backend->Load(SmallSpec(), test::RandomWeights(rng, SmallSpec())).status().code(),
            absl::StatusCode::kResourceExhausted);
  loaded.pool->Free(taken.back());
  EXPECT_TRUE(loaded.pool->Allocate().ok());
}

TEST_F(CudnnBackendTest, AStickyErrorIsSaidAsSuch) {
  auto backend = Create();
  Loaded loaded(*backend, SmallSpec());
  Rows rows(loaded, 1, 1, 3);
  FailCall("cudaStreamSynchronize", 1, cudaErrorIllegalAddress);
  const absl::Status status = backend->Run(*loaded.model, *loaded.pool, rows.pointers);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(GetCause(status).reason, "DEVICE_LOST");
}

TEST_F(CudnnBackendTest, SaysWhatItCannot) {
  auto backend = Create();
  ModelSpec spec = SmallSpec();
  EXPECT_TRUE(backend->Supports(spec).ok());
  spec.precision = Precision::kInt8Weights;
  EXPECT_EQ(GetCause(backend->Supports(spec)).field, "precision");
  spec.precision = Precision::kBf16;
  EXPECT_TRUE(backend->Supports(spec).ok());
  spec.padding_output = PaddingOutput::kCell;
  EXPECT_EQ(GetCause(backend->Supports(spec)).field, "padding_output");
}

TEST_F(CudnnBackendTest, ADeviceThatIsNotThereIsOneClearLine) {
  CudnnOptions options;
  options.device = 3;
  const absl::Status status = CreateCudnnBackend(EmulatedApi(), options, "cuda:3").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(GetCause(status).reason, "DEVICE_UNAVAILABLE");
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("cuda:3"));
}

}  // namespace
}  // namespace lstmd::cudnn

namespace lstmd::test {
namespace {

std::vector<BackendRow> CudnnRows() {
  std::vector<BackendRow> rows;
  for (const bool graphs : {true, false}) {
    for (const int rnn_min_steps : {2, 1000}) {
      BackendRow row;
      row.name = std::string("f32") + (graphs ? "_graphs" : "_eager") + (rnn_min_steps == 2 ? "_rnn" : "_cells");
      row.create = [=] {
        cudnn::CudnnOptions options;
        options.graphs = graphs;
        options.rnn_min_steps = rnn_min_steps;
        return cudnn::CreateCudnnBackend(cudnn::EmulatedApi(), options, "emulated");
      };
      rows.push_back(row);
    }
  }
  BackendRow bf16 = rows[0];
  bf16.name = "bf16_graphs_rnn";
  bf16.precision = Precision::kBf16;
  bf16.absolute = bf16.relative = 0.1;
  BackendRow f16 = rows[0];
  f16.name = "f16_graphs_rnn";
  f16.precision = Precision::kF16;
  f16.absolute = f16.relative = 0.02;
  rows.push_back(bf16);
  rows.push_back(f16);
  return rows;
}

INSTANTIATE_TEST_SUITE_P(Cudnn, BackendSuite, testing::ValuesIn(CudnnRows()), BackendRowName);

class NoRuleBroken : public testing::Environment {
 public:
  void TearDown() override { EXPECT_THAT(cudnn::Violations(), testing::IsEmpty()); }
};
const auto* const kNoRuleBroken = testing::AddGlobalTestEnvironment(new NoRuleBroken);

}  // namespace
}  // namespace lstmd::test
