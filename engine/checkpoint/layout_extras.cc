// SPDX-License-Identifier: Apache-2.0
//
// What stands beside the cells: the learned initial state and the head.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/checkpoint/layout_parts.h"
#include "engine/errors.h"

namespace lstmd {
namespace {

// "model.fc.weight" as ("model.fc", "weight"), either separator.
std::pair<std::string_view, std::string_view> SplitLast(std::string_view name) {
  const size_t cut = name.find_last_of("./");
  if (cut == std::string_view::npos) return {std::string_view(), name};
  return {name.substr(0, cut), name.substr(cut + 1)};
}

std::vector<std::string> FindByLastPart(const Names& unused, std::string_view last) {
  std::vector<std::string> found;
  for (const std::string& name : unused) {
    if (SplitLast(name).second == last) found.push_back(name);
  }
  return found;
}

std::vector<uint64_t> WithoutOnes(const std::vector<uint64_t>& shape) {
  std::vector<uint64_t> rest;
  std::copy_if(shape.begin(), shape.end(), std::back_inserter(rest), [](uint64_t size) { return size != 1; });
  return rest;
}

absl::StatusOr<FloatArray> ReadState(const TensorFile& file, const std::string& name, uint64_t cells, uint64_t size) {
  const TensorView& tensor = file.tensors.at(name);
  if (WithoutOnes(tensor.shape) != WithoutOnes({cells, size})) {
    return WeightsError(absl::StrCat("tensor '", name, "': got ", Describe(tensor), ", want [", cells, ", ", size,
                                     "] (cells by state)"));
  }
  absl::StatusOr<FloatArray> values = Floats(file, tensor);
  if (!values.ok()) return PrefixMessage(values.status(), absl::StrCat("tensor '", name, "': "));
  return values;
}

struct HeadCandidate {
  std::string module;
  Part weight;
  const std::string* bias = nullptr;
};

constexpr std::string_view kHeadModules[] = {"head",       "fc",        "linear",  "dense",  "out",     "output",
                                             "classifier", "regressor", "decoder", "logits", "proj_out"};

// "dense_3" and "fc2" are called dense and fc.
bool IsHeadModule(std::string_view module) {
  std::string_view last = SplitLast(module).second;
  while (!last.empty() && ((last.back() >= '0' && last.back() <= '9') || last.back() == '_')) last.remove_suffix(1);
  return std::find(std::begin(kHeadModules), std::end(kHeadModules), last) != std::end(kHeadModules);
}

// The module whose weight this is, or "".
std::string ModuleOfWeight(std::string_view name, bool keras) {
  if (keras && name.size() > 2 && name.substr(name.size() - 2) == ":0") name.remove_suffix(2);
  const auto [module, last] = SplitLast(name);
  if (last == (keras ? "kernel" : "weight")) return std::string(module);
  if (keras && last == "0" && SplitLast(module).second == "vars") return std::string(SplitLast(module).first);
  return "";
}

const std::string* FindBias(const TensorFile& file, const std::string& module, bool keras, const Names& unused) {
  const std::vector<std::string> spellings =
      keras ? std::vector<std::string>{module + "/bias", module + "/bias:0", module + "/vars/1"}
            : std::vector<std::string>{module + ".bias", module + "/bias"};
  for (const std::string& spelling : spellings) {
    const auto found = file.tensors.find(spelling);
    if (found != file.tensors.end() && unused.count(spelling) != 0) return &found->first;
  }
  return nullptr;
}

// Whether the weight stands as [features, O]: Keras's do, and Paddle's Linear; not what is called head, as canonical
// names and the converter have it.
bool IsTransposed(std::string_view layout, std::string_view module) {
  return layout == "keras" || (layout == "paddle" && SplitLast(module).second != "head");
}

// Every pair that could stand after an LSTM with these features.
std::vector<HeadCandidate> FindHeads(const TensorFile& file, std::string_view layout, uint64_t features,
                                     uint64_t outputs, const Names& unused) {
  const bool keras = layout == "keras";
  std::vector<HeadCandidate> candidates;
  for (const auto& [name, tensor] : file.tensors) {
    const std::string module = unused.count(name) != 0 ? ModuleOfWeight(name, keras) : "";
    if (module.empty()) continue;
    const Part weight{&name, &tensor, IsTransposed(layout, module)};
    const auto [rows, columns] = CanonicalShape(weight);
    if (columns != features || rows == 0 || (outputs != 0 && rows != outputs)) continue;
    candidates.push_back({module, weight, FindBias(file, module, keras, unused)});
  }
  return candidates;
}

}  // namespace

absl::Status ReadInitialState(const TensorFile& file, bool open, Names* unused, SpecDraft* draft, Weights* weights) {
  ModelSpec& spec = draft->spec;
  std::vector<std::string> h = FindByLastPart(*unused, "h0");
  std::vector<std::string> c = FindByLastPart(*unused, "c0");
  if (h.empty() && c.empty()) {
    h = FindByLastPart(*unused, "h_0");
    c = FindByLastPart(*unused, "c_0");
  }
  const bool there = h.size() == 1 && c.size() == 1;
  if (open && !draft->learned_initial_state_given) spec.learned_initial_state = there;
  if (!spec.learned_initial_state) return absl::OkStatus();
  if (!there) {
    return WeightsError(absl::StrCat("learned_initial_state: got ", h.size(), " tensors h0 and ", c.size(),
                                     " tensors c0, want one of each"));
  }
  absl::StatusOr<FloatArray> initial_h = ReadState(file, h[0], spec.cells(), spec.hidden_state_size());
  if (!initial_h.ok()) return initial_h.status();
  absl::StatusOr<FloatArray> initial_c = ReadState(file, c[0], spec.cells(), spec.hidden_size);
  if (!initial_c.ok()) return initial_c.status();
  weights->initial_h = *std::move(initial_h);
  weights->initial_c = *std::move(initial_c);
  unused->erase(h[0]);
  unused->erase(c[0]);
  return absl::OkStatus();
}

absl::Status ReadHead(const TensorFile& file, std::string_view layout, bool open, Names* unused, SpecDraft* draft,
                      Weights* weights) {
  ModelSpec& spec = draft->spec;
  if (!spec.head && !open) return absl::OkStatus();
  const uint64_t features = spec.layer_output_size();
  const uint64_t outputs = spec.head ? spec.head->output_size : 0;
  std::vector<HeadCandidate> candidates = FindHeads(file, layout, features, outputs, *unused);
  const auto keep = [&candidates](auto&& is_wanted) {
    std::vector<HeadCandidate> kept;
    std::copy_if(candidates.begin(), candidates.end(), std::back_inserter(kept), is_wanted);
    if (!kept.empty()) candidates = std::move(kept);
  };
  if (candidates.size() > 1) keep([](const HeadCandidate& head) { return IsHeadModule(head.module); });
  if (candidates.size() > 1) keep([](const HeadCandidate& head) { return SplitLast(head.module).second == "head"; });
  if (!spec.head && (candidates.size() != 1 || !IsHeadModule(candidates[0].module))) return absl::OkStatus();
  if (candidates.size() != 1) {
    std::vector<std::string> names;
    for (const HeadCandidate& candidate : candidates) names.push_back(*candidate.weight.name);
    return WeightsError(absl::StrCat("head: got ", candidates.empty() ? "no tensor" : List(names),
                                     ", want one weight of ", outputs, " by ", features));
  }
  const HeadCandidate& head = candidates[0];
  const uint64_t rows = CanonicalShape(head.weight).first;
  if (rows > UINT32_MAX) return WeightsError("sizes beyond every limit");
  if (!spec.head) spec.head = Head{static_cast<uint32_t>(rows), head.bias != nullptr, {Function::kLinear}};
  absl::StatusOr<FloatArray> weight = ReadPart(file, head.weight, rows, features, "O by the LSTM's output");
  if (!weight.ok()) return weight.status();
  weights->head_weight = *std::move(weight);
  unused->erase(*head.weight.name);
  if (spec.head->bias) {
    if (head.bias == nullptr) return WeightsError(absl::StrCat("tensor '", head.module, ".bias' is missing"));
    absl::StatusOr<FloatArray> bias = ReadPart(file, {head.bias, &file.tensors.at(*head.bias), false}, rows, 0, "O");
    if (!bias.ok()) return bias.status();
    weights->head_bias = *std::move(bias);
    unused->erase(*head.bias);
  }
  return absl::OkStatus();
}

}  // namespace lstmd
