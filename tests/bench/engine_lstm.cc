// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/engine_lstm.h"

#include <cstdlib>
#include <random>

namespace lstmd::bench {
namespace {

std::vector<float> Random(size_t size, float scale) {
  static std::mt19937 rng(1);
  std::uniform_real_distribution<float> uniform(-scale, scale);
  std::vector<float> values(size);
  for (float& value : values) value = uniform(rng);
  return values;
}

}  // namespace

EngineLstm::EngineLstm(Backend& backend, int steps, int batch, int hidden, Precision precision) : backend_(backend) {
  ModelSpec spec;
  spec.input_size = spec.hidden_size = hidden;
  spec.precision = precision;
  Weights weights;
  weights.cells.resize(1);
  const size_t size = size_t{4} * hidden * hidden;
  weights.cells[0].w = Random(size, 0.05f);
  weights.cells[0].r = Random(size, 0.05f);
  weights.cells[0].bias = Random(4 * hidden, 0.05f);
  model_ = *backend.Load(spec, weights);
  pool_ = *backend.CreateStatePool(*model_);
  input_ = Random(size_t{1} * batch * steps * hidden, 1);
  output_.resize(input_.size());
  rows_.resize(batch);
  for (int i = 0; i < batch; ++i) {
    rows_[i].slot = *pool_->Allocate();
    rows_[i].input = input_.data() + size_t{1} * i * steps * hidden;
    rows_[i].output = output_.data() + size_t{1} * i * steps * hidden;
    rows_[i].steps = rows_[i].budget = steps;
    pointers_.push_back(&rows_[i]);
  }
}

void EngineLstm::Run() {
  for (Row& row : rows_) row.position = 0;
  if (!backend_.Run(*model_, *pool_, pointers_).ok()) std::abort();
}

}  // namespace lstmd::bench
