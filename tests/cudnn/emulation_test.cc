// SPDX-License-Identifier: Apache-2.0
//
// The test double is itself tested: each rule, broken on purpose, is noticed.
#include "tests/cudnn/emulation.h"

#include <cstring>
#include <numeric>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cudnn/emulated_dnn.h"

namespace lstmd::cudnn {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

class EmulationTest : public testing::Test {
 protected:
  void SetUp() override {
    ResetEmulation();
    ASSERT_EQ(api_.cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
    ASSERT_EQ(api_.cudnnCreate(&dnn_), CUDNN_STATUS_SUCCESS);
    ASSERT_EQ(api_.cudnnSetStream(dnn_, stream_), CUDNN_STATUS_SUCCESS);
  }
  void TearDown() override {
    for (void* address : memory_) api_.cudaFree(address);
    api_.cudnnDestroy(dnn_);
    api_.cudaStreamDestroy(stream_);
    EXPECT_EQ(LiveObjects(), 0u);
  }
  void* Allocate(size_t bytes) {
    void* address = nullptr;
    EXPECT_EQ(api_.cudaMalloc(&address, bytes), cudaSuccess);
    memory_.push_back(address);
    return address;
  }
  void ExpectViolation(const std::string& rule) { EXPECT_THAT(Violations(), Contains(HasSubstr(rule))); }

  const DeviceApi& api_ = EmulatedApi();
  cudaStream_t stream_ = nullptr;
  cudnnHandle_t dnn_ = nullptr;
  std::vector<void*> memory_;
};

TEST_F(EmulationTest, WorkRunsOnlyWhenTheStreamIsWaitedFor) {
  auto* device = static_cast<float*>(Allocate(sizeof(float)));
  void* pinned = nullptr;
  ASSERT_EQ(api_.cudaHostAlloc(&pinned, sizeof(float), 0), cudaSuccess);
  *static_cast<float*>(pinned) = 3.0f;
  ASSERT_EQ(api_.cudaMemcpyAsync(device, pinned, sizeof(float), cudaMemcpyHostToDevice, stream_), cudaSuccess);
  EXPECT_NE(*device, 3.0f);
  ASSERT_EQ(api_.cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(*device, 3.0f);
  api_.cudaFreeHost(pinned);
  EXPECT_THAT(Violations(), IsEmpty());
}

TEST_F(EmulationTest, CopyOutOfAnAllocationIsNoticed) {
  void* device = Allocate(8);
  char host[16] = {};
  EXPECT_NE(api_.cudaMemcpyAsync(device, host, 16, cudaMemcpyHostToDevice, stream_), cudaSuccess);
  ExpectViolation("reaches out of its allocation");
}

TEST_F(EmulationTest, AllocationDuringCaptureIsNoticed) {
  ASSERT_EQ(api_.cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  void* address = nullptr;
  EXPECT_EQ(api_.cudaMalloc(&address, 8), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(api_.cudaStreamSynchronize(stream_), cudaErrorStreamCaptureUnsupported);
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(api_.cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  api_.cudaGraphDestroy(graph);
  ExpectViolation("cudaMalloc during capture");
  ExpectViolation("cudaStreamSynchronize during capture");
}

TEST_F(EmulationTest, FreeingTwiceIsNoticed) {
  void* address = nullptr;
  ASSERT_EQ(api_.cudaMalloc(&address, 8), cudaSuccess);
  EXPECT_EQ(api_.cudaFree(address), cudaSuccess);
  EXPECT_NE(api_.cudaFree(address), cudaSuccess);
  ExpectViolation("cudaFree");
}

TEST_F(EmulationTest, MemoryHasALimit) {
  LimitDeviceMemory(100);
  void* address = nullptr;
  EXPECT_EQ(api_.cudaMalloc(&address, 101), cudaErrorMemoryAllocation);
}

TEST_F(EmulationTest, ASlotTwiceInABatchIsNoticed) {
  auto* rows = static_cast<float*>(Allocate(4 * sizeof(float)));
  auto** same = static_cast<float**>(Allocate(2 * sizeof(float*)));
  same[0] = same[1] = rows;
  rows[0] = rows[1] = 0;
  MoveStateArgs args;
  args.read = same;
  args.write = same;
  args.rows = 2;
  args.cells = args.h_size = args.c_size = 1;
  ASSERT_EQ(api_.launch_move_state(args, stream_), cudaSuccess);
  api_.cudaStreamSynchronize(stream_);
  ExpectViolation("a slot stands twice in a batch");
}

// A bare LSTM of I 3, H 4 for the calls to cuDNN.
class EmulatedForwardTest : public EmulationTest {
 protected:
  struct Options {
    cudnnRNNAlgo_t algorithm = CUDNN_RNN_ALGO_STANDARD;
    cudnnRNNDataLayout_t layout = CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_PACKED;
    std::vector<int> lengths = {3, 2};
    int max_length = 3;
    int projection = 4;
    size_t workspace_short = 0;
    size_t weights_short = 0;
    bool state_descriptors = true;
  };

  cudnnStatus_t Forward(const Options& options) {
    cudnnRNNDescriptor_t rnn;
    cudnnRNNDataDescriptor_t x, y;
    cudnnTensorDescriptor_t h, c;
    api_.cudnnCreateRNNDescriptor(&rnn);
    api_.cudnnCreateRNNDataDescriptor(&x);
    api_.cudnnCreateRNNDataDescriptor(&y);
    api_.cudnnCreateTensorDescriptor(&h);
    api_.cudnnCreateTensorDescriptor(&c);
    const cudnnStatus_t status = Run(options, rnn, x, y, h, c);
    api_.cudnnDestroyRNNDescriptor(rnn);
    api_.cudnnDestroyRNNDataDescriptor(x);
    api_.cudnnDestroyRNNDataDescriptor(y);
    api_.cudnnDestroyTensorDescriptor(h);
    api_.cudnnDestroyTensorDescriptor(c);
    return status;
  }

 private:
  cudnnStatus_t Run(const Options& o, cudnnRNNDescriptor_t rnn, cudnnRNNDataDescriptor_t x, cudnnRNNDataDescriptor_t y,
                    cudnnTensorDescriptor_t h, cudnnTensorDescriptor_t c) {
    const int batch = static_cast<int>(o.lengths.size());
    cudnnStatus_t status = api_.cudnnSetRNNDescriptor_v8(
        rnn, o.algorithm, CUDNN_LSTM, CUDNN_RNN_DOUBLE_BIAS, CUDNN_UNIDIRECTIONAL, CUDNN_LINEAR_INPUT, CUDNN_DATA_FLOAT,
        CUDNN_DATA_FLOAT, CUDNN_FMA_MATH, 3, 4, o.projection, 1, nullptr, 0);
    for (auto [desc, size] : {std::pair(x, 3), std::pair(y, o.projection)}) {
      if (status != CUDNN_STATUS_SUCCESS) return status;
      status = api_.cudnnSetRNNDataDescriptor(desc, CUDNN_DATA_FLOAT, o.layout, o.max_length, batch, size,
                                              o.lengths.data(), nullptr);
    }
    for (auto [desc, size] : {std::pair(h, o.projection), std::pair(c, 4)}) {
      const int dims[] = {1, batch, size};
      const int strides[] = {batch * size, size, 1};
      api_.cudnnSetTensorNdDescriptor(desc, CUDNN_DATA_FLOAT, 3, dims, strides);
    }
    size_t workspace = 0, reserve = 0, weights = 0;
    if (status == CUDNN_STATUS_SUCCESS) {
      status = api_.cudnnGetRNNTempSpaceSizes(dnn_, rnn, CUDNN_FWD_MODE_INFERENCE, x, &workspace, &reserve);
    }
    if (status == CUDNN_STATUS_SUCCESS) status = api_.cudnnGetRNNWeightSpaceSize(dnn_, rnn, &weights);
    if (status != CUDNN_STATUS_SUCCESS) return status;
    void* const weight_space = Allocate(weights);
    std::memset(weight_space, 0, weights);
    const size_t data = 64 * 4 * sizeof(float);
    return api_.cudnnRNNForward(dnn_, rnn, CUDNN_FWD_MODE_INFERENCE, nullptr, x, Allocate(data), y, Allocate(data),
                                o.state_descriptors ? h : nullptr, Allocate(data), Allocate(data),
                                o.state_descriptors ? c : nullptr, Allocate(data), Allocate(data),
                                weights - o.weights_short, weight_space, workspace - o.workspace_short,
                                Allocate(workspace), 0, nullptr);
  }
};

TEST_F(EmulatedForwardTest, RunsWhatIsRight) {
  EXPECT_EQ(Forward({}), CUDNN_STATUS_SUCCESS);
  EXPECT_THAT(Violations(), IsEmpty());
}

TEST_F(EmulatedForwardTest, NoticesEachBrokenRule) {
  struct Broken {
    const char* rule;
    Options options;
  };
  std::vector<Broken> table(9);
  table[0].rule = "not sorted";
  table[0].options.lengths = {2, 3};
  table[1].rule = "a packed length is zero";
  table[1].options.lengths = {3, 0};
  table[2].rule = "maxSeqLength is not the longest";
  table[2].options.lengths = {2, 2};
  table[3].rule = "variable lengths need the standard algorithm";
  table[3].options.algorithm = CUDNN_RNN_ALGO_PERSIST_STATIC_SMALL_H;
  table[4].rule = "need padded IO";
  table[4].options.layout = CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_UNPACKED;
  table[5].rule = "workspace too small";
  table[5].options.workspace_short = 1;
  table[6].rule = "weight space too small";
  table[6].options.weights_short = 1;
  table[7].rule = "state's descriptor is missing";
  table[7].options.state_descriptors = false;
  table[8].rule = "projSize <= 0";
  table[8].options.projection = 0;
  for (const Broken& row : table) {
    SCOPED_TRACE(row.rule);
    ResetEmulation();
    EXPECT_NE(Forward(row.options), CUDNN_STATUS_SUCCESS);
    ExpectViolation(row.rule);
  }
}

TEST_F(EmulatedForwardTest, RefusesToBeCaptured) {
  // Everything it needs exists before; the call itself is what is not allowed.
  cudnnRNNDescriptor_t rnn;
  cudnnRNNDataDescriptor_t x;
  api_.cudnnCreateRNNDescriptor(&rnn);
  api_.cudnnCreateRNNDataDescriptor(&x);
  const int lengths[] = {1};
  api_.cudnnSetRNNDescriptor_v8(rnn, CUDNN_RNN_ALGO_STANDARD, CUDNN_LSTM, CUDNN_RNN_DOUBLE_BIAS, CUDNN_UNIDIRECTIONAL,
                                CUDNN_LINEAR_INPUT, CUDNN_DATA_FLOAT, CUDNN_DATA_FLOAT, CUDNN_FMA_MATH, 4, 4, 4, 1,
                                nullptr, 0);
  api_.cudnnSetRNNDataDescriptor(x, CUDNN_DATA_FLOAT, CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_PACKED, 1, 1, 4, lengths,
                                 nullptr);
  ASSERT_EQ(api_.cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  EXPECT_NE(api_.cudnnRNNForward(dnn_, rnn, CUDNN_FWD_MODE_INFERENCE, nullptr, x, nullptr, x, nullptr, nullptr, nullptr,
                                 nullptr, nullptr, nullptr, nullptr, 0, nullptr, 0, nullptr, 0, nullptr),
            CUDNN_STATUS_SUCCESS);
  cudaGraph_t graph = nullptr;
  api_.cudaStreamEndCapture(stream_, &graph);
  api_.cudaGraphDestroy(graph);
  api_.cudnnDestroyRNNDescriptor(rnn);
  api_.cudnnDestroyRNNDataDescriptor(x);
  ExpectViolation("during capture");
}

}  // namespace
}  // namespace lstmd::cudnn
