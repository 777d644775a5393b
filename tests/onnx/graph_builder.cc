// SPDX-License-Identifier: Apache-2.0
#include "tests/onnx/graph_builder.h"

#include <cstdlib>

namespace lstmd::onnx {

std::vector<float> Numbers(size_t count, int seed) {
  std::vector<float> numbers(count);
  for (size_t k = 0; k < count; ++k) numbers[k] = static_cast<float>(seed) + static_cast<float>(k) / 4096.0f;
  return numbers;
}

GraphBuilder::GraphBuilder(int64_t opset) {
  model_.set_ir_version(8);
  OperatorSetIdProto* import = model_.add_opset_import();
  import->set_domain("");
  import->set_version(opset);
}

std::string GraphBuilder::Input(const std::string& name, const Names& dims, int32_t type) {
  ValueInfoProto* input = graph().add_input();
  input->set_name(name);
  input->mutable_type()->mutable_tensor_type()->set_elem_type(type);
  TensorShapeProto* shape = input->mutable_type()->mutable_tensor_type()->mutable_shape();
  for (const std::string& dim : dims) {
    TensorShapeProto::Dimension* added = shape->add_dim();
    if (dim.empty()) continue;
    if (dim[0] == '-' || (dim[0] >= '0' && dim[0] <= '9')) {
      added->set_dim_value(std::strtoll(dim.c_str(), nullptr, 10));
    } else {
      added->set_dim_param(dim);
    }
  }
  return name;
}

std::string GraphBuilder::InputOfAnyShape(const std::string& name) {
  graph().add_input()->set_name(name);
  return name;
}

std::string GraphBuilder::Floats(const std::string& name, const std::vector<int64_t>& dims,
                                 const std::vector<float>& values) {
  TensorProto* tensor = graph().add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(TensorProto::FLOAT);
  for (const int64_t dim : dims) tensor->add_dims(dim);
  tensor->set_raw_data(values.data(), values.size() * sizeof(float));
  return name;
}

std::string GraphBuilder::Ints(const std::string& name, const std::vector<int64_t>& values) {
  TensorProto* tensor = graph().add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(TensorProto::INT64);
  tensor->add_dims(static_cast<int64_t>(values.size()));
  tensor->set_raw_data(values.data(), values.size() * sizeof(int64_t));
  return name;
}

std::string GraphBuilder::Int(const std::string& name, int64_t value) {
  Ints(name, {value});
  graph().mutable_initializer(graph().initializer_size() - 1)->clear_dims();
  return name;
}

Names GraphBuilder::Node(const std::string& op, const Names& inputs, int outputs) {
  const std::string name = op + "_" + std::to_string(graph().node_size());
  NodeProto* node = graph().add_node();
  node->set_name(name);
  node->set_op_type(op);
  for (const std::string& input : inputs) node->add_input(input);
  Names made;
  for (int k = 0; k < outputs; ++k) {
    made.push_back(name + ":" + std::to_string(k));
    node->add_output(made.back());
  }
  return made;
}

Names GraphBuilder::Lstm(const std::string& x, int64_t input_size, int64_t hidden_size, int seed, int64_t directions,
                         const Names& extra) {
  const std::string at = std::to_string(graph().node_size());
  const auto count = [&](int64_t rest) { return static_cast<size_t>(directions * 4 * hidden_size * rest); };
  Floats("W" + at, {directions, 4 * hidden_size, input_size}, Numbers(count(input_size), seed));
  Floats("R" + at, {directions, 4 * hidden_size, hidden_size}, Numbers(count(hidden_size), seed + 1));
  Floats("B" + at, {directions, 8 * hidden_size}, Numbers(count(2), seed + 2));
  Names inputs = {x, "W" + at, "R" + at, "B" + at};
  inputs.insert(inputs.end(), extra.begin(), extra.end());
  Names outputs = Node("LSTM", inputs, 3);
  Set("hidden_size", hidden_size);
  if (directions == 2) Set("direction", std::string("bidirectional"));
  return outputs;
}

void GraphBuilder::Output(const std::string& name) { graph().add_output()->set_name(name); }

AttributeProto& GraphBuilder::Attribute(const std::string& name, AttributeProto::AttributeType type) {
  for (AttributeProto& attribute : *last().mutable_attribute()) {
    if (attribute.name() == name) return attribute;
  }
  AttributeProto* attribute = last().add_attribute();
  attribute->set_name(name);
  attribute->set_type(type);
  return *attribute;
}

GraphBuilder& GraphBuilder::Set(const std::string& name, int64_t value) {
  Attribute(name, AttributeProto::INT).set_i(value);
  return *this;
}

GraphBuilder& GraphBuilder::Set(const std::string& name, float value) {
  Attribute(name, AttributeProto::FLOAT).set_f(value);
  return *this;
}

GraphBuilder& GraphBuilder::Set(const std::string& name, const std::string& value) {
  Attribute(name, AttributeProto::STRING).set_s(value);
  return *this;
}

GraphBuilder& GraphBuilder::Set(const std::string& name, const std::vector<int64_t>& values) {
  AttributeProto& attribute = Attribute(name, AttributeProto::INTS);
  for (const int64_t value : values) attribute.add_ints(value);
  return *this;
}

GraphBuilder& GraphBuilder::Set(const std::string& name, const std::vector<float>& values) {
  AttributeProto& attribute = Attribute(name, AttributeProto::FLOATS);
  for (const float value : values) attribute.add_floats(value);
  return *this;
}

GraphBuilder& GraphBuilder::Set(const std::string& name, const Names& values) {
  AttributeProto& attribute = Attribute(name, AttributeProto::STRINGS);
  for (const std::string& value : values) attribute.add_strings(value);
  return *this;
}

}  // namespace lstmd::onnx
