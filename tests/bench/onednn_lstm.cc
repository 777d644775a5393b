// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/onednn_lstm.h"

#include <random>
#include <unordered_map>
#include <vector>

#include "dnnl.hpp"

namespace lstmd::bench {

using dnnl::memory;
using Tag = dnnl::memory::format_tag;

struct OneDnnLstm::Impl {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::lstm_forward primitive;
  std::unordered_map<int, memory> arguments;
};

namespace {

memory::desc Desc(const memory::dims& dims, Tag tag, bool bf16 = false) {
  return memory::desc(dims, bf16 ? memory::data_type::bf16 : memory::data_type::f32, tag);
}

// Random numbers, put into the layout and type of `desc`.
memory Filled(const memory::desc& desc, Tag tag, const dnnl::engine& engine, dnnl::stream& stream, float scale) {
  memory plain(Desc(desc.dims(), tag), engine);
  std::mt19937 rng(1);
  std::uniform_real_distribution<float> uniform(-scale, scale);
  auto* data = static_cast<float*>(plain.get_data_handle());
  for (size_t i = 0; i < plain.get_desc().get_size() / sizeof(float); ++i) data[i] = uniform(rng);
  memory result(desc, engine);
  dnnl::reorder(plain, result).execute(stream, plain, result);
  stream.wait();
  return result;
}

}  // namespace

OneDnnLstm::OneDnnLstm(int steps, int batch, int hidden, bool bf16) : impl_(std::make_unique<Impl>()) {
  const dnnl::engine& engine = impl_->engine;
  const memory::dims layer_dims = {steps, batch, hidden};
  const memory::dims state_dims = {1, 1, batch, hidden};
  const memory::dims weights_dims = {1, 1, hidden, 4, hidden};
  const memory::desc layer = Desc(layer_dims, Tag::tnc, bf16);
  const memory::desc state = Desc(state_dims, Tag::ldnc, bf16);
  const memory::desc cell_state = Desc(state_dims, Tag::ldnc);
  const memory::desc weights = Desc(weights_dims, Tag::any, bf16);
  const memory::desc bias = Desc({1, 1, 4, hidden}, Tag::ldgo);
  const dnnl::lstm_forward::desc desc(dnnl::prop_kind::forward_inference,
                                      dnnl::rnn_direction::unidirectional_left2right, layer, state, cell_state, weights,
                                      weights, bias, layer, state, cell_state);
  const dnnl::lstm_forward::primitive_desc chosen(desc, engine);
  impl_->primitive = dnnl::lstm_forward(chosen);
  const auto filled = [&](const memory::desc& want, Tag tag, float scale) {
    return Filled(want, tag, engine, impl_->stream, scale);
  };
  impl_->arguments = {{DNNL_ARG_SRC_LAYER, filled(layer, Tag::tnc, 1)},
                      {DNNL_ARG_SRC_ITER, filled(state, Tag::ldnc, 1)},
                      {DNNL_ARG_SRC_ITER_C, filled(cell_state, Tag::ldnc, 1)},
                      {DNNL_ARG_WEIGHTS_LAYER, filled(chosen.weights_layer_desc(), Tag::ldigo, 0.05f)},
                      {DNNL_ARG_WEIGHTS_ITER, filled(chosen.weights_iter_desc(), Tag::ldigo, 0.05f)},
                      {DNNL_ARG_BIAS, filled(bias, Tag::ldgo, 0.05f)},
                      {DNNL_ARG_DST_LAYER, filled(layer, Tag::tnc, 1)},
                      {DNNL_ARG_DST_ITER, filled(state, Tag::ldnc, 1)},
                      {DNNL_ARG_DST_ITER_C, filled(cell_state, Tag::ldnc, 1)},
                      {DNNL_ARG_WORKSPACE, memory(chosen.workspace_desc(), engine)}};
}

OneDnnLstm::~OneDnnLstm() = default;

void OneDnnLstm::Run() {
  impl_->primitive.execute(impl_->stream, impl_->arguments);
  impl_->stream.wait();
}

std::string OneDnnLstm::Version() {
  const dnnl_version_t* version = dnnl_version();
  return "oneDNN " + std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
         std::to_string(version->patch);
}

}  // namespace lstmd::bench
