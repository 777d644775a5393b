// SPDX-License-Identifier: Apache-2.0
//
// Keras: kernel [I', 4H] and recurrent_kernel [H, 4H] are transposed, one bias [4H]. Names are paths: Keras 3
// "model/lstm_1/lstm_cell/kernel" and, in its weights files, "layers/lstm_1/cell/vars/0"; Keras 2 the first with ":0"
// after it. Bidirectional puts "forward_…" and "backward_…" between the layer and the cell.
#include <algorithm>
#include <cctype>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/checkpoint/layout_parts.h"
#include "engine/errors.h"

namespace lstmd {
namespace {

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

bool StartsWith(std::string_view text, std::string_view start) { return text.substr(0, start.size()) == start; }

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// Everything before the last '/', and what stands after it.
std::pair<std::string_view, std::string_view> SplitLast(std::string_view path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string_view::npos) return {std::string_view(), path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

struct CellPath {
  std::string_view path;  // of the cell
  Role role = Role::kW;
};

std::optional<CellPath> MatchCell(std::string_view name) {
  if (EndsWith(name, ":0")) name.remove_suffix(2);
  auto [path, last] = SplitLast(name);
  if (last == "kernel") return CellPath{path, Role::kW};
  if (last == "recurrent_kernel") return CellPath{path, Role::kR};
  if (last == "bias") return CellPath{path, Role::kBias};
  const auto [cell, vars] = SplitLast(path);
  if (vars != "vars" || SplitLast(cell).second != "cell") return std::nullopt;
  if (last == "0") return CellPath{cell, Role::kW};
  if (last == "1") return CellPath{cell, Role::kR};
  if (last == "2") return CellPath{cell, Role::kBias};
  return std::nullopt;
}

// The layer of a cell by its path, and the direction within it.
struct LayerPath {
  std::string path;
  uint32_t direction = 0;
};

LayerPath LayerOf(std::string_view cell_path, const std::set<std::string, std::less<>>& cell_paths) {
  const std::string_view inner = SplitLast(cell_path).first;
  const auto [outer, wrapped] = SplitLast(inner);
  const bool backward = StartsWith(wrapped, "backward_");
  if (!backward && !StartsWith(wrapped, "forward_")) return {std::string(inner), 0};
  // A layer may be called forward_x without being half of a pair.
  const std::string_view partner = backward ? "forward_" : "backward_";
  const std::string start = absl::StrCat(View(outer), outer.empty() ? "" : "/", View(partner));
  const auto found = cell_paths.lower_bound(start);
  if (found == cell_paths.end() || !StartsWith(*found, start)) return {std::string(inner), 0};
  return {std::string(outer), backward ? 1u : 0u};
}

// "lstm_12" as ("lstm", 12), "lstm" as ("lstm", 0).
std::pair<std::string_view, uint64_t> SplitNumber(std::string_view name) {
  size_t digits = 0;
  while (digits < name.size() && std::isdigit(static_cast<unsigned char>(name[name.size() - 1 - digits]))) ++digits;
  const size_t base = name.size() - digits;
  if (digits == 0 || digits > 9 || base == 0 || name[base - 1] != '_') return {name, 0};
  uint64_t number = 0;
  for (const char digit : name.substr(base)) number = number * 10 + static_cast<uint64_t>(digit - '0');
  return {name.substr(0, base - 1), number};
}

// The layers' paths from the input to the output.
absl::StatusOr<std::vector<std::string>> Order(const std::set<std::string>& paths,
                                               const std::vector<std::string>& given) {
  std::vector<std::string> ordered;
  if (!given.empty()) {
    for (const std::string& name : given) {
      const auto found = std::find_if(paths.begin(), paths.end(), [&name](const std::string& path) {
        return path == name || SplitLast(path).second == name;
      });
      if (found == paths.end()) {
        return InvalidArgument("MODEL_WEIGHTS", absl::StrCat("layers: there is no LSTM layer '", name, "', only ",
                                                             List({paths.begin(), paths.end()})));
      }
      ordered.push_back(*found);
    }
    if (std::set<std::string>(ordered.begin(), ordered.end()).size() != paths.size() ||
        ordered.size() != paths.size()) {
      return InvalidArgument("MODEL_WEIGHTS", absl::StrCat("layers: got ", List(given), ", want each of ",
                                                           List({paths.begin(), paths.end()}), " once"));
    }
    return ordered;
  }
  ordered.assign(paths.begin(), paths.end());
  const auto key = [](const std::string& path) { return SplitNumber(SplitLast(path).second); };
  std::sort(ordered.begin(), ordered.end(),
            [&key](const std::string& a, const std::string& b) { return key(a).second < key(b).second; });
  for (size_t i = 1; i < ordered.size(); ++i) {
    if (key(ordered[i]).first != key(ordered[i - 1]).first || key(ordered[i]).second == key(ordered[i - 1]).second) {
      return InvalidArgument("MODEL_WEIGHTS",
                             absl::StrCat("the names do not tell the order of the LSTM layers ", List(ordered),
                                          ": give it in the metadata key 'layers', separated by commas"));
    }
  }
  return ordered;
}

}  // namespace

absl::StatusOr<Stack> FindKerasStack(const TensorFile& file, const std::vector<std::string>& layers, Names* unused) {
  Stack stack;
  stack.layout = "keras";
  // Dense layers have kernels too: a cell is what has a recurrent one.
  std::set<std::string, std::less<>> cells;
  for (const auto& [name, tensor] : file.tensors) {
    const std::optional<CellPath> match = unused->count(name) != 0 ? MatchCell(name) : std::nullopt;
    if (match && match->role == Role::kR) cells.emplace(match->path);
  }
  if (cells.empty()) return stack;

  std::set<std::string> paths;
  for (const std::string& cell : cells) paths.insert(LayerOf(cell, cells).path);
  absl::StatusOr<std::vector<std::string>> ordered = Order(paths, layers);
  if (!ordered.ok()) return ordered.status();
  std::map<std::pair<uint32_t, uint32_t>, std::string> cell_of;
  for (const std::string& cell : cells) {
    const LayerPath layer = LayerOf(cell, cells);
    const auto index = std::find(ordered->begin(), ordered->end(), layer.path) - ordered->begin();
    const auto [place, added] = cell_of.try_emplace({static_cast<uint32_t>(index), layer.direction}, cell);
    if (!added) {
      return InvalidArgument("MODEL_WEIGHTS",
                             absl::StrCat("layer '", layer.path, "' has two cells: ", List({place->second, cell})));
    }
  }
  for (const auto& [place, path] : cell_of) {
    for (const auto& [name, tensor] : file.tensors) {
      const std::optional<CellPath> match = unused->count(name) != 0 ? MatchCell(name) : std::nullopt;
      if (!match || match->path != path) continue;
      Part& part = stack.cells[place][static_cast<size_t>(match->role)];
      if (part.name != nullptr) continue;  // stays unused, and is complained of
      part = {&name, &tensor, match->role != Role::kBias};
      unused->erase(name);
    }
  }
  stack.name_of = [cell_of](uint32_t layer, uint32_t direction, Role role) {
    const auto found = cell_of.find({layer, direction});
    const char* const last = role == Role::kW ? "kernel" : role == Role::kR ? "recurrent_kernel" : "bias";
    if (found != cell_of.end()) return absl::StrCat(found->second, "/", last);
    return absl::StrCat("layer ", layer, direction == 1 ? " backward " : " forward ", last);
  };
  return stack;
}

}  // namespace lstmd
