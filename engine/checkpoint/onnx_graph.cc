// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/onnx_graph.h"

#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/checkpoint/onnx_tensor.h"

namespace lstmd::onnx {

std::string NodeName(const NodeProto& node) {
  const std::string op = Quoted(node.op_type());
  const std::string type = op.substr(1, op.size() - 2);
  if (!node.name().empty()) return absl::StrCat("node ", Quoted(node.name()), " (", type, ")");
  for (const std::string& output : node.output()) {
    if (!output.empty()) return absl::StrCat("node that makes ", Quoted(output), " (", type, ")");
  }
  return absl::StrCat("node without a name (", type, ")");
}

absl::Status NodeError(const NodeProto& node, absl::string_view why) {
  return FileError(absl::StrCat(NodeName(node), ": ", why));
}

absl::StatusOr<const AttributeProto*> Attributes::Find(std::string_view name,
                                                       AttributeProto::AttributeType type) const {
  const AttributeProto* found = nullptr;
  for (const AttributeProto& attribute : node_.attribute()) {
    if (attribute.name() != name) continue;
    if (found != nullptr) return NodeError(node_, absl::StrCat("attribute ", Quoted(name), " stands twice"));
    found = &attribute;
  }
  if (found != nullptr && (found->has_ref_attr_name() || (found->type() != 0 && found->type() != type))) {
    return NodeError(node_, absl::StrCat("attribute ", Quoted(name), ": got ",
                                         found->has_ref_attr_name() ? "a reference" : "another type", ", want ",
                                         AttributeProto::AttributeType_Name(type)));
  }
  return found;
}

#define LSTMD_ONNX_ATTRIBUTE(Method, Type, TYPE, expression)                              \
  absl::StatusOr<std::optional<Type>> Attributes::Method(std::string_view name) const {   \
    const absl::StatusOr<const AttributeProto*> found = Find(name, AttributeProto::TYPE); \
    if (!found.ok()) return found.status();                                               \
    if (*found == nullptr) return std::optional<Type>();                                  \
    const AttributeProto& a = **found;                                                    \
    return std::optional<Type>(expression);                                               \
  }
LSTMD_ONNX_ATTRIBUTE(Int, int64_t, INT, a.i())
LSTMD_ONNX_ATTRIBUTE(Float, float, FLOAT, a.f())
LSTMD_ONNX_ATTRIBUTE(String, std::string, STRING, a.s())
LSTMD_ONNX_ATTRIBUTE(Ints, std::vector<int64_t>, INTS, std::vector<int64_t>(a.ints().begin(), a.ints().end()))
LSTMD_ONNX_ATTRIBUTE(Floats, std::vector<float>, FLOATS, std::vector<float>(a.floats().begin(), a.floats().end()))
LSTMD_ONNX_ATTRIBUTE(Strings, std::vector<std::string>, STRINGS,
                     std::vector<std::string>(a.strings().begin(), a.strings().end()))
#undef LSTMD_ONNX_ATTRIBUTE

absl::StatusOr<const TensorProto*> Attributes::Tensor(std::string_view name) const {
  const absl::StatusOr<const AttributeProto*> found = Find(name, AttributeProto::TENSOR);
  if (!found.ok()) return found.status();
  return *found == nullptr ? nullptr : &(*found)->t();
}

absl::StatusOr<int64_t> Attributes::IntOr(std::string_view name, int64_t absent) const {
  const absl::StatusOr<std::optional<int64_t>> value = Int(name);
  if (!value.ok()) return value.status();
  return value->value_or(absent);
}

absl::StatusOr<Graph> Graph::Index(const std::vector<const GraphProto*>& scopes) {
  Graph result;
  for (const GraphProto* graph : scopes) {
    std::unordered_map<std::string_view, Producer> made;
    const auto twice = [](std::string_view name) {
      return FileError(absl::StrCat("graph: ", Quoted(name), " is made twice"));
    };
    for (const TensorProto& tensor : graph->initializer()) {
      if (!made.emplace(tensor.name(), Producer{nullptr, 0, &tensor, nullptr}).second) return twice(tensor.name());
    }
    std::unordered_set<std::string_view> inputs;
    for (const ValueInfoProto& input : graph->input()) {
      if (!inputs.insert(input.name()).second) return twice(input.name());
      made.emplace(input.name(), Producer{nullptr, 0, nullptr, &input});
    }
    for (const NodeProto& node : graph->node()) {
      for (int i = 0; i < node.output_size(); ++i) {
        if (node.output(i).empty()) continue;
        if (!made.emplace(node.output(i), Producer{&node, i, nullptr, nullptr}).second) {
          return NodeError(node, absl::StrCat("its output ", Quoted(node.output(i)), " is made twice"));
        }
      }
    }
    for (const auto& [name, producer] : made) result.producers_[name] = producer;
  }
  return result;
}

const Producer* Graph::Find(std::string_view name) const {
  const auto found = producers_.find(name);
  return found == producers_.end() ? nullptr : &found->second;
}

absl::StatusOr<std::vector<const NodeProto*>> Graph::Order(const std::vector<std::string>& names) const {
  std::vector<const NodeProto*> order;
  // False while a node's own inputs are being looked at: meeting it again then is a cycle.
  std::unordered_map<const NodeProto*, bool> done;
  struct Visit {
    const NodeProto* node;
    int next_input;
  };
  std::vector<Visit> stack;  // depth first, without recursion
  for (const std::string& name : names) {
    const Producer* producer = Find(name);
    if (producer == nullptr) return FileError(absl::StrCat("graph output ", Quoted(name), " is made by nothing"));
    if (producer->node == nullptr || !done.emplace(producer->node, false).second) continue;
    stack.push_back({producer->node, 0});
    while (!stack.empty()) {
      const NodeProto* node = stack.back().node;
      if (stack.back().next_input == node->input_size()) {
        done[node] = true;
        order.push_back(node);
        stack.pop_back();
        continue;
      }
      const std::string& input = node->input(stack.back().next_input++);
      if (input.empty()) continue;
      const Producer* from = Find(input);
      if (from == nullptr) return NodeError(*node, absl::StrCat("its input ", Quoted(input), " is made by nothing"));
      if (from->node == nullptr) continue;
      const auto [entry, added] = done.emplace(from->node, false);
      if (added) {
        stack.push_back({from->node, 0});
      } else if (!entry->second) {
        return NodeError(*from->node, "is part of a cycle");
      }
    }
  }
  return order;
}

}  // namespace lstmd::onnx
