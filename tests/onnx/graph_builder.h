// SPDX-License-Identifier: Apache-2.0
//
// ONNX files made in memory, node by node.
#ifndef LSTMD_TESTS_ONNX_GRAPH_BUILDER_H_
#define LSTMD_TESTS_ONNX_GRAPH_BUILDER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/checkpoint/onnx.pb.h"

namespace lstmd::onnx {

using Names = std::vector<std::string>;

// Numbers that are all different from each other and from those of another seed.
std::vector<float> Numbers(size_t count, int seed);

class GraphBuilder {
 public:
  explicit GraphBuilder(int64_t opset = 17);

  // A graph input: dimensions are numbers ("4"), names ("batch") or open ("").
  std::string Input(const std::string& name, const Names& dims, int32_t type = TensorProto::FLOAT);
  // A graph input of which not even the rank is known.
  std::string InputOfAnyShape(const std::string& name);
  // Initializers, in raw form.
  std::string Floats(const std::string& name, const std::vector<int64_t>& dims, const std::vector<float>& values);
  std::string Ints(const std::string& name, const std::vector<int64_t>& values);
  std::string Int(const std::string& name, int64_t value);
  // A node "op_N" and its `outputs` outputs "op_N:0", ….
  Names Node(const std::string& op, const Names& inputs, int outputs = 1);
  // The only output of such a node.
  std::string One(const std::string& op, const Names& inputs) { return Node(op, inputs)[0]; }
  // An LSTM node with weights W, R, B of `seed` on x, [Y, Y_h, Y_c]; `extra` inputs come after B.
  Names Lstm(const std::string& x, int64_t input_size, int64_t hidden_size, int seed = 1, int64_t directions = 1,
             const Names& extra = {});
  void Output(const std::string& name);

  // Attributes of the last node.
  GraphBuilder& Set(const std::string& name, int64_t value);
  GraphBuilder& Set(const std::string& name, float value);
  GraphBuilder& Set(const std::string& name, const std::string& value);
  GraphBuilder& Set(const std::string& name, const std::vector<int64_t>& values);
  GraphBuilder& Set(const std::string& name, const std::vector<float>& values);
  GraphBuilder& Set(const std::string& name, const Names& values);

  std::string Bytes() const { return model_.SerializeAsString(); }
  GraphProto& graph() { return *model_.mutable_graph(); }
  ModelProto& model() { return model_; }
  NodeProto& last() { return *graph().mutable_node(graph().node_size() - 1); }

 private:
  AttributeProto& Attribute(const std::string& name, AttributeProto::AttributeType type);

  ModelProto model_;
};

}  // namespace lstmd::onnx

#endif  // LSTMD_TESTS_ONNX_GRAPH_BUILDER_H_
