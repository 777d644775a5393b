// SPDX-License-Identifier: Apache-2.0
#include "engine/cpu/packed_weights.h"

#include <algorithm>
#include <atomic>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "engine/parallel_for.h"

namespace lstmd::cpu {
namespace {

absl::Status NoMemory(uint64_t bytes) {
  return ResourceExhausted("DEVICE_MEMORY",
                           absl::StrCat("no memory for ", bytes, " bytes of a model's weights on device cpu"));
}

absl::Status NotFinite(absl::string_view what) {
  return InvalidArgument("MODEL_WEIGHTS", absl::StrCat(what,
                                                       ": got a weight that is NaN or infinite, want finite ones "
                                                       "with PRECISION_INT8_WEIGHTS"));
}

absl::Status PackCell(const ModelSpec& spec, const CellWeights& weights, size_t layer, size_t direction, size_t units,
                      PackedCell& cell) {
  const size_t hidden = spec.hidden_size;
  cell.hidden_size = hidden;
  cell.activations = spec.activations[direction];
  cell.peepholes = spec.peepholes;
  cell.input_forget = spec.input_forget;
  cell.clip = spec.clip;
  cell.default_activations =
      cell.activations == Activations{} && !spec.peepholes && !spec.input_forget && spec.clip == 0;

  Panels& panels = cell.panels;
  panels.format = FormatOf(spec.precision);
  panels.units = units;
  panels.count = (hidden + units - 1) / units;
  panels.depth = {spec.layer_input_size(layer), spec.hidden_state_size()};
  if (!panels.Reserve()) return NoMemory(panels.weight_bytes());
  std::atomic<bool> finite{true};
  ParallelFor(panels.count, [&](size_t p) {
    const size_t first = p * units;
    const size_t count = std::min(units, hidden - first);
    if (count < units) panels.Clear(p);
    for (size_t gate = 0; gate < 4; ++gate) {
      const size_t row = gate * hidden + first;
      const float* w = weights.w.data() + row * panels.depth[0];
      const float* r = weights.r.data() + row * panels.depth[1];
      if (!panels.Pack(p, 0, gate * units, w, count) || !panels.Pack(p, 1, gate * units, r, count)) finite = false;
      if (spec.bias) std::copy_n(weights.bias.data() + row, count, panels.bias.data() + (4 * p + gate) * units);
    }
  });
  if (!finite) return NotFinite(absl::StrCat("layer ", layer, ", direction ", direction));
  if (spec.peepholes) {
    const size_t padded = Padded(hidden);
    if (!cell.peephole_weights.Reserve(3 * padded)) return NoMemory(3 * padded * sizeof(float));
    std::fill_n(cell.peephole_weights.data(), 3 * padded, 0.0f);
    for (size_t gate = 0; gate < 3; ++gate) {
      std::copy_n(weights.peepholes.data() + gate * hidden, hidden, cell.peephole_weights.data() + gate * padded);
    }
  }
  return absl::OkStatus();
}

absl::Status PackLinear(const FloatArray& weight, const FloatArray& bias, size_t input_size, size_t output_size,
                        WeightFormat format, size_t units, absl::string_view what, PackedLinear& linear) {
  linear.output_size = output_size;
  Panels& panels = linear.panels;
  panels.format = format;
  panels.units = units;
  panels.count = (output_size + panels.width() - 1) / panels.width();
  panels.depth = {input_size, 0};
  if (!panels.Reserve()) return NoMemory(panels.weight_bytes());
  std::atomic<bool> finite{true};
  ParallelFor(panels.count, [&](size_t p) {
    const size_t first = p * panels.width();
    const size_t count = std::min(panels.width(), output_size - first);
    if (count < panels.width()) panels.Clear(p);
    if (!panels.Pack(p, 0, 0, weight.data() + first * input_size, count)) finite = false;
  });
  if (!finite) return NotFinite(what);
  std::copy_n(bias.data(), bias.size(), panels.bias.data());
  return absl::OkStatus();
}

absl::Status PackAll(const ModelSpec& spec, const Weights& weights, size_t units, PackedModel& model) {
  const size_t cells = spec.cells();
  model.format = FormatOf(spec.precision);
  model.cells.resize(cells);
  if (spec.projection_size != 0) model.projections.resize(cells);
  for (size_t i = 0; i < cells; ++i) {
    absl::Status status =
        PackCell(spec, weights.cells[i], i / spec.directions(), i % spec.directions(), units, model.cells[i]);
    if (status.ok() && spec.projection_size != 0) {
      status = PackLinear(weights.cells[i].projection, FloatArray(), spec.hidden_size, spec.projection_size,
                          model.format, units, "projection", model.projections[i]);
    }
    if (!status.ok()) return status;
  }
  if (spec.head) {
    absl::Status status = PackLinear(weights.head_weight, weights.head_bias, spec.layer_output_size(),
                                     spec.head->output_size, model.format, units, "head", model.head);
    if (!status.ok()) return status;
    model.head.activation = spec.head->activation;
  }
  if (spec.learned_initial_state) {
    model.initial_h.assign(weights.initial_h.span().begin(), weights.initial_h.span().end());
    model.initial_c.assign(weights.initial_c.span().begin(), weights.initial_c.span().end());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<PackedModel>> PackedModel::Pack(const ModelSpec& spec, const Weights& weights,
                                                               size_t units) {
  try {
    auto model = std::make_unique<PackedModel>();
    model->spec = spec;
    absl::Status status = PackAll(spec, weights, units, *model);
    if (!status.ok()) return status;
    return model;
  } catch (const std::bad_alloc&) {
    return NoMemory((weights.initial_h.size() + weights.initial_c.size()) * sizeof(float));
  }
}

uint64_t PackedModel::weight_bytes() const {
  uint64_t bytes = head.panels.bytes() + (initial_h.size() + initial_c.size()) * sizeof(float);
  for (const PackedCell& cell : cells) bytes += cell.panels.bytes() + cell.peephole_weights.size() * sizeof(float);
  for (const PackedLinear& linear : projections) bytes += linear.panels.bytes();
  return bytes;
}

}  // namespace lstmd::cpu
