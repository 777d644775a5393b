// SPDX-License-Identifier: Apache-2.0
//
// cudnnRNNForward of the emulation: its host-side checks, then a plain LSTM over its weight space.
#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/cudnn/kernel_bodies.h"
#include "tests/cudnn/emulated_dnn.h"

namespace lstmd::cudnn::emulation {
namespace {

Element ElementOf(cudnnDataType_t type) {
  return type == CUDNN_DATA_HALF ? Element::kF16 : type == CUDNN_DATA_BFLOAT16 ? Element::kBf16 : Element::kF32;
}

double SigmoidOf(double x) { return 1.0 / (1.0 + std::exp(-x)); }

struct Call {
  RnnDesc rnn;
  RnnDataDesc x_desc;
  const void* x;
  RnnDataDesc y_desc;
  void* y;
  const void* hx;
  void* hy;
  const void* cx;
  void* cy;
  const void* weights;
};

// One pseudo-layer over all rows; reads and writes [rows, features] in packed order of the descriptor.
void RunPseudoLayer(const Call& call, int pseudo, const std::vector<float>& in, std::vector<float>* out) {
  const RnnDesc& rnn = call.rnn;
  const Element element = ElementOf(rnn.type);
  const int D = rnn.directions(), H = rnn.hidden_size, P = rnn.projection, B = call.x_desc.batch;
  const int I = rnn.in(pseudo / D);
  const bool backward = pseudo % D == 1;
  const auto weight = [&](size_t at) { return double(LoadElement(call.weights, int64_t(at), element)); };
  for (int b = 0; b < B; ++b) {
    const int length = call.x_desc.lengths[b];
    std::vector<double> h(P), c(H), next(H);
    const int64_t h_at = (int64_t(pseudo) * B + b) * P;
    const int64_t c_at = (int64_t(pseudo) * B + b) * H;
    for (int j = 0; j < P; ++j) h[j] = call.hx != nullptr ? LoadElement(call.hx, h_at + j, element) : 0.0f;
    for (int j = 0; j < H; ++j) c[j] = call.cx != nullptr ? LoadElement(call.cx, c_at + j, element) : 0.0f;
    for (int step = 0; step < length; ++step) {
      const int t = backward ? length - 1 - step : step;
      const float* x = in.data() + call.x_desc.At(t, b) * I;
      for (int j = 0; j < H; ++j) {
        double z[4];
        for (int gate = 0; gate < 4; ++gate) {
          z[gate] = weight(rnn.BiasOffset(pseudo, gate) + j) + weight(rnn.BiasOffset(pseudo, gate + 4) + j);
          const size_t w = rnn.MatrixOffset(pseudo, gate) + size_t(j) * I;
          const size_t r = rnn.MatrixOffset(pseudo, gate + 4) + size_t(j) * P;
          for (int k = 0; k < I; ++k) z[gate] += weight(w + k) * x[k];
          for (int k = 0; k < P; ++k) z[gate] += weight(r + k) * h[k];
        }
        c[j] = SigmoidOf(z[1]) * c[j] + SigmoidOf(z[0]) * std::tanh(z[2]);
        next[j] = SigmoidOf(z[3]) * std::tanh(c[j]);
      }
      for (int j = 0; j < P; ++j) {
        double value = rnn.projects() ? 0.0 : next[j];
        for (int k = 0; k < H && rnn.projects(); ++k) {
          value += weight(rnn.MatrixOffset(pseudo, 8) + size_t(j) * H + k) * next[k];
        }
        h[j] = value;
        (*out)[call.x_desc.At(t, b) * D * P + (backward ? P : 0) + j] = static_cast<float>(value);
      }
    }
    for (int j = 0; j < P && call.hy != nullptr; ++j) StoreElement(call.hy, h_at + j, element, float(h[j]));
    for (int j = 0; j < H && call.cy != nullptr; ++j) StoreElement(call.cy, c_at + j, element, float(c[j]));
  }
}

void Run(const Call& call) {
  const RnnDesc& rnn = call.rnn;
  const Element element = ElementOf(rnn.type);
  const size_t rows = call.x_desc.rows();
  std::vector<float> in(rows * rnn.input_size);
  for (size_t i = 0; i < in.size(); ++i) in[i] = LoadElement(call.x, int64_t(i), element);
  for (int layer = 0; layer < rnn.layers; ++layer) {
    std::vector<float> out(rows * rnn.directions() * rnn.projection, 0.0f);
    for (int d = 0; d < rnn.directions(); ++d) RunPseudoLayer(call, layer * rnn.directions() + d, in, &out);
    in = std::move(out);
  }
  for (size_t i = 0; i < in.size(); ++i) StoreElement(call.y, int64_t(i), element, in[i]);
}

bool IsPackedState(const TensorDesc* desc, const RnnDesc& rnn, int batch, int size) {
  return desc != nullptr && desc->type == rnn.type &&
         desc->dims == std::vector<int>{rnn.pseudo_layers(), batch, size} &&
         desc->strides == std::vector<int>{batch * size, size, 1};
}

cudnnStatus_t Forward(cudnnHandle_t handle, cudnnRNNDescriptor_t rnn_desc, cudnnForwardMode_t, const int32_t*,
                      cudnnRNNDataDescriptor_t x_handle, const void* x, cudnnRNNDataDescriptor_t y_handle, void* y,
                      cudnnTensorDescriptor_t h_handle, const void* hx, void* hy, cudnnTensorDescriptor_t c_handle,
                      const void* cx, void* cy, size_t weight_bytes, const void* weights, size_t workspace_bytes,
                      void* workspace, size_t, void*) {
  if (const auto entered = Enter("cudnnRNNForward"); entered.fail) return static_cast<cudnnStatus_t>(entered.error);
  const auto* rnn = reinterpret_cast<RnnDesc*>(rnn_desc);
  const auto* x_desc = reinterpret_cast<RnnDataDesc*>(x_handle);
  const auto* y_desc = reinterpret_cast<RnnDataDesc*>(y_handle);
  const auto* h_desc = reinterpret_cast<TensorDesc*>(h_handle);
  const auto* c_desc = reinterpret_cast<TensorDesc*>(c_handle);
  if (rnn == nullptr || !rnn->set || x_desc == nullptr || !x_desc->set || y_desc == nullptr || !y_desc->set) {
    return Refuse(CUDNN_STATUS_BAD_PARAM, "a descriptor was not set");
  }
  if (IsCapturing()) return Refuse(CUDNN_STATUS_NOT_SUPPORTED, "cudnnRNNForward during capture");
  if (x_desc->layout != y_desc->layout || x_desc->type != y_desc->type || x_desc->type != rnn->type ||
      x_desc->lengths != y_desc->lengths || x_desc->max_length != y_desc->max_length) {
    return Refuse(CUDNN_STATUS_BAD_PARAM, "x and y differ in layout, type or lengths");
  }
  if (x_desc->vector_size != rnn->input_size || y_desc->vector_size != rnn->directions() * rnn->projection) {
    return Refuse(CUDNN_STATUS_BAD_PARAM, "vector size of x or y");
  }
  const bool variable = std::any_of(x_desc->lengths.begin(), x_desc->lengths.end(),
                                    [&](int length) { return length != x_desc->max_length; });
  if (variable && rnn->algo != CUDNN_RNN_ALGO_STANDARD) {
    return Refuse(CUDNN_STATUS_NOT_SUPPORTED, "variable lengths need the standard algorithm");
  }
  if (variable && x_desc->layout != CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_PACKED && (rnn->flags & 1u) == 0) {
    return Refuse(CUDNN_STATUS_BAD_PARAM, "variable lengths in an unpacked layout need padded IO");
  }
  if (((hx != nullptr || hy != nullptr) && !IsPackedState(h_desc, *rnn, x_desc->batch, rnn->projection)) ||
      ((cx != nullptr || cy != nullptr) && !IsPackedState(c_desc, *rnn, x_desc->batch, rnn->hidden_size))) {
    return Refuse(CUDNN_STATUS_BAD_PARAM, "a state's descriptor is missing or not [L*D, B, size] fully packed");
  }
  if (weight_bytes < rnn->WeightCount() * rnn->element() || !IsDeviceRange(weights, weight_bytes)) {
    return Refuse(CUDNN_STATUS_BAD_PARAM, "weight space too small");
  }
  if (workspace_bytes < WorkspaceBytes(*rnn, *x_desc) || !IsDeviceRange(workspace, workspace_bytes)) {
    return Refuse(CUDNN_STATUS_BAD_PARAM, "workspace too small");
  }
  const size_t element = rnn->element();
  if (!IsDeviceRange(x, x_desc->rows() * rnn->input_size * element) ||
      !IsDeviceRange(y, y_desc->rows() * y_desc->vector_size * element)) {
    return Refuse(CUDNN_STATUS_BAD_PARAM, "x or y reaches out of its allocation");
  }
  for (auto [state, size] : {std::pair<const void*, int>(hx, rnn->projection),
                             {hy, rnn->projection},
                             {cx, rnn->hidden_size},
                             {cy, rnn->hidden_size}}) {
    if (state != nullptr && !IsDeviceRange(state, size_t(rnn->pseudo_layers()) * x_desc->batch * size * element)) {
      return Refuse(CUDNN_STATUS_BAD_PARAM, "a state reaches out of its allocation");
    }
  }
  const Call call{*rnn, *x_desc, x, *y_desc, y, hx, hy, cx, cy, weights};
  return Enqueue(reinterpret_cast<Handle*>(handle)->stream, [call] { Run(call); }) ? CUDNN_STATUS_SUCCESS
                                                                                   : CUDNN_STATUS_EXECUTION_FAILED;
}

}  // namespace

void BindDnnForward(DeviceApi* api) { api->cudnnRNNForward = &Forward; }

}  // namespace lstmd::cudnn::emulation
