// SPDX-License-Identifier: Apache-2.0
//
// Time of steps and sequences on a GPU through the backend, host to host: copies of input and output included. Prints a
// JSON list of rows {bench, H, N, T, precision, us}; compare.py sets them beside PyTorch's.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <iostream>
#include <random>
#include <vector>

#include "engine/cudnn/cudnn_backend.h"
#include "engine/spec.h"
#include "engine/weights.h"

namespace lstmd {
namespace {

std::vector<float> Random(std::mt19937& rng, size_t size, float scale) {
  std::uniform_real_distribution<float> uniform(-scale, scale);
  std::vector<float> values(size);
  for (float& value : values) value = uniform(rng);
  return values;
}

struct Case {
  const char* name;
  uint32_t hidden, batch, steps;
  Precision precision;
};

// Median of 200 calls after 20 to warm up, microseconds.
double Measure(Backend& backend, const Case& c) {
  std::mt19937 rng(1);
  ModelSpec spec;
  spec.input_size = spec.hidden_size = c.hidden;
  spec.precision = c.precision;
  const float scale = 1.0f / std::sqrt(static_cast<float>(c.hidden));
  Weights weights;
  weights.cells.resize(1);
  weights.cells[0].w = Random(rng, size_t{4} * c.hidden * c.hidden, scale);
  weights.cells[0].r = Random(rng, size_t{4} * c.hidden * c.hidden, scale);
  weights.cells[0].bias = Random(rng, size_t{4} * c.hidden, scale);
  auto model = backend.Load(spec, weights);
  if (!model.ok()) return -1;
  auto pool = backend.CreateStatePool(**model);
  if (!pool.ok()) return -1;
  std::vector<Row> rows(c.batch);
  std::vector<Row*> pointers;
  std::vector<std::vector<float>> inputs, outputs;
  for (Row& row : rows) {
    inputs.push_back(Random(rng, size_t{c.steps} * c.hidden, 1));
    outputs.emplace_back(size_t{c.steps} * c.hidden);
    auto slot = (*pool)->Allocate();
    if (!slot.ok()) return -1;
    row.slot = *slot;
    row.input = inputs.back().data();
    row.output = outputs.back().data();
    row.steps = c.steps;
    row.budget = c.steps;
    pointers.push_back(&row);
  }
  std::vector<double> times;
  for (int i = 0; i < 220; ++i) {
    for (Row& row : rows) row.position = 0;
    const auto begin = std::chrono::steady_clock::now();
    if (!backend.Run(**model, **pool, absl::MakeConstSpan(pointers)).ok()) return -1;
    const auto end = std::chrono::steady_clock::now();
    if (i >= 20) times.push_back(std::chrono::duration<double, std::micro>(end - begin).count());
  }
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

int Main() {
  auto backend = cudnn::CreateCudnnBackend(cudnn::RealApi(), {}, "cuda:0");
  if (!backend.ok()) {
    std::cerr << "SKIPPED: " << backend.status().message() << "\n";
    return 77;
  }
  std::vector<Case> cases;
  for (uint32_t hidden : {128u, 512u, 1024u}) {
    for (uint32_t batch : {1u, 16u, 64u, 256u}) {
      for (Precision precision : {Precision::kF32, Precision::kBf16}) {
        cases.push_back({"step", hidden, batch, 1, precision});
        if (batch <= 64) cases.push_back({"sequence", hidden, batch, 50, precision});
      }
    }
  }
  std::cout << "[";
  for (size_t i = 0; i < cases.size(); ++i) {
    const Case& c = cases[i];
    std::cout << (i == 0 ? "\n" : ",\n") << R"( {"bench": ")" << c.name << R"(", "H": )" << c.hidden << R"(, "N": )"
              << c.batch << R"(, "T": )" << c.steps << R"(, "precision": ")"
              << (c.precision == Precision::kF32 ? "f32" : "bf16") << R"(", "us": )" << Measure(**backend, c) << "}";
  }
  std::cout << "\n]\n";
  return 0;
}

}  // namespace
}  // namespace lstmd

int main() { return lstmd::Main(); }
