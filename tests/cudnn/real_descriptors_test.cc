// SPDX-License-Identifier: Apache-2.0
//
// The emulation's rules for descriptors against the real library's, which needs no GPU for them: both take or both
// refuse each row.
#include <string>
#include <vector>

#include "engine/cudnn/descriptors.h"
#include "gtest/gtest.h"
#include "tests/cudnn/emulation.h"

namespace lstmd::cudnn {
namespace {

struct RnnRow {
  cudnnRNNAlgo_t algorithm;
  cudnnDataType_t type;
  cudnnDataType_t precision;
  cudnnRNNBiasMode_t bias;
  int hidden, projection;
};

cudnnStatus_t SetRnnRow(const DeviceApi& api, const RnnRow& row) {
  cudnnRNNDescriptor_t desc = nullptr;
  EXPECT_EQ(api.cudnnCreateRNNDescriptor(&desc), CUDNN_STATUS_SUCCESS);
  const cudnnStatus_t status = api.cudnnSetRNNDescriptor_v8(
      desc, row.algorithm, CUDNN_LSTM, row.bias, CUDNN_UNIDIRECTIONAL, CUDNN_LINEAR_INPUT, row.type, row.precision,
      CUDNN_FMA_MATH, 16, row.hidden, row.projection, 1, nullptr, 0);
  api.cudnnDestroyRNNDescriptor(desc);
  return status;
}

TEST(RealDescriptorsTest, RnnDescriptorsAgree) {
  int checked = 0, refused = 0;
  for (cudnnRNNAlgo_t algorithm :
       {CUDNN_RNN_ALGO_STANDARD, CUDNN_RNN_ALGO_PERSIST_STATIC, CUDNN_RNN_ALGO_PERSIST_STATIC_SMALL_H}) {
    for (cudnnDataType_t type : {CUDNN_DATA_FLOAT, CUDNN_DATA_HALF, CUDNN_DATA_BFLOAT16}) {
      for (cudnnDataType_t precision : {CUDNN_DATA_FLOAT, CUDNN_DATA_HALF, CUDNN_DATA_BFLOAT16}) {
        for (cudnnRNNBiasMode_t bias : {CUDNN_RNN_DOUBLE_BIAS, CUDNN_RNN_NO_BIAS}) {
          for (int projection : {-1, 0, 1, 16, 32, 33}) {
            const RnnRow row{algorithm, type, precision, bias, 32, projection};
            SCOPED_TRACE(testing::Message() << "algo " << algorithm << " type " << type << " precision " << precision
                                            << " bias " << bias << " projection " << projection);
            const bool real = SetRnnRow(RealApi(), row) == CUDNN_STATUS_SUCCESS;
            EXPECT_EQ(real, SetRnnRow(EmulatedApi(), row) == CUDNN_STATUS_SUCCESS);
            ++checked;
            refused += real ? 0 : 1;
          }
        }
      }
    }
  }
  EXPECT_EQ(checked, 324);
  EXPECT_GT(refused, 0);
  EXPECT_LT(refused, checked);
}

TEST(RealDescriptorsTest, DataDescriptorsAgree) {
  struct Row {
    cudnnRNNDataLayout_t layout;
    int max_length;
    std::vector<int> lengths;
    bool taken;
  };
  const Row rows[] = {
      {CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_PACKED, 3, {3, 2, 1}, true},
      {CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_PACKED, 3, {3, 3, 3}, true},
      {CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_PACKED, 3, {1, 2, 3}, false},
      {CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_PACKED, 3, {3, 1, 0}, false},
      {CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_PACKED, 4, {3, 2, 1}, false},
      {CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_UNPACKED, 4, {1, 0, 3}, true},
      {CUDNN_RNN_DATA_LAYOUT_BATCH_MAJOR_UNPACKED, 4, {4, 0, 2}, true},
      {CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_UNPACKED, 4, {5, 1, 1}, false},
      {CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_UNPACKED, 0, {0, 0, 0}, false},
      {CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_UNPACKED, 65536, {1, 1, 1}, false},
  };
  for (size_t i = 0; i < std::size(rows); ++i) {
    SCOPED_TRACE(i);
    for (const DeviceApi* api : {&RealApi(), &EmulatedApi()}) {
      cudnnRNNDataDescriptor_t desc = nullptr;
      ASSERT_EQ(api->cudnnCreateRNNDataDescriptor(&desc), CUDNN_STATUS_SUCCESS);
      const bool taken = api->cudnnSetRNNDataDescriptor(desc, CUDNN_DATA_FLOAT, rows[i].layout, rows[i].max_length, 3,
                                                        8, rows[i].lengths.data(), nullptr) == CUDNN_STATUS_SUCCESS;
      EXPECT_EQ(taken, rows[i].taken) << (api == &RealApi() ? "real" : "emulated");
      api->cudnnDestroyRNNDataDescriptor(desc);
    }
  }
}

}  // namespace
}  // namespace lstmd::cudnn
