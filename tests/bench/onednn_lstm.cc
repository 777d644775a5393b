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

memory::desc Desc(const memory::dims& dims, Tag tag) { return memory::desc(dims, memory::data_type::f32, tag); }

memory Filled(const memory::desc& desc, const dnnl::engine& engine, float scale) {
  memory result(desc, engine);
  std::mt19937 rng(1);
  std::uniform_real_distribution<float> uniform(-scale, scale);
  auto* data = static_cast<float*>(result.get_data_handle());
  for (size_t i = 0; i < desc.get_size() / sizeof(float); ++i) data[i] = uniform(rng);
  return result;
}

}  // namespace

OneDnnLstm::OneDnnLstm(int steps, int batch, int hidden) : impl_(std::make_unique<Impl>()) {
  const dnnl::engine& engine = impl_->engine;
  const memory::dims layer = {steps, batch, hidden};
  const memory::dims state = {1, 1, batch, hidden};
  const memory::dims weights = {1, 1, hidden, 4, hidden};
  const memory::desc bias = Desc({1, 1, 4, hidden}, Tag::ldgo);
  const dnnl::lstm_forward::desc desc(
      dnnl::prop_kind::forward_inference, dnnl::rnn_direction::unidirectional_left2right, Desc(layer, Tag::tnc),
      Desc(state, Tag::ldnc), Desc(state, Tag::ldnc), Desc(weights, Tag::any), Desc(weights, Tag::any), bias,
      Desc(layer, Tag::tnc), Desc(state, Tag::ldnc), Desc(state, Tag::ldnc));
  const dnnl::lstm_forward::primitive_desc chosen(desc, engine);
  impl_->primitive = dnnl::lstm_forward(chosen);
  const auto packed = [&](const memory::desc& want) {
    memory plain = Filled(Desc(weights, Tag::ldigo), engine, 0.05f);
    memory result(want, engine);
    dnnl::reorder(plain, result).execute(impl_->stream, plain, result);
    impl_->stream.wait();
    return result;
  };
  impl_->arguments = {{DNNL_ARG_SRC_LAYER, Filled(Desc(layer, Tag::tnc), engine, 1)},
                      {DNNL_ARG_SRC_ITER, Filled(Desc(state, Tag::ldnc), engine, 1)},
                      {DNNL_ARG_SRC_ITER_C, Filled(Desc(state, Tag::ldnc), engine, 1)},
                      {DNNL_ARG_WEIGHTS_LAYER, packed(chosen.weights_layer_desc())},
                      {DNNL_ARG_WEIGHTS_ITER, packed(chosen.weights_iter_desc())},
                      {DNNL_ARG_BIAS, Filled(bias, engine, 0.05f)},
                      {DNNL_ARG_DST_LAYER, Filled(Desc(layer, Tag::tnc), engine, 1)},
                      {DNNL_ARG_DST_ITER, Filled(Desc(state, Tag::ldnc), engine, 1)},
                      {DNNL_ARG_DST_ITER_C, Filled(Desc(state, Tag::ldnc), engine, 1)},
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
