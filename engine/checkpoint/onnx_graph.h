// SPDX-License-Identifier: Apache-2.0
//
// Who makes what in an ONNX graph, and in which order.
#ifndef LSTMD_ENGINE_CHECKPOINT_ONNX_GRAPH_H_
#define LSTMD_ENGINE_CHECKPOINT_ONNX_GRAPH_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/checkpoint/onnx.pb.h"

namespace lstmd::onnx {

// "node '/lstm/LSTM' (LSTM)", or by its first output where it has no name.
std::string NodeName(const NodeProto& node);

// MODEL_FILE: "node 'x' (Op): <why>".
absl::Status NodeError(const NodeProto& node, absl::string_view why);

// The attributes of one node. Getters answer nothing when there is no such attribute, and MODEL_FILE when it is there
// twice or of another type. Points into the node.
class Attributes {
 public:
  explicit Attributes(const NodeProto& node) : node_(node) {}

  absl::StatusOr<std::optional<int64_t>> Int(std::string_view name) const;
  absl::StatusOr<std::optional<float>> Float(std::string_view name) const;
  absl::StatusOr<std::optional<std::string>> String(std::string_view name) const;
  absl::StatusOr<std::optional<std::vector<int64_t>>> Ints(std::string_view name) const;
  absl::StatusOr<std::optional<std::vector<float>>> Floats(std::string_view name) const;
  absl::StatusOr<std::optional<std::vector<std::string>>> Strings(std::string_view name) const;
  absl::StatusOr<const TensorProto*> Tensor(std::string_view name) const;  // null if none

  // Int with a default.
  absl::StatusOr<int64_t> IntOr(std::string_view name, int64_t absent) const;

 private:
  absl::StatusOr<const AttributeProto*> Find(std::string_view name, AttributeProto::AttributeType type) const;

  const NodeProto& node_;
};

// What stands behind a name: one of the three.
struct Producer {
  const NodeProto* node = nullptr;
  int output = 0;  // of `node`
  const TensorProto* constant = nullptr;
  const ValueInfoProto* input = nullptr;
};

// One graph, or a graph within graphs (If, Loop) whose names it sees. Thread-compatible; points into the graphs.
class Graph {
 public:
  // `scopes` has the outermost graph first. MODEL_FILE when a name is made twice within one of them. A graph input that
  // is also an initializer is the initializer.
  static absl::StatusOr<Graph> Index(const std::vector<const GraphProto*>& scopes);

  // Null when nothing makes `name`.
  const Producer* Find(std::string_view name) const;

  // The nodes that `names` need, each after those it needs itself. MODEL_FILE for cycles and names that nothing makes.
  absl::StatusOr<std::vector<const NodeProto*>> Order(const std::vector<std::string>& names) const;

 private:
  std::unordered_map<std::string_view, Producer> producers_;
};

}  // namespace lstmd::onnx

#endif  // LSTMD_ENGINE_CHECKPOINT_ONNX_GRAPH_H_
