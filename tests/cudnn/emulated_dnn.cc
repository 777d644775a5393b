// SPDX-License-Identifier: Apache-2.0
//
// cuDNN's descriptors with the rules of the real library, which tests/cudnn/real_descriptors_test.cc holds against it.
#include "tests/cudnn/emulated_dnn.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace lstmd::cudnn::emulation {
namespace {

constexpr int kSmallHidden = 192;
constexpr int kPersistentHidden = 1536;

#define LSTMD_ENTER(function)                               \
  if (const auto entered = Enter(function); entered.fail) { \
    return static_cast<cudnnStatus_t>(entered.error);       \
  }

thread_local std::string last_error;

template <typename Ours, typename Theirs>
cudnnStatus_t Make(Theirs* to) {
  ObjectMade();
  *to = reinterpret_cast<Theirs>(new Ours());
  return CUDNN_STATUS_SUCCESS;
}

template <typename Ours, typename Theirs>
cudnnStatus_t Drop(Theirs gone) {
  ObjectGone();
  delete reinterpret_cast<Ours*>(gone);
  return CUDNN_STATUS_SUCCESS;
}

bool TypesFit(cudnnRNNAlgo_t algo, cudnnDataType_t type, cudnnDataType_t precision) {
  if (precision == CUDNN_DATA_FLOAT) {
    return type == CUDNN_DATA_FLOAT || type == CUDNN_DATA_HALF || type == CUDNN_DATA_BFLOAT16;
  }
  if (type != precision) return false;
  if (type == CUDNN_DATA_HALF) return algo == CUDNN_RNN_ALGO_STANDARD;
  return type == CUDNN_DATA_DOUBLE && (algo == CUDNN_RNN_ALGO_STANDARD || algo == CUDNN_RNN_ALGO_PERSIST_DYNAMIC);
}

cudnnStatus_t SetRnnDescriptor(cudnnRNNDescriptor_t to, cudnnRNNAlgo_t algo, cudnnRNNMode_t mode,
                               cudnnRNNBiasMode_t bias, cudnnDirectionMode_t direction, cudnnRNNInputMode_t input,
                               cudnnDataType_t type, cudnnDataType_t precision, cudnnMathType_t, int32_t input_size,
                               int32_t hidden_size, int32_t projection, int32_t layers, cudnnDropoutDescriptor_t,
                               uint32_t flags) {
  LSTMD_ENTER("cudnnSetRNNDescriptor_v8");
  if (to == nullptr || input_size <= 0 || hidden_size <= 0 || layers <= 0) {
    return Refuse(CUDNN_STATUS_BAD_PARAM, "sizes must be positive");
  }
  if (projection <= 0) return Refuse(CUDNN_STATUS_BAD_PARAM, "projSize <= 0: no projection is projSize == hiddenSize");
  if (projection > hidden_size) return Refuse(CUDNN_STATUS_NOT_SUPPORTED, "projSize > hiddenSize");
  if (projection != hidden_size && algo != CUDNN_RNN_ALGO_STANDARD) {
    return Refuse(CUDNN_STATUS_NOT_SUPPORTED, "a projection needs the standard algorithm");
  }
  if (bias != CUDNN_RNN_DOUBLE_BIAS && algo != CUDNN_RNN_ALGO_STANDARD) {
    return Refuse(CUDNN_STATUS_NOT_SUPPORTED, "only double bias with a persistent algorithm");
  }
  if (!TypesFit(algo, type, precision)) return Refuse(CUDNN_STATUS_NOT_SUPPORTED, "data type and math precision");
  if ((flags & ~1u) != 0) return Refuse(CUDNN_STATUS_BAD_PARAM, "auxFlags");
  *reinterpret_cast<RnnDesc*>(to) = {true, algo,       mode,        bias,       direction, input,
                                     type, input_size, hidden_size, projection, layers,    flags};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t SetRnnDataDescriptor(cudnnRNNDataDescriptor_t to, cudnnDataType_t type, cudnnRNNDataLayout_t layout,
                                   int max_length, int batch, int vector_size, const int lengths[], void*) {
  LSTMD_ENTER("cudnnSetRNNDataDescriptor");
  if (type != CUDNN_DATA_FLOAT && type != CUDNN_DATA_DOUBLE && type != CUDNN_DATA_HALF && type != CUDNN_DATA_BFLOAT16) {
    return Refuse(CUDNN_STATUS_NOT_SUPPORTED, "data type of sequences");
  }
  if (lengths == nullptr) return Refuse(CUDNN_STATUS_BAD_PARAM, "seqLengthArray is NULL");
  if (max_length < 1 || max_length > 65535 || batch < 1 || vector_size < 1) {
    return Refuse(CUDNN_STATUS_BAD_PARAM, "sizes of sequences");
  }
  const std::vector<int> given(lengths, lengths + batch);
  const auto [low, high] = std::minmax_element(given.begin(), given.end());
  if (*high > max_length || *low < 0) return Refuse(CUDNN_STATUS_BAD_PARAM, "a length is above maxSeqLength");
  if (layout == CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_PACKED) {
    if (!std::is_sorted(given.rbegin(), given.rend())) {
      return Refuse(CUDNN_STATUS_BAD_PARAM, "packed lengths are not sorted, longest first");
    }
    if (*low == 0) return Refuse(CUDNN_STATUS_BAD_PARAM, "a packed length is zero");
    if (*high != max_length) return Refuse(CUDNN_STATUS_BAD_PARAM, "maxSeqLength is not the longest packed length");
  }
  *reinterpret_cast<RnnDataDesc*>(to) = {true, type, layout, max_length, batch, vector_size, given};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t SetTensor(cudnnTensorDescriptor_t to, cudnnDataType_t type, int count, const int dims[],
                        const int strides[]) {
  LSTMD_ENTER("cudnnSetTensorNdDescriptor");
  *reinterpret_cast<TensorDesc*>(to) = {type, {dims, dims + count}, {strides, strides + count}};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t TempSpaceSizes(cudnnHandle_t, cudnnRNNDescriptor_t rnn_desc, cudnnForwardMode_t,
                             cudnnRNNDataDescriptor_t x_desc, size_t* workspace, size_t* reserve) {
  LSTMD_ENTER("cudnnGetRNNTempSpaceSizes");
  const RnnDesc& rnn = *reinterpret_cast<RnnDesc*>(rnn_desc);
  if (rnn.algo == CUDNN_RNN_ALGO_PERSIST_STATIC_SMALL_H && rnn.hidden_size > kSmallHidden) {
    return Refuse(CUDNN_STATUS_NOT_SUPPORTED, "hidden size above the small persistent kernel's");
  }
  if (rnn.algo == CUDNN_RNN_ALGO_PERSIST_STATIC && rnn.hidden_size > kPersistentHidden) {
    return Refuse(CUDNN_STATUS_NOT_SUPPORTED, "hidden size above the persistent kernel's");
  }
  *workspace = WorkspaceBytes(rnn, *reinterpret_cast<RnnDataDesc*>(x_desc));
  *reserve = 0;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t WeightSpaceSize(cudnnHandle_t, cudnnRNNDescriptor_t rnn_desc, size_t* bytes) {
  LSTMD_ENTER("cudnnGetRNNWeightSpaceSize");
  const RnnDesc& rnn = *reinterpret_cast<RnnDesc*>(rnn_desc);
  *bytes = rnn.WeightCount() * rnn.element();
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t WeightParams(cudnnHandle_t, cudnnRNNDescriptor_t rnn_desc, int32_t pseudo_layer, size_t bytes,
                           const void* space, int32_t id, cudnnTensorDescriptor_t, void** matrix,
                           cudnnTensorDescriptor_t, void** bias) {
  LSTMD_ENTER("cudnnGetRNNWeightParams");
  const RnnDesc& rnn = *reinterpret_cast<RnnDesc*>(rnn_desc);
  if (pseudo_layer < 0 || pseudo_layer >= rnn.pseudo_layers() || id < 0 || id > 8 ||
      bytes < rnn.WeightCount() * rnn.element()) {
    return Refuse(CUDNN_STATUS_BAD_PARAM, "no such weight, or a weight space too small");
  }
  auto* base = static_cast<char*>(const_cast<void*>(space));
  *matrix = id == 8 && !rnn.projects() ? nullptr : base + rnn.MatrixOffset(pseudo_layer, id) * rnn.element();
  *bias =
      id == 8 || rnn.bias != CUDNN_RNN_DOUBLE_BIAS ? nullptr : base + rnn.BiasOffset(pseudo_layer, id) * rnn.element();
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

cudnnStatus_t Refuse(cudnnStatus_t status, const std::string& rule) {
  last_error = rule;
  Violate("cuDNN: " + rule);
  return status;
}

size_t RnnDesc::MatrixOffset(int pseudo_layer, int id) const {
  const size_t H = hidden_size, P = projection;
  const auto size_of = [&](int layer) { return 4 * H * in(layer) + 4 * H * P + (projects() ? P * H : 0); };
  size_t offset = 0;
  for (int p = 0; p < pseudo_layer; ++p) offset += size_of(p / directions());
  const size_t I = in(pseudo_layer / directions());
  if (id < 4) return offset + id * H * I;
  return offset + 4 * H * I + (id - 4) * H * P;  // 8 follows the four recurrent ones
}

size_t RnnDesc::BiasOffset(int pseudo_layer, int id) const {
  size_t matrices = 0;
  for (int p = 0; p < pseudo_layers(); ++p) {
    matrices += size_t(4) * hidden_size * (in(p / directions()) + projection) +
                (projects() ? size_t(projection) * hidden_size : 0);
  }
  return matrices + size_t(pseudo_layer) * 8 * hidden_size + size_t(id) * hidden_size;
}

size_t RnnDataDesc::At(int t, int b) const {
  if (layout == CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_UNPACKED) return size_t(t) * batch + b;
  if (layout == CUDNN_RNN_DATA_LAYOUT_BATCH_MAJOR_UNPACKED) return size_t(b) * max_length + t;
  size_t before = 0;
  for (int length : lengths) before += std::min(length, t);
  return before + b;
}

size_t RnnDataDesc::rows() const {
  if (layout != CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_PACKED) return size_t(max_length) * batch;
  return std::accumulate(lengths.begin(), lengths.end(), size_t{0});
}

size_t WorkspaceBytes(const RnnDesc& rnn, const RnnDataDesc& x) {
  return (size_t{1} << 16) + x.rows() * 4 * rnn.hidden_size * rnn.directions() * 4;
}

void BindDnn(DeviceApi* api) {
  api->cudnnCreate = [](cudnnHandle_t* handle) {
    LSTMD_ENTER("cudnnCreate");
    return Make<Handle>(handle);
  };
  api->cudnnDestroy = [](cudnnHandle_t handle) { return Drop<Handle>(handle); };
  api->cudnnSetStream = [](cudnnHandle_t handle, cudaStream_t stream) {
    LSTMD_ENTER("cudnnSetStream");
    reinterpret_cast<Handle*>(handle)->stream = stream;
    return CUDNN_STATUS_SUCCESS;
  };
  api->cudnnGetErrorString = [](cudnnStatus_t status) {
    return status == CUDNN_STATUS_BAD_PARAM ? "CUDNN_STATUS_BAD_PARAM" : "CUDNN_STATUS_NOT_SUPPORTED";
  };
  api->cudnnGetLastErrorString = [](char* message, size_t size) {
    std::strncpy(message, last_error.c_str(), size - 1);
    message[size - 1] = '\0';
  };
  api->cudnnCreateRNNDescriptor = [](cudnnRNNDescriptor_t* made) { return Make<RnnDesc>(made); };
  api->cudnnDestroyRNNDescriptor = [](cudnnRNNDescriptor_t gone) { return Drop<RnnDesc>(gone); };
  api->cudnnCreateRNNDataDescriptor = [](cudnnRNNDataDescriptor_t* made) { return Make<RnnDataDesc>(made); };
  api->cudnnDestroyRNNDataDescriptor = [](cudnnRNNDataDescriptor_t gone) { return Drop<RnnDataDesc>(gone); };
  api->cudnnCreateTensorDescriptor = [](cudnnTensorDescriptor_t* made) { return Make<TensorDesc>(made); };
  api->cudnnDestroyTensorDescriptor = [](cudnnTensorDescriptor_t gone) { return Drop<TensorDesc>(gone); };
  api->cudnnSetRNNDescriptor_v8 = &SetRnnDescriptor;
  api->cudnnSetRNNDataDescriptor = &SetRnnDataDescriptor;
  api->cudnnSetTensorNdDescriptor = &SetTensor;
  api->cudnnGetRNNTempSpaceSizes = &TempSpaceSizes;
  api->cudnnGetRNNWeightSpaceSize = &WeightSpaceSize;
  api->cudnnGetRNNWeightParams = &WeightParams;
}

}  // namespace lstmd::cudnn::emulation
