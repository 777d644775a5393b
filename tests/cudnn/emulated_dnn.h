// SPDX-License-Identifier: Apache-2.0
//
// Descriptors of the emulated cuDNN, and where its weights lie.
#ifndef LSTMD_TESTS_CUDNN_EMULATED_DNN_H_
#define LSTMD_TESTS_CUDNN_EMULATED_DNN_H_

#include <string>
#include <vector>

#include "tests/cudnn/emulation.h"

namespace lstmd::cudnn::emulation {

struct Handle {
  cudaStream_t stream = nullptr;
};

struct RnnDesc {
  bool set = false;
  cudnnRNNAlgo_t algo;
  cudnnRNNMode_t mode;
  cudnnRNNBiasMode_t bias;
  cudnnDirectionMode_t direction;
  cudnnRNNInputMode_t input;
  cudnnDataType_t type;
  int input_size = 0, hidden_size = 0, projection = 0, layers = 0;
  uint32_t flags = 0;

  int directions() const { return direction == CUDNN_BIDIRECTIONAL ? 2 : 1; }
  int pseudo_layers() const { return layers * directions(); }
  // Features that a layer reads.
  int in(int layer) const { return layer == 0 ? input_size : directions() * projection; }
  bool projects() const { return projection != hidden_size; }
  size_t element() const { return type == CUDNN_DATA_FLOAT ? 4 : 2; }

  // In elements from the start of the weight space. Matrices: pseudo-layer by pseudo-layer, linear layers 0-3 [H, in],
  // 4-7 [H, P], 8 [P, H]; then all biases, per pseudo-layer the input ones and the recurrent ones.
  size_t MatrixOffset(int pseudo_layer, int id) const;
  size_t BiasOffset(int pseudo_layer, int id) const;
  size_t WeightCount() const { return BiasOffset(pseudo_layers(), 0); }
};

struct RnnDataDesc {
  bool set = false;
  cudnnDataType_t type;
  cudnnRNNDataLayout_t layout;
  int max_length = 0, batch = 0, vector_size = 0;
  std::vector<int> lengths;

  // Row of (t, b) in the data.
  size_t At(int t, int b) const;
  size_t rows() const;
};

struct TensorDesc {
  cudnnDataType_t type;
  std::vector<int> dims, strides;
};

// Bytes of workspace that Forward wants: what the real one asked for was of this form.
size_t WorkspaceBytes(const RnnDesc& rnn, const RnnDataDesc& x);

// Names the broken rule and returns the status.
cudnnStatus_t Refuse(cudnnStatus_t status, const std::string& rule);

}  // namespace lstmd::cudnn::emulation

#endif  // LSTMD_TESTS_CUDNN_EMULATED_DNN_H_
