// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/onnx_values.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace lstmd::onnx {
namespace {

// What a small file may still compute.
constexpr size_t kFewElements = 65536;

}  // namespace

Constants::Constants(DataFolder folder, size_t file_bytes) {
  context_.folder = std::move(folder);
  context_.most_elements = static_cast<int64_t>(std::max(file_bytes, kFewElements));
}

absl::StatusOr<Value> Constants::Get(const TensorProto& tensor) {
  const auto found = decoded_.find(&tensor);
  if (found != decoded_.end()) return found->second;
  const absl::StatusOr<Tensor> decoded = Decode(tensor, context_.folder);
  if (!decoded.ok()) return decoded.status();
  Value value = FromTensor(*decoded);
  if (tensor.data_location() == 1) context_.most_elements += Elements(value.view);
  return decoded_.emplace(&tensor, std::move(value)).first->second;
}

absl::StatusOr<const Value*> Values::Get(std::string_view name) {
  const auto found = values_.find(name);
  if (found != values_.end()) return &found->second;
  const Producer* producer = graph_.Find(name);
  if (producer == nullptr || producer->node != nullptr) {
    return FileError(absl::StrCat(Quoted(name), " is not made before it is needed"));
  }
  if (producer->constant != nullptr) {
    absl::StatusOr<Value> value = constants_.Get(*producer->constant);
    if (!value.ok()) return value.status();
    return &values_.emplace(producer->constant->name(), *std::move(value)).first->second;
  }
  const ValueInfoProto& input = *producer->input;
  if (dims_ == nullptr) return FileError(absl::StrCat("graph input ", Quoted(name), " has no value in the file"));
  const absl::StatusOr<std::vector<int64_t>> dims = dims_->Of(input);
  if (!dims.ok()) return dims.status();
  Value value;
  value.source = Source::kInput;
  value.index = static_cast<int>(inputs_.size());
  value.view = Contiguous(*dims);
  inputs_.push_back(&input);
  return &values_.emplace(input.name(), std::move(value)).first->second;
}

absl::StatusOr<std::vector<const Value*>> Values::Inputs(const NodeProto& node) {
  std::vector<const Value*> inputs;
  for (const std::string& name : node.input()) {
    if (name.empty()) {
      inputs.push_back(nullptr);
      continue;
    }
    const absl::StatusOr<const Value*> value = Get(name);
    if (!value.ok()) return NodeError(node, value.status().message());
    inputs.push_back(*value);
  }
  return inputs;
}

absl::Status Values::RunGlueNode(const NodeProto& node, const std::vector<const Value*>& inputs) {
  absl::StatusOr<std::vector<Value>> outputs = RunGlue(node, inputs, constants_.context());
  if (!outputs.ok()) return outputs.status();
  for (size_t k = 0; k < static_cast<size_t>(node.output_size()); ++k) {
    const std::string& name = node.output(static_cast<int>(k));
    if (name.empty()) continue;
    if (k >= outputs->size()) return NodeError(node, absl::StrCat("its output ", Quoted(name), " is not supported"));
    Set(name, (*outputs)[k]);
  }
  return absl::OkStatus();
}

}  // namespace lstmd::onnx
