// SPDX-License-Identifier: Apache-2.0
//
// Layouts whose tensor names tell everything: a table of names, matched from the end, so that any module path may stand
// before them.
#include <algorithm>
#include <cctype>
#include <optional>

#include "absl/strings/str_cat.h"
#include "engine/checkpoint/layout_parts.h"

namespace lstmd {
namespace {

// Names of the same family belong together; a name is of the first family that matches.
enum class Family : uint8_t { kCanonical, kPaddleCells, kStack, kCell };

struct NameRow {
  std::string_view layouts;  // which layouts have it
  Family family;
  // Parts between dots. {L} a number (of the layer; of the cell in canonical names), {L?} such a part or none,
  // {R} "_reverse" or nothing, {cell} "cell", "cell_fw" or "cell_bw".
  std::string_view pattern;
  Role role;
  bool transposed;
};

constexpr NameRow kNames[] = {
    {"canonical", Family::kCanonical, "cells.{L}.w", Role::kW, false},
    {"canonical", Family::kCanonical, "cells.{L}.r", Role::kR, false},
    {"canonical", Family::kCanonical, "cells.{L}.bias", Role::kBias, false},
    {"canonical", Family::kCanonical, "cells.{L}.projection", Role::kProjection, false},
    {"canonical", Family::kCanonical, "cells.{L}.peepholes", Role::kPeepholes, false},

    {"paddle", Family::kPaddleCells, "{L?}.{cell}.weight_ih", Role::kW, false},
    {"paddle", Family::kPaddleCells, "{L?}.{cell}.weight_hh", Role::kR, false},
    {"paddle", Family::kPaddleCells, "{L?}.{cell}.bias_ih", Role::kBiasIh, false},
    {"paddle", Family::kPaddleCells, "{L?}.{cell}.bias_hh", Role::kBiasHh, false},
    {"paddle", Family::kPaddleCells, "{L?}.{cell}.weight_ho", Role::kProjection, true},

    {"torch paddle mindspore", Family::kStack, "weight_ih_l{L}{R}", Role::kW, false},
    {"torch paddle mindspore", Family::kStack, "weight_hh_l{L}{R}", Role::kR, false},
    {"torch paddle mindspore", Family::kStack, "bias_ih_l{L}{R}", Role::kBiasIh, false},
    {"torch paddle mindspore", Family::kStack, "bias_hh_l{L}{R}", Role::kBiasHh, false},
    {"torch", Family::kStack, "weight_hr_l{L}{R}", Role::kProjection, false},

    {"torch paddle mindspore", Family::kCell, "weight_ih", Role::kW, false},
    {"torch paddle mindspore", Family::kCell, "weight_hh", Role::kR, false},
    {"torch paddle mindspore", Family::kCell, "bias_ih", Role::kBiasIh, false},
    {"torch paddle mindspore", Family::kCell, "bias_hh", Role::kBiasHh, false},
    {"paddle", Family::kCell, "weight_ho", Role::kProjection, true},
};

constexpr uint32_t kMaxNumber = 127;  // 64 layers, 128 cells
constexpr std::string_view kCellNames[] = {"cell_fw", "cell_bw", "cell"};
constexpr uint32_t kCellDirections[] = {0, 1, 0};

struct Match {
  size_t prefix = 0;  // length of what stands before
  uint32_t layer = 0;
  uint32_t direction = 0;
};

// Takes `literal` off the front of `text`.
bool Take(std::string_view literal, std::string_view* text) {
  if (text->substr(0, literal.size()) != literal) return false;
  text->remove_prefix(literal.size());
  return true;
}

bool TakeNumber(std::string_view* text, uint32_t* number) {
  size_t digits = 0;
  uint32_t value = 0;
  while (digits < text->size() && std::isdigit(static_cast<unsigned char>((*text)[digits]))) {
    value = value * 10 + static_cast<uint32_t>((*text)[digits++] - '0');
    if (value > kMaxNumber) return false;
  }
  if (digits == 0 || (digits > 1 && text->front() == '0')) return false;
  text->remove_prefix(digits);
  *number = value;
  return true;
}

// One part of a name, whole.
bool MatchPart(std::string_view pattern, std::string_view text, Match* match) {
  while (!pattern.empty()) {
    if (Take("{L}", &pattern) || Take("{L?}", &pattern)) {
      if (!TakeNumber(&text, &match->layer)) return false;
    } else if (Take("{R}", &pattern)) {
      match->direction = Take("_reverse", &text) ? 1 : 0;
    } else if (Take("{cell}", &pattern)) {
      size_t i = 0;
      while (i < 3 && !Take(kCellNames[i], &text)) ++i;
      if (i == 3) return false;
      match->direction = kCellDirections[i];
    } else {
      if (!Take(pattern.substr(0, 1), &text)) return false;
      pattern.remove_prefix(1);
    }
  }
  return text.empty();
}

// The last part of a name, and what stands before it with its dot.
std::string_view TakeLastPart(std::string_view* text) {
  const size_t dot = text->substr(0, text->empty() ? 0 : text->size() - 1).find_last_of("./");
  const std::string_view rest = dot == std::string_view::npos ? std::string_view() : text->substr(0, dot + 1);
  std::string_view last = text->substr(rest.size());
  *text = rest;
  return last;
}

std::optional<Match> MatchName(std::string_view pattern, std::string_view name) {
  Match match;
  bool at_end = true;
  while (!pattern.empty()) {
    std::string_view wanted = TakeLastPart(&pattern);
    if (wanted.back() == '.') wanted.remove_suffix(1);
    std::string_view rest = name;
    std::string_view last = TakeLastPart(&rest);
    if (!at_end && !last.empty()) last.remove_suffix(1);
    at_end = false;
    Match tried = match;
    if (MatchPart(wanted, last, &tried)) {
      match = tried;
      name = rest;
    } else if (wanted != "{L?}") {
      return std::nullopt;
    }
  }
  match.prefix = name.size();
  return match;
}

std::string FormatName(std::string_view pattern, uint32_t layer, uint32_t direction, bool bidirectional) {
  std::string name;
  while (!pattern.empty()) {
    if (Take("{L}", &pattern) || Take("{L?}", &pattern)) {
      absl::StrAppend(&name, layer);
    } else if (Take("{R}", &pattern)) {
      name += direction == 1 ? "_reverse" : "";
    } else if (Take("{cell}", &pattern)) {
      name += !bidirectional ? "cell" : direction == 1 ? "cell_bw" : "cell_fw";
    } else {
      name += pattern.front();
      pattern.remove_prefix(1);
    }
  }
  return name;
}

bool Has(std::string_view layouts, std::string_view layout) {
  while (!layouts.empty()) {
    const size_t end = std::min(layouts.find(' '), layouts.size());
    if (layouts.substr(0, end) == layout) return true;
    layouts.remove_prefix(std::min(end + 1, layouts.size()));
  }
  return false;
}

bool HasAny(std::string_view layouts, const std::set<std::string_view>& wanted) {
  for (std::string_view layout : wanted) {
    if (Has(layouts, layout)) return true;
  }
  return false;
}

}  // namespace

std::vector<Stack> FindNamedStacks(const TensorFile& file, const std::set<std::string_view>& layouts, Names* unused) {
  std::map<std::pair<std::string, Family>, Stack> stacks;
  for (const auto& [name, tensor] : file.tensors) {
    if (unused->count(name) == 0) continue;
    for (const NameRow& row : kNames) {
      if (!HasAny(row.layouts, layouts)) continue;
      const std::optional<Match> match = MatchName(row.pattern, name);
      if (!match) continue;
      Stack& stack = stacks[{name.substr(0, match->prefix), row.family}];
      stack.prefix = name.substr(0, match->prefix);
      stack.layout = row.family == Family::kCanonical     ? "canonical"
                     : row.family == Family::kPaddleCells ? "paddle"
                                                          : "torch";
      Part& part = stack.cells[{match->layer, match->direction}][static_cast<size_t>(row.role)];
      // Two names of one meaning (cell and cell_fw): the second stays unused, and is complained of.
      if (part.name != nullptr) break;
      part = {&name, &tensor, row.transposed};
      unused->erase(name);
      break;
    }
  }
  std::vector<Stack> found;
  for (auto& [key, stack] : stacks) {
    const auto& [prefix, family] = key;
    // Paddle's state_dict has every parameter of an LSTM twice; with a projection the second set is named wrongly.
    if (family == Family::kStack && stacks.count({prefix, Family::kPaddleCells}) != 0) continue;
    const bool bidirectional =
        std::any_of(stack.cells.begin(), stack.cells.end(), [](const auto& cell) { return cell.first.second == 1; });
    stack.name_of = [prefix = prefix, family = family, bidirectional](uint32_t layer, uint32_t direction, Role role) {
      for (const NameRow& row : kNames) {
        if (row.family == family && row.role == role) {
          return prefix + FormatName(row.pattern, layer, direction, bidirectional);
        }
      }
      return std::string("?");
    };
    found.push_back(std::move(stack));
  }
  return found;
}

}  // namespace lstmd
