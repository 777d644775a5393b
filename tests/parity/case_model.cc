// SPDX-License-Identifier: Apache-2.0
#include "tests/parity/case_model.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace lstmd::parity {
namespace {

uint64_t Product(const std::vector<uint64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), uint64_t{1}, std::multiplies<>());
}

absl::Status Misfit(const Case& c, const std::string& name, const std::vector<uint64_t>& got, const std::string& want) {
  return absl::InvalidArgumentError(
      absl::StrCat(c.name, ": ", name, " has shape [", absl::StrJoin(got, ", "), "], want ", want));
}

Values Transposed(const Values& in) {
  const uint64_t rows = in.shape[0], columns = in.shape[1];
  Values out{{columns, rows}, std::vector<float>(in.data.size())};
  for (uint64_t r = 0; r < rows; ++r) {
    for (uint64_t k = 0; k < columns; ++k) out.data[k * rows + r] = in.data[r * columns + k];
  }
  return out;
}

// Row blocks in the order `order` become i f g o.
std::vector<float> Reorder(const std::vector<float>& data, const std::string& order) {
  const size_t block = data.size() / order.size();
  std::vector<float> out;
  out.reserve(data.size());
  for (char gate : std::string("ifgo")) {
    const auto begin = data.begin() + static_cast<ptrdiff_t>(order.find(gate) * block);
    out.insert(out.end(), begin, begin + static_cast<ptrdiff_t>(block));
  }
  return out;
}

// Fetches a weight of a known shape.
absl::StatusOr<std::vector<float>> Take(const Case& c, const Reference& reference, const std::vector<uint64_t>& want) {
  absl::StatusOr<Values> values = Fetch(c, reference);
  if (!values.ok()) return values.status();
  if (values->shape != want) {
    return Misfit(c, reference.tensor, values->shape, absl::StrCat("[", absl::StrJoin(want, ", "), "]"));
  }
  return std::move(values->data);
}

// The sum of the one or two biases.
absl::StatusOr<std::vector<float>> TakeBias(const Case& c, const CellReferences& cell, uint64_t gates) {
  std::vector<float> sum(gates, 0.0f);
  for (const auto* reference : {&cell.b_ih, &cell.b_hh}) {
    if (!reference->has_value()) continue;
    absl::StatusOr<std::vector<float>> bias = Take(c, **reference, {gates});
    if (!bias.ok()) return bias.status();
    for (uint64_t k = 0; k < gates; ++k) sum[k] += (*bias)[k];
  }
  return sum;
}

FloatArray Scaled(std::vector<float> values, float scale) {
  for (float& v : values) v *= scale;
  return FloatArray(std::move(values));
}

absl::Status BuildCell(const Case& c, const CellReferences& references, uint32_t layer, float scale,
                       CellWeights* cell) {
  const ModelSpec& spec = c.spec;
  const uint64_t hidden = spec.hidden_size, state = spec.hidden_state_size();
  absl::StatusOr<std::vector<float>> w = Take(c, *references.w_ih, {4 * hidden, spec.layer_input_size(layer)});
  if (!w.ok()) return w.status();
  absl::StatusOr<std::vector<float>> r = Take(c, *references.w_hh, {4 * hidden, state});
  if (!r.ok()) return r.status();
  cell->w = Scaled(Reorder(*w, c.gate_order), scale);
  cell->r = Scaled(Reorder(*r, c.gate_order), scale);
  if (spec.bias) {
    absl::StatusOr<std::vector<float>> bias = TakeBias(c, references, 4 * hidden);
    if (!bias.ok()) return bias.status();
    cell->bias = Scaled(Reorder(*bias, c.gate_order), scale);
  }
  if (references.w_hr) {
    absl::StatusOr<std::vector<float>> projection = Take(c, *references.w_hr, {state, hidden});
    if (!projection.ok()) return projection.status();
    cell->projection = Scaled(*std::move(projection), scale);
  }
  if (references.peep) {  // i, o, f there; i, f, o here
    absl::StatusOr<std::vector<float>> peep = Take(c, *references.peep, {3 * hidden});
    if (!peep.ok()) return peep.status();
    std::rotate(peep->begin() + static_cast<ptrdiff_t>(hidden), peep->begin() + static_cast<ptrdiff_t>(2 * hidden),
                peep->end());
    cell->peepholes = Scaled(*std::move(peep), scale);
  }
  return absl::OkStatus();
}

absl::Status BuildHead(const Case& c, float scale, ModelFiles* model) {
  absl::StatusOr<Values> weight = Fetch(c, c.head->weight);
  if (!weight.ok()) return weight.status();
  const uint64_t width = c.spec.layer_output_size();
  if (weight->shape.size() != 2 || weight->shape[1] != width) {
    return Misfit(c, c.head->weight.tensor, weight->shape, absl::StrCat("[O, ", width, "]"));
  }
  Head head;
  head.output_size = static_cast<uint32_t>(weight->shape[0]);
  head.bias = c.head->bias.has_value();
  if (head.bias) {
    absl::StatusOr<std::vector<float>> bias = Take(c, *c.head->bias, {head.output_size});
    if (!bias.ok()) return bias.status();
    model->weights.head_bias = Scaled(*std::move(bias), scale);
  }
  model->weights.head_weight = Scaled(std::move(weight->data), scale);
  model->spec.head = head;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Values> ReadTensor(const Case& c, const std::string& name) {
  const auto found = c.tensors.tensors.find(name);
  if (found == c.tensors.tensors.end()) {
    return absl::InvalidArgumentError(absl::StrCat(c.name, ": no tensor ", name, " in tensors.safetensors"));
  }
  absl::StatusOr<FloatArray> floats = Floats(c.tensors, found->second);
  if (!floats.ok()) return floats.status();
  return Values{found->second.shape, {floats->span().begin(), floats->span().end()}};
}

absl::StatusOr<Values> Fetch(const Case& c, const Reference& reference) {
  absl::StatusOr<Values> read = ReadTensor(c, reference.tensor);
  if (!read.ok()) return read;
  Values values = *std::move(read);
  if (reference.index) {
    if (values.shape.empty() || *reference.index >= values.shape[0]) {
      return Misfit(c, reference.tensor, values.shape, absl::StrCat("more than ", *reference.index, " entries"));
    }
    values.shape.erase(values.shape.begin());
    const auto size = static_cast<ptrdiff_t>(Product(values.shape));
    const auto begin = values.data.begin() + static_cast<ptrdiff_t>(*reference.index) * size;
    values.data = std::vector<float>(begin, begin + size);
  }
  if (reference.offset) {
    const uint64_t size = Product(reference.shape);
    if (size > values.data.size() || *reference.offset > values.data.size() - size) {
      return Misfit(c, reference.tensor, values.shape, absl::StrCat(size, " values from ", *reference.offset));
    }
    const auto begin = values.data.begin() + static_cast<ptrdiff_t>(*reference.offset);
    values = {reference.shape, std::vector<float>(begin, begin + static_cast<ptrdiff_t>(size))};
  }
  if (reference.transpose) {
    if (values.shape.size() != 2) return Misfit(c, reference.tensor, values.shape, "a matrix");
    return Transposed(values);
  }
  return values;
}

absl::StatusOr<ModelFiles> BuildModel(const Case& c, float scale) {
  ModelFiles model;
  model.spec = c.spec;
  const uint32_t directions = c.spec.directions();
  model.weights.cells.resize(c.spec.cells());
  for (uint32_t layer = 0; layer < c.spec.num_layers; ++layer) {
    for (uint32_t d = 0; d < directions; ++d) {
      CellWeights& cell = model.weights.cells[layer * directions + d];
      if (absl::Status status = BuildCell(c, c.params[layer][d], layer, scale, &cell); !status.ok()) return status;
    }
  }
  if (c.head) {
    if (absl::Status status = BuildHead(c, scale, &model); !status.ok()) return status;
  }
  if (absl::Status status = Validate(model.spec); !status.ok()) return status;
  if (absl::Status status = Validate(model.spec, model.weights); !status.ok()) return status;
  return model;
}

}  // namespace lstmd::parity
