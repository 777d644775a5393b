// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as an ONNX file. Every other mutation changes the graph that the bytes hold rather than the bytes, so that
// most inputs get past the parser and into what follows the data.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "engine/checkpoint/onnx.h"
#include "engine/checkpoint/onnx.pb.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

using lstmd::onnx::AttributeProto;
using lstmd::onnx::GraphProto;
using lstmd::onnx::NodeProto;
using lstmd::onnx::TensorProto;

constexpr int64_t kNumbers[] = {-1, 0, 1, 2, 3, 4, 5, 7, 11, 16, -2, 1 << 20, int64_t{1} << 40, INT64_MAX, INT64_MIN};
const char* const kOps[] = {
    "LSTM",   "Transpose", "Squeeze", "Unsqueeze", "Reshape",  "Concat",   "Slice",           "Gather", "Split",
    "Expand", "Tile",      "Shape",   "Cast",      "Constant", "Gemm",     "ConstantOfShape", "MatMul", "Add",
    "Sub",    "Mul",       "Div",     "Flatten",   "Relu",     "Identity", "Dropout",         "Sigmoid"};
const char* const kAttributes[] = {"axis",  "axes", "perm",  "to",  "split",     "hidden_size", "direction", "clip",
                                   "alpha", "beta", "start", "end", "allowzero", "layout",      "transB",    "value"};

class Mutator {
 public:
  Mutator(GraphProto* graph, unsigned seed) : graph_(*graph), random_(seed) {}

  void Mutate() {
    switch (Below(8)) {
      case 0:
        if (NodeProto* node = AnyNode(); node != nullptr && node->input_size() > 0) {
          node->set_input(Below(node->input_size()), AnyName());
        }
        break;
      case 1:
        if (NodeProto* node = AnyNode()) node->set_op_type(kOps[Below(std::size(kOps))]);
        break;
      case 2: {  // a node of its own between a name and those who use it
        const std::string name = AnyName();
        const std::string made = "m" + std::to_string(random_());
        for (NodeProto& node : *graph_.mutable_node()) {
          for (std::string& input : *node.mutable_input()) input = input == name ? made : input;
        }
        NodeProto* node = graph_.add_node();
        node->set_op_type(kOps[Below(std::size(kOps))]);
        node->add_input(name);
        for (int k = Below(3); k > 0; --k) node->add_input(AnyName());
        node->add_output(made);
        break;
      }
      case 3:
        if (NodeProto* node = AnyNode()) SetAttribute(node);
        break;
      case 4:
        if (graph_.initializer_size() > 0) SetTensor(graph_.mutable_initializer(Below(graph_.initializer_size())));
        break;
      case 5:
        if (graph_.input_size() > 0) {
          auto* shape =
              graph_.mutable_input(Below(graph_.input_size()))->mutable_type()->mutable_tensor_type()->mutable_shape();
          if (shape->dim_size() == 0 || Below(8) == 0) shape->add_dim();
          auto* dim = shape->mutable_dim(Below(shape->dim_size()));
          Below(3) == 0 ? dim->Clear() : dim->set_dim_value(Number());
        }
        break;
      case 6:
        if (Below(4) == 0 || graph_.output_size() == 0) graph_.add_output();
        graph_.mutable_output(Below(graph_.output_size()))->set_name(AnyName());
        break;
      default: {  // a list of numbers, as shapes and axes are
        TensorProto* tensor = graph_.add_initializer();
        tensor->set_name("l" + std::to_string(random_()));
        tensor->set_data_type(TensorProto::INT64);
        const int count = Below(4);
        if (Below(3) != 0) tensor->add_dims(count);
        for (int k = 0; k < (tensor->dims_size() == 0 ? 1 : count); ++k) tensor->add_int64_data(Number());
        if (NodeProto* node = AnyNode()) {
          node->input_size() > 1 ? node->set_input(1 + Below(node->input_size() - 1), tensor->name())
                                 : node->add_input(tensor->name());
        }
      }
    }
  }

 private:
  int Below(size_t count) { return static_cast<int>(random_() % std::max<size_t>(count, 1)); }
  int64_t Number() { return kNumbers[Below(std::size(kNumbers))]; }
  NodeProto* AnyNode() { return graph_.node_size() == 0 ? nullptr : graph_.mutable_node(Below(graph_.node_size())); }

  std::string AnyName() {
    std::vector<std::string> names = {""};
    for (const auto& tensor : graph_.initializer()) names.push_back(tensor.name());
    for (const auto& input : graph_.input()) names.push_back(input.name());
    for (const auto& node : graph_.node()) names.insert(names.end(), node.output().begin(), node.output().end());
    return names[static_cast<size_t>(Below(names.size()))];
  }

  void SetAttribute(NodeProto* node) {
    AttributeProto* attribute = node->attribute_size() > 0 && Below(2) == 0
                                    ? node->mutable_attribute(Below(node->attribute_size()))
                                    : node->add_attribute();
    attribute->clear_type();
    if (!attribute->has_name()) attribute->set_name(kAttributes[Below(std::size(kAttributes))]);
    attribute->set_i(Number());
    attribute->set_f(static_cast<float>(Number()));
    if (Below(2) == 0) attribute->clear_ints();
    for (int k = Below(4); k > 0; --k) attribute->add_ints(Number());
    if (Below(4) == 0) SetTensor(attribute->mutable_t());
  }

  void SetTensor(TensorProto* tensor) {
    switch (Below(4)) {
      case 0:
        tensor->set_data_type(Below(18));
        break;
      case 1:
        tensor->add_dims(Number());
        break;
      case 2:
        if (tensor->dims_size() > 0) tensor->set_dims(Below(tensor->dims_size()), Number());
        break;
      default:
        tensor->clear_raw_data();
        for (int k = Below(4); k > 0; --k) tensor->add_int64_data(Number());
    }
  }

  GraphProto& graph_;
  std::minstd_rand random_;
};

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  lstmd::onnx::ModelProto model;
  if (seed % 2 == 0 && model.ParseFromArray(data, static_cast<int>(size))) {
    Mutator(model.mutable_graph(), seed / 2).Mutate();
    const std::string bytes = model.SerializeAsString();
    if (bytes.size() <= max_size) {
      bytes.copy(reinterpret_cast<char*>(data), bytes.size());
      return bytes.size();
    }
  }
  return LLVMFuzzerMutate(data, size, max_size);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // At an address of its own, so that reading beyond the end is seen.
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  for (const absl::StatusOr<lstmd::ModelFiles>& files : {lstmd::ParseOnnx(bytes), lstmd::ParseOnnxNode(bytes, "")}) {
    if (files.ok() && (!Validate(files->spec).ok() || !Validate(files->spec, files->weights).ok())) std::abort();
  }
  return 0;
}
