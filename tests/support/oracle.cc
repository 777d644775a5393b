// SPDX-License-Identifier: Apache-2.0
#include "tests/support/oracle.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "engine/half.h"

namespace lstmd::test {
namespace {

using Vector = std::vector<double>;

double RoundToBf16(double x) { return Bf16ToFloat(FloatToBf16(static_cast<float>(x))); }

// A row of a matrix as a model of this precision keeps it.
Vector KeptRow(Precision precision, const float* row, size_t size) {
  Vector kept(row, row + size);
  if (precision == Precision::kBf16Weights || precision == Precision::kBf16) {
    for (double& w : kept) w = RoundToBf16(w);
  } else if (precision == Precision::kInt8Weights) {
    float most = 0;
    for (size_t k = 0; k < size; ++k) most = std::max(most, std::abs(row[k]));
    const float scale = most / 127;
    const float inverse = scale == 0 ? 0 : 1 / scale;
    for (size_t k = 0; k < size; ++k) kept[k] = double{scale} * std::nearbyint(row[k] * inverse);
  }
  return kept;
}

// matrix [rows, x.size()]
Vector Multiply(const ModelSpec& spec, const FloatArray& matrix, Vector x, size_t rows) {
  if (spec.precision == Precision::kBf16) {
    for (double& value : x) value = RoundToBf16(value);
  }
  Vector y(rows, 0.0);
  for (size_t i = 0; i < rows; ++i) {
    const Vector row = KeptRow(spec.precision, matrix.data() + i * x.size(), x.size());
    for (size_t k = 0; k < x.size(); ++k) y[i] += row[k] * x[k];
  }
  return y;
}

struct State {
  Vector h, c;
};

State Cell(const ModelSpec& spec, const CellWeights& weights, const Activations& act, const Vector& x,
           const State& old) {
  const size_t n = spec.hidden_size;
  const Vector from_x = Multiply(spec, weights.w, x, 4 * n);
  const Vector from_h = Multiply(spec, weights.r, old.h, 4 * n);
  const auto sum = [&](size_t gate, size_t j) {
    return from_x[gate * n + j] + from_h[gate * n + j] + (spec.bias ? double{weights.bias[gate * n + j]} : 0.0);
  };
  const auto peephole = [&](size_t gate, size_t j, double c) {
    return spec.peepholes ? double{weights.peepholes[gate * n + j]} * c : 0.0;
  };
  const auto clip = [&](double z) {
    return spec.clip > 0 && !std::isnan(z) ? std::clamp(z, -double{spec.clip}, double{spec.clip}) : z;
  };
  State next{Vector(n), Vector(n)};
  for (size_t j = 0; j < n; ++j) {
    const double i = Activate(act.gate, clip(sum(0, j) + peephole(0, j, old.c[j])));
    const double f = spec.input_forget ? 1 - i : Activate(act.gate, clip(sum(1, j) + peephole(1, j, old.c[j])));
    const double g = Activate(act.cell, clip(sum(2, j)));
    next.c[j] = f * old.c[j] + i * g;
    const double o = Activate(act.gate, clip(sum(3, j) + peephole(2, j, next.c[j])));
    next.h[j] = o * Activate(act.output, next.c[j]);
  }
  if (spec.projection_size != 0) next.h = Multiply(spec, weights.projection, next.h, spec.projection_size);
  return next;
}

Vector Merge(const ModelSpec& spec, const Vector& forward, const Vector& backward) {
  Vector merged = forward;
  if (spec.merge_mode == MergeMode::kConcat) merged.insert(merged.end(), backward.begin(), backward.end());
  for (size_t j = 0; spec.merge_mode != MergeMode::kConcat && j < merged.size(); ++j) {
    if (spec.merge_mode == MergeMode::kSum) merged[j] += backward[j];
    if (spec.merge_mode == MergeMode::kMul) merged[j] *= backward[j];
    if (spec.merge_mode == MergeMode::kAve) merged[j] = (merged[j] + backward[j]) / 2;
  }
  return merged;
}

Vector ApplyHead(const ModelSpec& spec, const Weights& weights, const Vector& x) {
  if (!spec.head) return x;
  Vector y = Multiply(spec, weights.head_weight, x, spec.head->output_size);
  for (size_t j = 0; j < y.size(); ++j) {
    y[j] = Activate(spec.head->activation, y[j] + (spec.head->bias ? double{weights.head_bias[j]} : 0.0));
  }
  return y;
}

Vector Slice(const std::vector<float>& values, size_t index, size_t size) {
  return Vector(values.begin() + index * size, values.begin() + (index + 1) * size);
}

}  // namespace

double Activate(const Activation& activation, double x) {
  const double a = activation.alpha;
  const double b = activation.beta;
  switch (activation.function) {
    case Function::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case Function::kTanh:
      return std::tanh(x);
    case Function::kHardSigmoid:
      return std::isnan(x) ? x : std::clamp(a * x + b, 0.0, 1.0);
    case Function::kRelu:
      return std::isnan(x) ? x : std::max(x, 0.0);
    case Function::kLinear:
      return x;
    case Function::kSoftsign:
      return x / (1 + std::abs(x));
    case Function::kSoftplus:
      return x > 30 ? x : std::log1p(std::exp(x));
    case Function::kElu:
      return x > 0 ? x : a * std::expm1(x);
    case Function::kSelu:
      return 1.0507009873554804934 * (x > 0 ? x : 1.6732632423543772848 * std::expm1(x));
    case Function::kSilu:
      return x / (1 + std::exp(-x));
    case Function::kGelu:
      return x / 2 * std::erfc(-x / std::sqrt(2.0));
    case Function::kLeakyRelu:
      return x >= 0 ? x : a * x;
    case Function::kThresholdedRelu:
      return x > a ? x : 0;
    case Function::kScaledTanh:
      return a * std::tanh(b * x);
    case Function::kAffine:
      return a * x + b;
  }
  return x;
}

OracleResult RunOracle(const ModelSpec& spec, const Weights& weights, const OracleInput& input) {
  const size_t steps = input.steps;
  const size_t state_size = spec.hidden_state_size();
  const bool learned = input.h.empty() && spec.learned_initial_state;
  const auto valid = [&](size_t t) { return input.mask.empty() || input.mask[t] != 0; };
  const bool any_valid = input.mask.empty() || std::count(input.mask.begin(), input.mask.end(), 0) != int64_t(steps);

  OracleResult result;
  std::vector<Vector> layer;       // [T] outputs of the layer below
  std::vector<bool> empty(steps);  // nothing but zeros stands there
  Vector final_output;
  for (size_t t = 0; t < steps; ++t) layer.push_back(Slice(input.input, t, spec.input_size));
  for (uint32_t l = 0; l < spec.num_layers; ++l) {
    std::vector<std::vector<Vector>> outputs(spec.directions(), std::vector<Vector>(steps));
    std::vector<Vector> lasts(spec.directions(), Vector(state_size, 0.0));
    empty.assign(steps, true);
    for (uint32_t d = 0; d < spec.directions(); ++d) {
      const size_t cell = l * spec.directions() + d;
      State state{Vector(state_size, 0.0), Vector(spec.hidden_size, 0.0)};
      if (learned) {
        const std::vector<float> h(weights.initial_h.span().begin(), weights.initial_h.span().end());
        const std::vector<float> c(weights.initial_c.span().begin(), weights.initial_c.span().end());
        state = {Slice(h, cell, state_size), Slice(c, cell, spec.hidden_size)};
      } else if (!input.h.empty()) {
        state = {Slice(input.h, cell, state_size), Slice(input.c, cell, spec.hidden_size)};
      }
      const bool backward = spec.directions() == 2 ? d == 1 : spec.direction != Direction::kForward;
      bool any_before = false;
      for (size_t j = 0; j < steps; ++j) {
        const size_t t = backward ? steps - 1 - j : j;
        const size_t position = spec.direction == Direction::kGoBackwards ? j : t;
        const State next = Cell(spec, weights.cells[cell], spec.activations[d], layer[t], state);
        Vector& output = outputs[d][position];
        if (valid(t)) {
          state = next;
          lasts[d] = next.h;
          any_before = true;
        }
        if (valid(t) || spec.padding_output == PaddingOutput::kCell) {
          output = next.h;
          empty[position] = false;
        } else if (spec.padding_output == PaddingOutput::kRepeatLast) {
          output = lasts[d];
          empty[position] = empty[position] && !any_before;
        } else {
          output = Vector(state_size, 0.0);
        }
      }
      if (!any_valid && spec.zero_length_state == ZeroLengthState::kZeros) {
        state = {Vector(state_size, 0.0), Vector(spec.hidden_size, 0.0)};
      }
      result.h.insert(result.h.end(), state.h.begin(), state.h.end());
      result.c.insert(result.c.end(), state.c.begin(), state.c.end());
    }
    for (size_t t = 0; t < steps; ++t) {
      layer[t] = spec.directions() == 2 ? Merge(spec, outputs[0][t], outputs[1][t]) : outputs[0][t];
    }
    final_output = spec.directions() == 2 ? Merge(spec, lasts[0], lasts[1]) : lasts[0];
  }

  const Vector zeros(spec.output_size(), 0.0);
  result.last = result.final = zeros;
  for (size_t p = 0; p < steps; ++p) {
    const Vector output = empty[p] ? zeros : ApplyHead(spec, weights, layer[p]);
    result.all.insert(result.all.end(), output.begin(), output.end());
    if (valid(spec.direction == Direction::kGoBackwards ? steps - 1 - p : p)) result.last = output;
  }
  if (any_valid) result.final = ApplyHead(spec, weights, final_output);
  return result;
}

}  // namespace lstmd::test
