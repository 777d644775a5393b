// SPDX-License-Identifier: Apache-2.0
#include "engine/cpu/packed_weights.h"

#include <algorithm>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/errors.h"

namespace lstmd::cpu {
namespace {

absl::Status NoMemory(uint64_t floats) {
  return ResourceExhausted("DEVICE_MEMORY", absl::StrCat("no memory for ", floats * sizeof(float),
                                                         " bytes of a model's weights on device cpu"));
}

bool ReserveZeros(AlignedBuffer& buffer, size_t size) {
  if (!buffer.Reserve(size)) return false;
  std::fill_n(buffer.data(), size, 0.0f);
  return true;
}

// Rows first … first+count-1 of a [rows, depth] matrix become lanes of `panel` at `lane`: panel[k][lane + i].
void PackRows(const float* matrix, size_t first, size_t count, size_t depth, float* panel, size_t panel_width,
              size_t lane) {
  for (size_t i = 0; i < count; ++i) {
    const float* row = matrix + (first + i) * depth;
    float* column = panel + lane + i;
    for (size_t k = 0; k < depth; ++k) column[k * panel_width] = row[k];
  }
}

absl::Status PackCell(const ModelSpec& spec, const CellWeights& weights, size_t layer, size_t direction, size_t units,
                      PackedCell& cell) {
  const size_t hidden = spec.hidden_size;
  cell.input_size = spec.layer_input_size(layer);
  cell.state_size = spec.hidden_state_size();
  cell.hidden_size = hidden;
  cell.units = units;
  cell.panels = (hidden + units - 1) / units;
  cell.activations = spec.activations[direction];
  cell.peepholes = spec.peepholes;
  cell.input_forget = spec.input_forget;
  cell.clip = spec.clip;
  cell.default_activations =
      cell.activations == Activations{} && !spec.peepholes && !spec.input_forget && spec.clip == 0;

  const size_t width = 4 * units;
  const size_t size = cell.panels * cell.depth() * width;
  if (!ReserveZeros(cell.weights, size) || !ReserveZeros(cell.bias, cell.panels * width)) return NoMemory(size);
  for (size_t p = 0; p < cell.panels; ++p) {
    const size_t first = p * units;
    const size_t count = std::min(units, hidden - first);
    float* panel = cell.weights.data() + p * cell.depth() * width;
    for (size_t gate = 0; gate < 4; ++gate) {
      const size_t row = gate * hidden + first;
      PackRows(weights.w.data(), row, count, cell.input_size, panel, width, gate * units);
      PackRows(weights.r.data(), row, count, cell.state_size, panel + cell.input_size * width, width, gate * units);
      if (spec.bias) std::copy_n(weights.bias.data() + row, count, cell.bias.data() + p * width + gate * units);
    }
  }
  if (spec.peepholes) {
    const size_t padded = Padded(hidden);
    if (!ReserveZeros(cell.peephole_weights, 3 * padded)) return NoMemory(3 * padded);
    for (size_t gate = 0; gate < 3; ++gate) {
      std::copy_n(weights.peepholes.data() + gate * hidden, hidden, cell.peephole_weights.data() + gate * padded);
    }
  }
  return absl::OkStatus();
}

absl::Status PackLinear(const FloatArray& weight, const FloatArray& bias, size_t input_size, size_t output_size,
                        size_t units, PackedLinear& linear) {
  const size_t width = 4 * units;
  linear.input_size = input_size;
  linear.output_size = output_size;
  linear.units = units;
  linear.panels = (output_size + width - 1) / width;
  const size_t size = linear.panels * input_size * width;
  if (!ReserveZeros(linear.weights, size) || !ReserveZeros(linear.bias, linear.panels * width)) return NoMemory(size);
  for (size_t p = 0; p < linear.panels; ++p) {
    const size_t first = p * width;
    PackRows(weight.data(), first, std::min(width, output_size - first), input_size,
             linear.weights.data() + p * input_size * width, width, 0);
  }
  std::copy_n(bias.data(), bias.size(), linear.bias.data());
  return absl::OkStatus();
}

absl::Status PackAll(const ModelSpec& spec, const Weights& weights, size_t units, PackedModel& model) {
  const size_t cells = spec.cells();
  model.cells.resize(cells);
  if (spec.projection_size != 0) model.projections.resize(cells);
  for (size_t i = 0; i < cells; ++i) {
    absl::Status status =
        PackCell(spec, weights.cells[i], i / spec.directions(), i % spec.directions(), units, model.cells[i]);
    if (status.ok() && spec.projection_size != 0) {
      status = PackLinear(weights.cells[i].projection, FloatArray(), spec.hidden_size, spec.projection_size, units,
                          model.projections[i]);
    }
    if (!status.ok()) return status;
  }
  if (spec.head) {
    absl::Status status = PackLinear(weights.head_weight, weights.head_bias, spec.layer_output_size(),
                                     spec.head->output_size, units, model.head);
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
    return NoMemory(weights.initial_h.size() + weights.initial_c.size());
  }
}

uint64_t PackedModel::weight_bytes() const {
  uint64_t floats = head.weights.size() + head.bias.size() + initial_h.size() + initial_c.size();
  for (const PackedCell& cell : cells) {
    floats += cell.weights.size() + cell.bias.size() + cell.peephole_weights.size();
  }
  for (const PackedLinear& linear : projections) floats += linear.weights.size() + linear.bias.size();
  return floats * sizeof(float);
}

}  // namespace lstmd::cpu
