// SPDX-License-Identifier: Apache-2.0
//
// The tensors of a graph while it is followed from node to node.
#ifndef LSTMD_ENGINE_CHECKPOINT_ONNX_VALUES_H_
#define LSTMD_ENGINE_CHECKPOINT_ONNX_VALUES_H_

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/checkpoint/onnx_dims.h"
#include "engine/checkpoint/onnx_glue.h"
#include "engine/checkpoint/onnx_graph.h"
#include "engine/checkpoint/onnx_tensor.h"

namespace lstmd::onnx {

// The initializers, each decoded once. Thread-compatible.
class Constants {
 public:
  // `file_bytes` bounds what may be computed from constants; data in other files adds to it.
  Constants(DataFolder folder, size_t file_bytes);

  absl::StatusOr<Value> Get(const TensorProto& tensor);
  const GlueContext& context() const { return context_; }

 private:
  GlueContext context_;
  std::unordered_map<const TensorProto*, Value> decoded_;
};

// Values by name. Thread-compatible; points to what it was made of.
class Values {
 public:
  // `dims` gives the graph inputs their extents; null: graph inputs have no value (MODEL_FILE).
  Values(const Graph& graph, Constants* constants, InputDims* dims)
      : graph_(graph), constants_(*constants), dims_(dims) {}

  // The value of a name: what Set said, an initializer, or a graph input. Stays where it is.
  absl::StatusOr<const Value*> Get(std::string_view name);
  // The inputs of `node`; null for those left out.
  absl::StatusOr<std::vector<const Value*>> Inputs(const NodeProto& node);
  // REQUIRES: `name` is an output of a node of the graph.
  void Set(std::string_view name, Value value) { values_[name] = std::move(value); }
  // Runs a node that only moves elements.
  absl::Status RunGlueNode(const NodeProto& node, const std::vector<const Value*>& inputs);

  // The graph input that kInput values call `index`.
  const ValueInfoProto& input(int index) const { return *inputs_[static_cast<size_t>(index)]; }

 private:
  const Graph& graph_;
  Constants& constants_;
  InputDims* const dims_;
  std::unordered_map<std::string_view, Value> values_;
  std::vector<const ValueInfoProto*> inputs_;
};

}  // namespace lstmd::onnx

#endif  // LSTMD_ENGINE_CHECKPOINT_ONNX_VALUES_H_
