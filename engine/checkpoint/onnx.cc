// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/onnx.h"

#include <filesystem>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/checkpoint/mapped_file.h"
#include "engine/checkpoint/onnx.pb.h"
#include "engine/checkpoint/onnx_graph.h"
#include "engine/checkpoint/onnx_limits.h"
#include "engine/checkpoint/onnx_lstm.h"
#include "engine/checkpoint/onnx_stack.h"
#include "engine/checkpoint/onnx_tensor.h"
#include "engine/checkpoint/onnx_values.h"

namespace lstmd {
namespace onnx {
namespace {

// Before it, LSTM and Dropout meant other things.
constexpr int64_t kFirstOpset = 7;
// The largest message that protobuf takes.
constexpr size_t kLargestFile = INT32_MAX;
constexpr size_t kDeepestGraph = 32;

absl::StatusOr<ModelProto> ParseModel(std::string_view bytes) {
  if (bytes.size() > kLargestFile) {
    return FileError(
        absl::StrCat("got ", bytes.size(), " bytes, want at most ", kLargestFile, " and the rest as external data"));
  }
  if (!IsModest(bytes))
    return FileError(absl::StrCat("the file has more than ", kMostItems, " nodes, names and tensors"));
  ModelProto model;
  if (!model.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return FileError("the file is damaged or no ONNX file");
  }
  if (!model.has_graph()) return FileError("the file has no graph");
  int64_t opset = 0;
  for (const OperatorSetIdProto& import : model.opset_import()) {
    if (import.domain().empty() || import.domain() == "ai.onnx") opset = import.version();
  }
  if (opset < kFirstOpset) return FileError(absl::StrCat("opset: got ", opset, ", want ", kFirstOpset, " or later"));
  return model;
}

absl::Status AddHead(const Dense& dense, ModelFiles* files) {
  if (dense.outputs > INT32_MAX) return NodeError(*dense.node, absl::StrCat("has ", dense.outputs, " outputs"));
  Head head;
  head.output_size = static_cast<uint32_t>(dense.outputs);
  head.bias = !dense.bias.empty();
  if (dense.activation) head.activation = *dense.activation;
  files->spec.head = head;
  files->weights.head_weight = dense.weight;
  files->weights.head_bias = dense.bias;
  return absl::OkStatus();
}

absl::StatusOr<ModelFiles> Checked(ModelFiles files) {
  absl::Status status = Validate(files.spec);
  if (status.ok()) status = Validate(files.spec, files.weights);
  if (!status.ok()) return status;
  return files;
}

absl::StatusOr<ModelFiles> Read(std::string_view bytes, DataFolder folder) {
  const absl::StatusOr<ModelProto> model = ParseModel(bytes);
  if (!model.ok()) return model.status();
  const absl::StatusOr<Graph> index = Graph::Index({&model->graph()});
  if (!index.ok()) return index.status();
  Constants constants(std::move(folder), bytes.size());
  const absl::StatusOr<Stack> stack = ReadStack(model->graph(), *index, &constants);
  if (!stack.ok()) return stack.status();
  absl::StatusOr<ModelFiles> files = Assemble(stack->layers, constants.context().most_elements);
  if (!files.ok()) return files.status();
  if (stack->head) {
    const absl::Status status = AddHead(*stack->head, &*files);
    if (!status.ok()) return status;
  }
  return Checked(*std::move(files));
}

// An LSTM node and the graphs that it is in, the outermost first.
struct Place {
  const NodeProto* node;
  std::vector<const GraphProto*> scopes;
};

bool IsCalled(const NodeProto& node, std::string_view name) {
  if (name.empty() || node.name() == name) return true;
  for (const std::string& output : node.output()) {
    if (output == name) return true;
  }
  return false;
}

void FindLstms(std::vector<const GraphProto*> scopes, std::string_view name, std::vector<Place>* places) {
  if (scopes.size() > kDeepestGraph) return;
  for (const NodeProto& node : scopes.back()->node()) {
    if (node.domain().empty() && node.op_type() == "LSTM" && IsCalled(node, name)) places->push_back({&node, scopes});
    for (const AttributeProto& attribute : node.attribute()) {
      if (!attribute.has_g()) continue;
      scopes.push_back(&attribute.g());
      FindLstms(scopes, name, places);
      scopes.pop_back();
    }
  }
}

absl::StatusOr<ModelFiles> ReadNode(std::string_view bytes, std::string_view name, DataFolder folder) {
  const absl::StatusOr<ModelProto> model = ParseModel(bytes);
  if (!model.ok()) return model.status();
  std::vector<Place> places;
  FindLstms({&model->graph()}, name, &places);
  if (places.size() != 1) {
    std::string names;
    for (const Place& place : places) absl::StrAppend(&names, names.empty() ? ": " : ", ", NodeName(*place.node));
    return FileError(absl::StrCat("LSTM nodes called ", Quoted(name), ": got ", places.size(), ", want 1", names));
  }
  const NodeProto& node = *places[0].node;
  const absl::StatusOr<Graph> index = Graph::Index(places[0].scopes);
  if (!index.ok()) return index.status();
  Constants constants(std::move(folder), bytes.size());
  Values values(*index, &constants, nullptr);
  std::vector<const Value*> inputs(kLstmInputs, nullptr);
  const auto evaluate = [&](const std::string& input) -> absl::StatusOr<const Value*> {
    const absl::StatusOr<std::vector<const NodeProto*>> order = index->Order({input});
    if (!order.ok()) return order.status();
    for (const NodeProto* maker : *order) {
      const absl::StatusOr<std::vector<const Value*>> from = values.Inputs(*maker);
      if (!from.ok()) return from.status();
      const absl::Status status = values.RunGlueNode(*maker, *from);
      if (!status.ok()) return status;
    }
    return values.Get(input);
  };
  for (const LstmInput i : {kW, kR, kB, kP}) {
    if (static_cast<int>(i) >= node.input_size() || node.input(i).empty()) continue;
    const absl::StatusOr<const Value*> value = evaluate(node.input(i));
    if (!value.ok()) return NodeError(node, value.status().message());
    inputs[i] = *value;
  }
  absl::StatusOr<Layer> layer = ReadLayer(node, inputs);
  if (!layer.ok()) return layer.status();
  for (const LstmInput i : {kInitialH, kInitialC}) {
    if (static_cast<int>(i) >= node.input_size() || node.input(i).empty()) continue;
    const absl::StatusOr<const Value*> value = evaluate(node.input(i));
    if (!value.ok() || (*value)->source != Source::kFloats) continue;
    absl::StatusOr<std::vector<float>> rows = ReadInitialState(*layer, **value, constants.context().most_elements);
    if (!rows.ok()) return rows.status();
    (i == kInitialH ? layer->initial_h : layer->initial_c) = *std::move(rows);
  }
  absl::StatusOr<ModelFiles> files = Assemble({*layer}, constants.context().most_elements);
  if (!files.ok()) return files.status();
  return Checked(*std::move(files));
}

DataFolder FolderOf(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return {parent.empty() ? "." : parent};
}

}  // namespace
}  // namespace onnx

absl::StatusOr<ModelFiles> ReadOnnx(const std::string& path) {
  const absl::StatusOr<std::shared_ptr<const MappedFile>> file = MappedFile::Open(path);
  if (!file.ok()) return file.status();
  return onnx::Read((*file)->bytes(), onnx::FolderOf(path));
}

absl::StatusOr<ModelFiles> ReadOnnxNode(const std::string& path, std::string_view node) {
  const absl::StatusOr<std::shared_ptr<const MappedFile>> file = MappedFile::Open(path);
  if (!file.ok()) return file.status();
  return onnx::ReadNode((*file)->bytes(), node, onnx::FolderOf(path));
}

absl::StatusOr<std::vector<std::string>> OnnxDataFiles(const std::string& path) {
  const absl::StatusOr<std::shared_ptr<const MappedFile>> file = MappedFile::Open(path);
  if (!file.ok()) return file.status();
  const absl::StatusOr<onnx::ModelProto> model = onnx::ParseModel((*file)->bytes());
  if (!model.ok()) return model.status();
  std::set<std::string> names;
  for (const onnx::TensorProto& tensor : model->graph().initializer()) {
    if (tensor.data_location() != 1) continue;
    absl::StatusOr<std::string> name = onnx::DataFile(tensor);
    if (!name.ok()) return name.status();
    names.insert(*std::move(name));
  }
  return std::vector<std::string>(names.begin(), names.end());
}

absl::StatusOr<ModelFiles> ParseOnnx(std::string_view bytes) { return onnx::Read(bytes, {}); }

absl::StatusOr<ModelFiles> ParseOnnxNode(std::string_view bytes, std::string_view node) {
  return onnx::ReadNode(bytes, node, {});
}

}  // namespace lstmd
