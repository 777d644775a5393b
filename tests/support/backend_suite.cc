// SPDX-License-Identifier: Apache-2.0
#include "tests/support/backend_suite.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace lstmd::test {
namespace {

// Gates are from 0 to 1 here: others make states, and with them rounding errors, grow exponentially.
Activation RandomActivation(Rng& rng, bool gate) {
  constexpr Function kGates[] = {Function::kSigmoid, Function::kHardSigmoid};
  const auto function =
      gate ? kGates[Draw(rng, 0, 1)] : static_cast<Function>(Draw(rng, 0, static_cast<int>(Function::kAffine)));
  switch (function) {
    case Function::kHardSigmoid:
      return {function, 0.2f, 0.5f};
    case Function::kElu:
      return {function, 0.7f, 0};
    case Function::kLeakyRelu:
      return {function, 0.1f, 0};
    // Discontinuous: only where the argument can be kept away from the threshold, see the sweep of activations.
    case Function::kThresholdedRelu:
      return {Function::kRelu, 0, 0};
    case Function::kScaledTanh:
      return {function, 0.9f, 0.8f};
    case Function::kAffine:
      return {function, 0.3f, 0.1f};
    default:
      return {function, 0, 0};
  }
}

Activations RandomActivations(Rng& rng) {
  return {RandomActivation(rng, true), RandomActivation(rng, false), RandomActivation(rng, false)};
}

}  // namespace

void PrintTo(const BackendRow& row, std::ostream* out) { *out << row.name; }

std::string BackendRowName(const testing::TestParamInfo<BackendRow>& info) { return info.param.name; }

uint64_t Draw(Rng& rng, uint64_t low, uint64_t high) { return std::uniform_int_distribution<uint64_t>(low, high)(rng); }

std::vector<float> RandomFloats(Rng& rng, size_t size, float scale) {
  std::uniform_real_distribution<float> uniform(-scale, scale);
  std::vector<float> values(size);
  for (float& value : values) value = uniform(rng);
  return values;
}

Weights RandomWeights(Rng& rng, const ModelSpec& spec) {
  const size_t hidden = spec.hidden_size;
  const size_t state = spec.hidden_state_size();
  const float scale = 1 / std::sqrt(static_cast<float>(state));
  Weights weights;
  for (uint32_t i = 0; i < spec.cells(); ++i) {
    CellWeights cell;
    cell.w = RandomFloats(rng, 4 * hidden * spec.layer_input_size(i / spec.directions()), scale);
    cell.r = RandomFloats(rng, 4 * hidden * state, scale);
    if (spec.bias) cell.bias = RandomFloats(rng, 4 * hidden, scale);
    if (spec.projection_size != 0) cell.projection = RandomFloats(rng, state * hidden, scale);
    if (spec.peepholes) cell.peepholes = RandomFloats(rng, 3 * hidden, 0.3f);
    weights.cells.push_back(std::move(cell));
  }
  if (spec.head) {
    weights.head_weight = RandomFloats(rng, spec.head->output_size * spec.layer_output_size(), scale);
    if (spec.head->bias) weights.head_bias = RandomFloats(rng, spec.head->output_size, 1);
  }
  if (spec.learned_initial_state) {
    weights.initial_h = RandomFloats(rng, spec.h_size(), 1);
    weights.initial_c = RandomFloats(rng, spec.c_size(), 1);
  }
  return weights;
}

Sequence RandomSequence(Rng& rng, const ModelSpec& spec, uint32_t steps) {
  Sequence sequence;
  sequence.in.steps = steps;
  sequence.in.input = RandomFloats(rng, size_t{steps} * spec.input_size, 1.5f);
  sequence.mode = static_cast<OutputMode>(Draw(rng, 0, 2));
  const uint64_t kind = Draw(rng, 0, 3);
  if (kind == 1) {  // a length
    sequence.in.mask.assign(steps, 0);
    std::fill_n(sequence.in.mask.begin(), Draw(rng, 0, steps), 1);
  } else if (kind == 2) {  // holes
    for (uint32_t t = 0; t < steps; ++t) sequence.in.mask.push_back(Draw(rng, 0, 2) != 0);
  }
  if (Draw(rng, 0, 1) != 0) {
    sequence.in.h = RandomFloats(rng, spec.h_size(), 1);
    sequence.in.c = RandomFloats(rng, spec.c_size(), 1);
  }
  return sequence;
}

ModelSpec RandomSpec(Rng& rng, uint32_t input, uint32_t hidden, uint32_t layers) {
  ModelSpec spec;
  spec.input_size = input;
  spec.hidden_size = hidden;
  spec.num_layers = layers;
  spec.direction = static_cast<Direction>(Draw(rng, 0, 3));
  if (spec.directions() == 2) spec.merge_mode = static_cast<MergeMode>(Draw(rng, 0, 3));
  if (hidden > 1 && Draw(rng, 0, 2) == 0) spec.projection_size = Draw(rng, 1, hidden - 1);
  spec.bias = Draw(rng, 0, 3) != 0;
  const bool any_activations = Draw(rng, 0, 1) != 0;
  if (any_activations) spec.activations = {RandomActivations(rng), RandomActivations(rng)};
  if (spec.directions() == 1) spec.activations[1] = spec.activations[0];
  spec.peepholes = Draw(rng, 0, 3) == 0;
  // Without a bound, the candidate too may grow exponentially.
  if (any_activations || Draw(rng, 0, 3) == 0) spec.clip = 0.8f;
  spec.input_forget = Draw(rng, 0, 3) == 0;
  if (Draw(rng, 0, 2) == 0) {
    Head head;
    head.output_size = Draw(rng, 1, 70);
    head.bias = Draw(rng, 0, 1) != 0;
    if (Draw(rng, 0, 1) != 0) head.activation = RandomActivation(rng, false);
    spec.head = head;
  }
  spec.learned_initial_state = Draw(rng, 0, 2) == 0;
  spec.padding_output = static_cast<PaddingOutput>(Draw(rng, 0, 2));
  spec.zero_length_state = static_cast<ZeroLengthState>(Draw(rng, 0, 1));
  return spec;
}

std::string Describe(const ModelSpec& spec) { return SpecToJson(spec); }

void BackendSuite::SetUp() {
  absl::StatusOr<std::unique_ptr<Backend>> backend = GetParam().create();
  ASSERT_TRUE(backend.ok()) << backend.status();
  backend_ = *std::move(backend);
}

bool BackendSuite::Load(const ModelSpec& spec, const Weights& weights, LoadedModel& loaded) {
  loaded.spec = spec;
  loaded.spec.precision = GetParam().precision;
  loaded.weights = weights;
  EXPECT_TRUE(Validate(loaded.spec).ok()) << Validate(loaded.spec);
  EXPECT_TRUE(Validate(loaded.spec, weights).ok()) << Validate(loaded.spec, weights);
  const absl::Status supported = backend_->Supports(loaded.spec);
  if (!supported.ok()) {
    EXPECT_EQ(supported.code(), absl::StatusCode::kUnimplemented) << supported;
    return false;
  }
  absl::StatusOr<std::unique_ptr<DeviceModel>> model = backend_->Load(loaded.spec, weights);
  EXPECT_TRUE(model.ok()) << model.status();
  if (!model.ok()) return false;
  loaded.model = *std::move(model);
  absl::StatusOr<std::unique_ptr<StatePool>> pool = backend_->CreateStatePool(*loaded.model);
  EXPECT_TRUE(pool.ok()) << pool.status();
  if (!pool.ok()) return false;
  loaded.pool = *std::move(pool);
  return true;
}

std::vector<SequenceResult> BackendSuite::Run(LoadedModel& loaded, const std::vector<Sequence>& sequences,
                                              const Plan& plan) {
  const ModelSpec& spec = loaded.spec;
  std::vector<SequenceResult> results(sequences.size());
  std::vector<Row> rows(sequences.size());
  for (size_t i = 0; i < sequences.size(); ++i) {
    const OracleInput& in = sequences[i].in;
    const size_t outputs = sequences[i].mode == OutputMode::kAll ? in.steps : 1;
    results[i].output.assign(outputs * spec.output_size(), -77.0f);
    results[i].h.resize(spec.h_size());
    results[i].c.resize(spec.c_size());
    absl::StatusOr<Slot> slot = loaded.pool->Allocate();
    EXPECT_TRUE(slot.ok()) << slot.status();
    if (!in.h.empty()) {
      EXPECT_TRUE(loaded.pool->Write(*slot, in.h, in.c).ok());
    }
    rows[i].slot = *slot;
    rows[i].input = in.input.data();
    rows[i].steps = in.steps;
    rows[i].mask = in.mask.empty() ? nullptr : in.mask.data();
    rows[i].output = results[i].output.data();
    rows[i].output_mode = sequences[i].mode;
  }
  const auto run = [&](std::vector<size_t> which) {
    for (size_t call = 0; !which.empty(); ++call) {
      std::vector<Row*> batch;
      for (size_t i : which) {
        rows[i].budget = plan.budget ? plan.budget(i, call) : rows[i].units(spec);
        if (rows[i].budget != 0) batch.push_back(&rows[i]);
      }
      if (batch.empty()) continue;
      const absl::Status status = backend_->Run(*loaded.model, *loaded.pool, batch);
      ASSERT_TRUE(status.ok()) << status;
      which.erase(
          std::remove_if(which.begin(), which.end(), [&](size_t i) { return rows[i].position >= rows[i].units(spec); }),
          which.end());
    }
  };
  std::vector<size_t> all;
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (plan.together) {
      all.push_back(i);
    } else {
      run({i});
    }
  }
  run(all);
  for (size_t i = 0; i < sequences.size(); ++i) {
    EXPECT_EQ(rows[i].position, rows[i].units(spec));
    EXPECT_TRUE(loaded.pool->Read(rows[i].slot, absl::MakeSpan(results[i].h), absl::MakeSpan(results[i].c)).ok());
    loaded.pool->Free(rows[i].slot);
  }
  return results;
}

SequenceResult BackendSuite::RunAsSteps(LoadedModel& loaded, const Sequence& sequence) {
  const ModelSpec& spec = loaded.spec;
  SequenceResult all;
  OracleInput step = sequence.in;
  step.steps = 1;
  step.mask.clear();
  for (uint32_t t = 0; t < sequence.in.steps; ++t) {
    const float* x = sequence.in.input.data() + size_t{t} * spec.input_size;
    step.input.assign(x, x + spec.input_size);
    const SequenceResult result = Run(loaded, {{step, OutputMode::kAll}}).front();
    all.output.insert(all.output.end(), result.output.begin(), result.output.end());
    all.h = step.h = result.h;
    all.c = step.c = result.c;
  }
  return all;
}

void BackendSuite::ExpectClose(const std::vector<double>& want, const std::vector<float>& got, double scale,
                               const char* what) {
  ASSERT_EQ(want.size(), got.size()) << what;
  for (size_t i = 0; i < want.size(); ++i) {
    if (std::isnan(want[i])) {
      EXPECT_TRUE(std::isnan(got[i])) << what << "[" << i << "]: got " << got[i] << ", want NaN";
    } else if (std::isinf(want[i])) {
      EXPECT_EQ(want[i], got[i]) << what << "[" << i << "]";
    } else {
      EXPECT_NEAR(want[i], got[i], scale * GetParam().absolute + GetParam().relative * std::abs(want[i]))
          << what << "[" << i << "]";
    }
  }
}

void BackendSuite::ExpectMatchesOracle(const LoadedModel& loaded, const Sequence& sequence, const SequenceResult& got) {
  const OracleResult want = RunOracle(loaded.spec, loaded.weights, sequence.in);
  // Unbounded activations: small results are sums of large ones.
  double scale = 1;
  for (const std::vector<double>* values : {&want.all, &want.h, &want.c}) {
    for (double value : *values) scale = std::isfinite(value) ? std::max(scale, std::abs(value)) : scale;
  }
  ExpectClose(sequence.mode == OutputMode::kAll    ? want.all
              : sequence.mode == OutputMode::kLast ? want.last
                                                   : want.final,
              got.output, scale, "output");
  ExpectClose(want.h, got.h, scale, "h");
  ExpectClose(want.c, got.c, scale, "c");
}

void BackendSuite::ExpectSame(const SequenceResult& want, const SequenceResult& got) {
  const auto same = [&](const std::vector<float>& a, const std::vector<float>& b, const char* what) {
    ASSERT_EQ(a.size(), b.size()) << what;
    if (!backend_->batch_invariant()) return ExpectClose(std::vector<double>(a.begin(), a.end()), b, 1, what);
    for (size_t i = 0; i < a.size(); ++i) {
      uint32_t bits_a, bits_b;
      std::memcpy(&bits_a, &a[i], sizeof(bits_a));
      std::memcpy(&bits_b, &b[i], sizeof(bits_b));
      ASSERT_EQ(bits_a, bits_b) << what << "[" << i << "]: " << a[i] << " and " << b[i];
    }
  };
  same(want.output, got.output, "output");
  same(want.h, got.h, "h");
  same(want.c, got.c, "c");
}

}  // namespace lstmd::test
