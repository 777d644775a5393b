// SPDX-License-Identifier: Apache-2.0
//
// Weights in the one canonical layout that backends read. Every source (torch, Keras, MindSpore, Paddle, ONNX) is turned
// into this by engine/checkpoint.
#ifndef LSTMD_ENGINE_WEIGHTS_H_
#define LSTMD_ENGINE_WEIGHTS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/spec.h"

namespace lstmd {

// A read-only array of float32 that is owned or points into something mapped or shared; copies are cheap.
class FloatArray {
 public:
  FloatArray() = default;
  FloatArray(std::vector<float> values)  // NOLINT(google-explicit-constructor): a vector is an array
      : owner_(std::make_shared<const std::vector<float>>(std::move(values))),
        span_(*static_cast<const std::vector<float>*>(owner_.get())) {}
  // `values` stays valid as long as `owner` lives.
  FloatArray(absl::Span<const float> values, std::shared_ptr<const void> owner)
      : owner_(std::move(owner)), span_(values) {}

  const float* data() const { return span_.data(); }
  size_t size() const { return span_.size(); }
  bool empty() const { return span_.empty(); }
  float operator[](size_t i) const { return span_[i]; }
  absl::Span<const float> span() const { return span_; }

 private:
  std::shared_ptr<const void> owner_;
  absl::Span<const float> span_;
};

// One (layer, direction). Row blocks of w, r, bias are in gate order i, f, g, o, row-major. An array that the spec does
// not have is empty.
struct CellWeights {
  FloatArray w;           // [4H, I']
  FloatArray r;           // [4H, P or H]
  FloatArray bias;        // [4H], sources with two biases: their sum
  FloatArray projection;  // [P, H]
  FloatArray peepholes;   // [3H], order i, f, o
};

struct Weights {
  std::vector<CellWeights> cells;  // [L*D], index layer * D + direction
  FloatArray head_weight;          // [O, layer_output_size]
  FloatArray head_bias;            // [O]
  FloatArray initial_h;            // [L*D, P or H], only with learned_initial_state
  FloatArray initial_c;            // [L*D, H]
};

// OK if every array has the size that `spec` asks for; else INVALID_ARGUMENT / MODEL_WEIGHTS naming array, got, want.
// REQUIRES: Validate(spec) is OK.
absl::Status Validate(const ModelSpec& spec, const Weights& weights);

// Number of parameters: floats in all arrays.
uint64_t ParameterCount(const Weights& weights);

// SHA-256 (hex, 64 characters) over the spec's JSON and all arrays, large ones piece by piece on several threads: two
// models with the same hash compute the same.
std::string Fingerprint(const ModelSpec& spec, const Weights& weights);

}  // namespace lstmd

#endif  // LSTMD_ENGINE_WEIGHTS_H_
