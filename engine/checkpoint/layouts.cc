// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/layouts.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "engine/checkpoint/layout_parts.h"
#include "engine/errors.h"
#include "engine/spec_draft.h"

namespace lstmd {
namespace {

enum class Kind : uint8_t { kNamed, kKeras, kFlat };

// The table. Names of kNamed layouts are rows in layout_names.cc.
struct LayoutRow {
  std::string_view name;
  Kind kind;
};

constexpr LayoutRow kLayouts[] = {
    {"canonical", Kind::kNamed}, {"torch", Kind::kNamed},         {"paddle", Kind::kNamed},
    {"mindspore", Kind::kNamed}, {"mindspore_flat", Kind::kFlat}, {"mindspore_ops_cpu", Kind::kFlat},
    {"keras", Kind::kKeras},
};

std::string MetadataOr(const TensorFile& file, const std::string& key, const std::string& given) {
  if (!given.empty()) return given;
  const auto found = file.metadata.find(key);
  return found == file.metadata.end() ? std::string() : found->second;
}

absl::StatusOr<SpecDraft> ReadDraft(const TensorFile& file, const LayoutOptions& options) {
  SpecDraft draft;
  const std::string metadata = MetadataOr(file, "lstm", "");
  if (!metadata.empty()) {
    absl::Status status = ReadSpecJson(metadata, &draft);
    if (!status.ok()) return PrefixMessage(status, "metadata key 'lstm': ");
  }
  if (!options.spec_json.empty()) {
    absl::Status status = ReadSpecJson(options.spec_json, &draft);
    if (!status.ok()) return status;
  }
  return draft;
}

// Canonical names count cells; layer and direction follow from the spec.
absl::Status PlaceCells(const SpecDraft& draft, Stack* stack) {
  if (!draft.complete() && !draft.direction_given && stack->cells.size() > 1) {
    return WeightsError("canonical cells without a spec: their number does not tell layers from directions");
  }
  const uint32_t directions = draft.spec.directions();
  std::map<std::pair<uint32_t, uint32_t>, CellParts> placed;
  for (auto& [place, cell] : stack->cells) placed[{place.first / directions, place.first % directions}] = cell;
  stack->cells = std::move(placed);
  stack->name_of = [name_of = stack->name_of, directions](uint32_t layer, uint32_t direction, Role role) {
    return name_of(layer * directions + direction, 0, role);
  };
  return absl::OkStatus();
}

// The one stack to serve, of those that are in the file.
absl::StatusOr<Stack> Choose(std::vector<Stack> stacks, const std::string& prefix, bool prefix_given, Names* unused) {
  const auto give_back = [unused](const Stack& stack) {
    for (const auto& [place, cell] : stack.cells) {
      for (const Part& part : cell) {
        if (part.name != nullptr) unused->insert(*part.name);
      }
    }
  };
  std::vector<Stack> chosen;
  for (Stack& stack : stacks) {
    if (prefix_given && stack.prefix != prefix && stack.prefix != prefix + ".") {
      give_back(stack);
    } else {
      chosen.push_back(std::move(stack));
    }
  }
  if (chosen.size() == 1) return std::move(chosen[0]);
  std::vector<std::string> names;
  for (const Stack& stack : chosen.empty() ? stacks : chosen) names.push_back(stack.prefix);
  if (chosen.empty()) return WeightsError(absl::StrCat("prefix: no LSTM has tensors named '", prefix, "...'"));
  return WeightsError(absl::StrCat("got ", chosen.size(), " LSTMs, with the prefixes ", List(names),
                                   ", want one: name it in the metadata key 'prefix'"));
}

absl::Status NoLayout(const TensorFile& file, const std::string& layout) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : file.tensors) names.push_back(name);
  return WeightsError(absl::StrCat("no LSTM found: got ", names.empty() ? "no tensors" : List(names),
                                   ", want the names of layout ",
                                   layout.empty() ? absl::StrJoin(LayoutNames(), ", ") : layout));
}

// Finds the LSTM by the names and settles the sizes. A flat vector has no names: no cells.
absl::StatusOr<Stack> FindStack(const TensorFile& file, const LayoutOptions& options, const std::string& layout,
                                Names* unused) {
  std::set<std::string_view> named;
  for (const LayoutRow& row : kLayouts) {
    if (row.kind == Kind::kNamed && (layout.empty() || layout == row.name)) named.insert(row.name);
  }
  const std::string prefix = MetadataOr(file, "prefix", options.prefix);
  const bool prefix_given = !options.prefix.empty() || file.metadata.count("prefix") != 0;
  std::vector<Stack> stacks = FindNamedStacks(file, named, unused);
  if (!stacks.empty()) return Choose(std::move(stacks), prefix, prefix_given, unused);
  if (!layout.empty() && layout != "keras") return Stack();
  const std::string order = MetadataOr(file, "layers", "");
  return FindKerasStack(file, order.empty() ? std::vector<std::string>() : absl::StrSplit(order, ','), unused);
}

}  // namespace

absl::StatusOr<ModelFiles> AssembleModel(const TensorFile& file, const LayoutOptions& options) {
  const std::string layout = MetadataOr(file, "layout", options.layout);
  const auto* row = std::find_if(std::begin(kLayouts), std::end(kLayouts),
                                 [&layout](const LayoutRow& candidate) { return candidate.name == layout; });
  if (!layout.empty() && row == std::end(kLayouts)) {
    return InvalidArgument(
        "MODEL_FILE", absl::StrCat("layout: got '", layout, "', want one of ", absl::StrJoin(LayoutNames(), ", ")));
  }
  const bool flat = !layout.empty() && row->kind == Kind::kFlat;
  absl::StatusOr<SpecDraft> draft = ReadDraft(file, options);
  if (!draft.ok()) return draft.status();
  Names unused;
  for (const auto& [name, tensor] : file.tensors) {
    if (options.ignore.count(name) == 0) unused.insert(name);
  }

  Stack stack;
  if (!flat) {
    absl::StatusOr<Stack> found = FindStack(file, options, layout, &unused);
    if (!found.ok()) return found.status();
    stack = *std::move(found);
  }
  const bool open = !draft->complete();  // before the tensors settle the sizes
  const std::string* flat_name = nullptr;
  absl::Status status;
  if (!stack.cells.empty()) {
    if (stack.layout == "keras" && open && !draft->activations_given) {
      return InvalidArgument("MODEL_SPEC", "activations: missing; tensors of Keras do not tell them, the spec must")
          .Field("activations");
    }
    if (stack.layout == "canonical") status = PlaceCells(*draft, &stack);
    if (status.ok()) status = CompleteSpec(stack, &*draft);
  } else {
    if (flat || layout.empty()) flat_name = FindFlatTensor(file, flat, unused);
    if (flat_name == nullptr) return NoLayout(file, layout);
    if (open) {
      return InvalidArgument("MODEL_SPEC", absl::StrCat("input_size: missing; the vector '", *flat_name,
                                                        "' does not tell sizes, the spec must"))
          .Field("input_size");
    }
    unused.erase(*flat_name);
  }
  if (!status.ok()) return status;
  // Sizes are settled; are they within the limits? Before anything is multiplied by them.
  absl::StatusOr<ModelSpec> spec = Finish(*draft);
  if (!spec.ok()) return spec.status();

  ModelFiles model;
  absl::StatusOr<std::vector<CellWeights>> cells =
      flat_name != nullptr ? BuildFlat(file, *flat_name, layout, *spec) : BuildCells(file, stack, *spec);
  if (!cells.ok()) return cells.status();
  model.weights.cells = *std::move(cells);

  // The sizes made the draft complete; what was open before stays open for the rest.
  SpecDraft rest = *draft;
  status = ReadInitialState(file, open, &unused, &rest, &model.weights);
  if (status.ok()) {
    status = ReadHead(file, layout.empty() ? stack.layout : layout, open, &unused, &rest, &model.weights);
  }
  if (!status.ok()) return status;
  if (!unused.empty() && !options.ignore_unused) {
    return WeightsError(absl::StrCat("tensors without a meaning: ", List({unused.begin(), unused.end()})));
  }
  spec = Finish(rest);
  if (!spec.ok()) return spec.status();
  model.spec = *spec;
  status = Validate(model.spec, model.weights);
  if (!status.ok()) return status;
  return model;
}

absl::Status WriteModel(const std::string& path, const ModelFiles& model) {
  const ModelSpec& spec = model.spec;
  const uint64_t rows = 4 * uint64_t{spec.hidden_size};
  const uint64_t state = spec.hidden_state_size();
  std::map<std::string, TensorView> tensors;
  const auto add = [&tensors](const std::string& name, const FloatArray& values, std::vector<uint64_t> shape) {
    if (!values.empty()) tensors[name] = View(values, std::move(shape));
  };
  for (uint32_t k = 0; k < spec.cells(); ++k) {
    const CellWeights& cell = model.weights.cells[k];
    const std::string name = absl::StrCat("cells.", k, ".");
    add(name + "w", cell.w, {rows, spec.layer_input_size(k / spec.directions())});
    add(name + "r", cell.r, {rows, state});
    add(name + "bias", cell.bias, {rows});
    add(name + "projection", cell.projection, {state, spec.hidden_size});
    add(name + "peepholes", cell.peepholes, {3 * uint64_t{spec.hidden_size}});
  }
  add("head.weight", model.weights.head_weight, {spec.output_size(), spec.layer_output_size()});
  add("head.bias", model.weights.head_bias, {spec.output_size()});
  add("h0", model.weights.initial_h, {spec.cells(), state});
  add("c0", model.weights.initial_c, {spec.cells(), spec.hidden_size});
  return WriteSafetensors(path, tensors, {{"layout", "canonical"}, {"lstm", SpecToJson(spec)}});
}

std::vector<std::string> LayoutNames() {
  std::vector<std::string> names;
  for (const LayoutRow& row : kLayouts) names.emplace_back(row.name);
  return names;
}

}  // namespace lstmd
