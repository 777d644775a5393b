// SPDX-License-Identifier: Apache-2.0
//
// From a stack to a complete spec and canonical arrays.
#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "engine/checkpoint/layout_parts.h"
#include "engine/errors.h"

namespace lstmd {
namespace {

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

const Part& At(const CellParts& cell, Role role) { return cell[static_cast<size_t>(role)]; }
bool Has(const CellParts& cell, Role role) { return At(cell, role).name != nullptr; }

// The spec says one thing, the tensors another.
absl::Status Contradiction(std::string_view field, std::string_view tensors, std::string_view spec) {
  return InvalidArgument("MODEL_SPEC", absl::StrCat(View(field), ": got ", View(tensors), " in the tensors, want ",
                                                    View(spec), " by the spec"))
      .Field(field);
}

// Every cell must be there, and have the same arrays as the first.
absl::Status CheckComplete(const Stack& stack, uint32_t layers, uint32_t directions) {
  const CellParts& first = stack.cells.begin()->second;
  for (uint32_t layer = 0; layer < layers; ++layer) {
    for (uint32_t direction = 0; direction < directions; ++direction) {
      const auto found = stack.cells.find({layer, direction});
      for (size_t i = 0; i < kRoles; ++i) {
        const Role role = static_cast<Role>(i);
        const bool needed = role == Role::kW || role == Role::kR || Has(first, role) ||
                            (role == Role::kBiasIh && Has(first, Role::kBiasHh)) ||
                            (role == Role::kBiasHh && Has(first, Role::kBiasIh));
        const bool there = found != stack.cells.end() && Has(found->second, role);
        if (needed && !there) {
          return WeightsError(absl::StrCat("tensor '", stack.name_of(layer, direction, role), "' is missing"));
        }
        if (there && !needed) {
          return WeightsError(absl::StrCat("tensor '", *At(found->second, role).name,
                                           "' has no counterpart in the other layers or directions"));
        }
      }
    }
  }
  return absl::OkStatus();
}

std::string Shape(uint64_t rows, uint64_t columns, bool transposed) {
  if (columns == 0) return absl::StrCat("[", rows, "]");
  return transposed ? absl::StrCat("[", columns, ", ", rows, "]") : absl::StrCat("[", rows, ", ", columns, "]");
}

// Fills in a field that nobody gave, or compares.
template <typename T>
absl::Status Settle(std::string_view field, bool given, T in_tensors, T* in_spec) {
  if (!given) *in_spec = in_tensors;
  if (*in_spec == in_tensors) return absl::OkStatus();
  return Contradiction(field, absl::StrCat(in_tensors), absl::StrCat(*in_spec));
}

FloatArray Transposed(const FloatArray& values, uint64_t rows, uint64_t columns) {
  constexpr uint64_t kTile = 32;
  std::vector<float> result(values.size());
  for (uint64_t r0 = 0; r0 < rows; r0 += kTile) {
    for (uint64_t c0 = 0; c0 < columns; c0 += kTile) {
      for (uint64_t r = r0; r < std::min(r0 + kTile, rows); ++r) {
        for (uint64_t c = c0; c < std::min(c0 + kTile, columns); ++c) {
          result[r * columns + c] = values[c * rows + r];
        }
      }
    }
  }
  return result;
}

FloatArray Sum(const FloatArray& a, const FloatArray& b) {
  std::vector<float> sum(a.size());
  for (size_t i = 0; i < sum.size(); ++i) sum[i] = a[i] + b[i];
  return sum;
}

}  // namespace

std::string List(const std::vector<std::string>& names) {
  constexpr size_t kShown = 4;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i) {
    absl::StrAppend(&text, i == 0 ? "'" : ", '", names[i], "'");
  }
  if (names.size() > kShown) absl::StrAppend(&text, " and ", names.size() - kShown, " more");
  return text;
}

std::pair<uint64_t, uint64_t> CanonicalShape(const Part& part) {
  const std::vector<uint64_t>& shape = part.tensor->shape;
  if (shape.size() == 1) return {shape[0], 0};
  if (shape.size() != 2) return {0, 0};
  return part.transposed ? std::pair{shape[1], shape[0]} : std::pair{shape[0], shape[1]};
}

absl::StatusOr<FloatArray> ReadPart(const TensorFile& file, const Part& part, uint64_t rows, uint64_t columns,
                                    std::string_view meaning) {
  if (CanonicalShape(part) != std::pair(rows, columns)) {
    return WeightsError(absl::StrCat("tensor '", *part.name, "': got ", Describe(*part.tensor), ", want ",
                                     Shape(rows, columns, part.transposed), " (", View(meaning), ")"));
  }
  absl::StatusOr<FloatArray> values = Floats(file, *part.tensor);
  if (!values.ok()) return PrefixMessage(values.status(), absl::StrCat("tensor '", *part.name, "': "));
  if (part.transposed && rows > 1 && columns > 1) return Transposed(*values, rows, columns);
  return values;
}

absl::Status CompleteSpec(const Stack& stack, SpecDraft* draft) {
  ModelSpec& spec = draft->spec;
  const bool complete = draft->complete();
  uint32_t layers = 0, directions = 1;
  for (const auto& [place, cell] : stack.cells) {
    layers = std::max(layers, place.first + 1);
    directions = std::max(directions, place.second + 1);
  }
  absl::Status status = CheckComplete(stack, layers, directions);
  if (!status.ok()) return status;

  const CellParts& first = stack.cells.begin()->second;
  const auto [gate_rows, columns] = CanonicalShape(At(first, Role::kW));
  if (gate_rows == 0 || gate_rows % 4 != 0 || columns == 0) {
    const Part& w = At(first, Role::kW);
    return WeightsError(absl::StrCat("tensor '", *w.name, "': got ", Describe(*w.tensor), ", want ",
                                     w.transposed ? "[I, 4H]" : "[4H, I]"));
  }
  const uint64_t hidden = gate_rows / 4;
  if (columns > UINT32_MAX || hidden > UINT32_MAX) return WeightsError("sizes beyond every limit");
  if (spec.hidden_size == 0) spec.hidden_size = static_cast<uint32_t>(hidden);
  if (spec.input_size == 0) spec.input_size = static_cast<uint32_t>(columns);
  // Where the spec has sizes, the shapes of the tensors are checked against them by BuildCells.

  status = Settle("num_layers", complete || draft->num_layers_given, layers, &spec.num_layers);
  if (!status.ok()) return status;
  if (directions == 2 && !complete && !draft->direction_given) spec.direction = Direction::kBidirectional;
  if (spec.directions() != directions) {
    return Contradiction("direction", directions == 2 ? "two directions" : "one direction", Name(spec.direction));
  }
  const bool bias = Has(first, Role::kBias) || Has(first, Role::kBiasIh);
  status = Settle("bias", complete || draft->bias_given, bias, &spec.bias);
  if (status.ok()) {
    status = Settle("peepholes", complete || draft->peepholes_given, Has(first, Role::kPeepholes), &spec.peepholes);
  }
  if (!status.ok()) return status;
  uint64_t projection = 0;
  if (Has(first, Role::kProjection)) projection = CanonicalShape(At(first, Role::kProjection)).first;
  if (projection > UINT32_MAX) return WeightsError("sizes beyond every limit");
  return Settle("projection_size", complete || draft->projection_given, static_cast<uint32_t>(projection),
                &spec.projection_size);
}

absl::StatusOr<std::vector<CellWeights>> BuildCells(const TensorFile& file, const Stack& stack, const ModelSpec& spec) {
  std::vector<CellWeights> cells;
  const uint64_t hidden = spec.hidden_size;
  const uint64_t state = spec.hidden_state_size();
  absl::Status status;
  for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
    for (uint32_t direction = 0; direction < spec.directions(); ++direction) {
      const CellParts& parts = stack.cells.at({layer, direction});
      const auto [rows, columns] = CanonicalShape(At(parts, Role::kW));
      if (layer > 0 && rows != 4 * hidden && rows % 4 == 0 && rows != 0) {
        return WeightsError(absl::StrCat("tensor '", *At(parts, Role::kW).name, "': layer ", layer, " has hidden size ",
                                         rows / 4, ", layer 0 has ", hidden,
                                         "; a model has one hidden size for all its layers"));
      }
      const auto read = [&](Role role, uint64_t want_rows, uint64_t want_columns, std::string_view meaning) {
        if (!status.ok() || !Has(parts, role)) return FloatArray();
        absl::StatusOr<FloatArray> values = ReadPart(file, At(parts, role), want_rows, want_columns, meaning);
        if (values.ok()) return *std::move(values);
        status = values.status();
        return FloatArray();
      };
      CellWeights cell;
      cell.w = read(Role::kW, 4 * hidden, spec.layer_input_size(layer), "4H by the layer's input");
      cell.r = read(Role::kR, 4 * hidden, state, "4H by the hidden state");
      cell.bias = read(Role::kBias, 4 * hidden, 0, "4H");
      cell.projection = read(Role::kProjection, state, hidden, "P by H");
      cell.peepholes = read(Role::kPeepholes, 3 * hidden, 0, "3H");
      if (Has(parts, Role::kBiasIh)) {
        const FloatArray ih = read(Role::kBiasIh, 4 * hidden, 0, "4H");
        const FloatArray hh = read(Role::kBiasHh, 4 * hidden, 0, "4H");
        if (status.ok()) cell.bias = Sum(ih, hh);
      }
      if (!status.ok()) return status;
      cells.push_back(std::move(cell));
    }
  }
  return cells;
}

}  // namespace lstmd
