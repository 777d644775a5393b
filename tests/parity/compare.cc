// SPDX-License-Identifier: Apache-2.0
#include "tests/parity/compare.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/parity/case_model.h"
#include "tests/parity/case_run.h"
#include "tests/support/oracle.h"

namespace lstmd::parity {
namespace {

double Tolerance(const Case& c, double want) { return c.atol + c.rtol * std::abs(want); }

// Adds one recorded result to the comparison.
void CompareOne(const Case& c, const std::string& name, const std::vector<float>& want, const std::vector<float>& got,
                Comparison* out, double* squares) {
  size_t beyond = 0, odd = 0;
  for (size_t k = 0; k < want.size(); ++k) {
    const double w = want[k], g = got[k];
    if (!std::isfinite(w) || !std::isfinite(g)) {
      odd += std::isnan(w) ? !std::isnan(g) : w != g;
      continue;
    }
    const double error = std::abs(g - w);
    *squares += error * error;
    out->absolute = std::max(out->absolute, error);
    if (std::abs(w) > c.atol) out->relative = std::max(out->relative, error / std::abs(w));
    beyond += error > Tolerance(c, w);
  }
  if (odd != 0) out->mistake = absl::StrCat(name, ": NaN or Inf at ", odd, " other places");
  if (beyond != 0) out->mistake = absl::StrCat(name, ": ", beyond, " of ", want.size(), " beyond tolerance");
}

// Rows of the oracle's results that differ by more than a tenth of the tolerance between the two models.
bool Moves(const Case& c, const std::vector<double>& a, const std::vector<double>& b) {
  for (size_t k = 0; k < a.size(); ++k) {
    if (std::isfinite(a[k]) && std::abs(a[k] - b[k]) > 0.1 * Tolerance(c, a[k])) return true;
  }
  return false;
}

bool HasNan(const Bytes& bytes) {
  const std::vector<float> values = ToFloats(bytes);
  return std::any_of(values.begin(), values.end(), [](float v) { return std::isnan(v); });
}

// Whether a NaN stands where the case has padding.
bool NanInPadding(const Case& c, const Call& call) {
  const Bytes x = call.time_major ? Permute(call.input, {1, 0, 2}) : call.input;
  for (int64_t row = 0; row < call.rows; ++row) {
    for (int64_t t = 0; t < call.steps && c.has_lengths; ++t) {
      if (!call.Valid(row, t) && HasNan(Slice(Slice(x, 0, row), 0, t))) return true;
    }
  }
  return false;
}

}  // namespace

absl::StatusOr<Comparison> Compare(const Case& c, const std::map<std::string, Bytes>& got) {
  Comparison out;
  double squares = 0;
  size_t count = 0;
  for (const std::string& name : c.outputs) {
    absl::StatusOr<Values> want = ReadTensor(c, name);
    if (!want.ok()) return want.status();
    const auto found = got.find(name);
    if (found == got.end()) return absl::InvalidArgumentError(absl::StrCat("no result is called ", name));
    const std::vector<int64_t> shape(want->shape.begin(), want->shape.end());
    if (found->second.shape != shape) {
      out.mistake = absl::StrCat(name, ": shape [", absl::StrJoin(found->second.shape, ", "), "], recorded [",
                                 absl::StrJoin(shape, ", "), "]");
      return out;
    }
    CompareOne(c, name, want->data, ToFloats(found->second), &out, &squares);
    count += want->data.size();
  }
  out.rms = std::sqrt(squares / static_cast<double>(std::max<size_t>(count, 1)));
  return out;
}

absl::StatusOr<std::string> WhyInsensitive(const Case& c, float scale) {
  absl::StatusOr<ModelFiles> plain = BuildModel(c, 1.0f);
  if (!plain.ok()) return plain.status();
  absl::StatusOr<ModelFiles> scaled = BuildModel(c, scale);
  if (!scaled.ok()) return scaled.status();
  absl::StatusOr<Call> call = ReadCall(c, 0);
  if (!call.ok()) return call.status();
  const int time = call->time_major || !call->batched ? 0 : 1;
  for (int64_t row = 0; row < call->rows; ++row) {
    test::OracleInput input;
    input.steps = static_cast<uint32_t>(call->steps);
    input.input = ToFloats(call->batched ? Slice(call->input, 1 - time, row) : call->input);
    for (int64_t t = 0; t < call->steps; ++t) input.mask.push_back(call->Valid(row, t) ? 1 : 0);
    if (call->state) {
      input.h = ToFloats(Slice(call->state->first, 1, row));
      input.c = ToFloats(Slice(call->state->second, 1, row));
    }
    const test::OracleResult a = test::RunOracle(plain->spec, plain->weights, input);
    const test::OracleResult b = test::RunOracle(scaled->spec, scaled->weights, input);
    if (Moves(c, a.all, b.all) || Moves(c, a.h, b.h) || Moves(c, a.c, b.c)) return std::string();
  }
  return std::string("every result is zero, saturated or NaN");
}

std::string WhyFrameworkDefect(const Case& c) {
  const absl::StatusOr<Call> call = ReadCall(c, 0);
  if (!call.ok()) return "";
  if (c.padding_rule == "multiply" && NanInPadding(c, *call)) {
    return "Paddle masks by multiplying, so the recorded NaN is from the padding";
  }
  if (c.ort_nan_rule && HasNan(call->input)) return "ONNX Runtime turns a NaN before a gate into its clip bound";
  return "";
}

std::string WhyNotInt8(const Case& c) {
  const absl::StatusOr<Call> call = ReadCall(c, 0);
  const absl::StatusOr<ModelFiles> model = BuildModel(c, 1.0f);
  if (!call.ok() || !model.ok()) return "";
  const std::vector<float> x = ToFloats(call->input);
  const size_t size = c.spec.input_size;
  for (size_t i = 0; i < x.size(); ++i) {
    if (!std::isinf(x[i])) continue;
    for (uint32_t direction = 0; direction < c.spec.directions(); ++direction) {
      const absl::Span<const float> w = model->weights.cells[direction].w.span();
      for (size_t row = 0; row < w.size(); row += size) {
        float most = 0;
        for (size_t k = 0; k < size; ++k) most = std::max(most, std::abs(w[row + k]));
        const float weight = std::abs(w[row + i % size]);
        if (weight != 0 && weight < most / 127 / 2) return "an infinite input meets a weight that int8 rounds to zero";
      }
    }
  }
  return "";
}

}  // namespace lstmd::parity
