// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/str_cat.h"
#include "engine/checkpoint/onnx_stack_reader.h"

namespace lstmd::onnx {
namespace {

constexpr int kMostFixes = 64;

}  // namespace

Layout StackReader::LayerLayout() const {
  const Layer& layer = stack_.layers.front();
  const int64_t d = layer.directions();
  const int64_t h = layer.hidden_size;
  return {0, {steps_, d * rows_ * h}, {rows_, h}, {{d, rows_ * h}, {h, 1}}};
}

Layout StackReader::StateLayout(int64_t index) const {
  const Layer& layer = stack_.layers.front();
  const int64_t d = layer.directions();
  const int64_t h = layer.hidden_size;
  return {index * d * rows_ * h, {1, 0}, {rows_, h}, {{d, rows_ * h}, {h, 1}}};
}

absl::Status StackReader::NoteTake(Take take, const std::string& what) {
  if (take == Take::kAll || take == Take::kReversed) {
    const bool reversed = take == Take::kReversed;
    if (output_reversed_ && *output_reversed_ != reversed) {
      return FileError(absl::StrCat(what, " has another order of time than the graph's other outputs"));
    }
    output_reversed_ = reversed;
  }
  // The first step is what a reverse layer computes last; of any other it is no output of a model.
  if (take == Take::kFirst && stack_.layers.back().direction != Direction::kReverse) {
    return FileError(absl::StrCat(what, " takes only the first time step"));
  }
  absl::StrAppend(&stack_.summary, what, " ", static_cast<int>(take), "; ");
  return absl::OkStatus();
}

absl::Status StackReader::Run(const NodeProto& node) {
  const absl::StatusOr<Inputs> inputs = values_.Inputs(node);
  if (!inputs.ok()) return inputs.status();
  if (node.domain().empty() && node.op_type() == "LSTM") {
    if (inputs->empty()) return NodeError(node, "has no input");
    return RunLstm(node, *inputs);
  }
  if (IsDense(node)) {
    if (inputs->empty() || (*inputs)[0] == nullptr) return NodeError(node, "has no input");
    return RunDense(node, *inputs);
  }
  const Value* head = nullptr;
  for (const Value* input : *inputs) {
    if (input != nullptr && input->source == Source::kHead) head = input;
  }
  if (IsActivation(node) && !inputs->empty() && head == nullptr) {
    return NodeError(node, "is an activation that does not follow a dense layer");
  }
  const bool add = node.domain().empty() && node.op_type() == "Add" && inputs->size() == 2;
  if (head != nullptr && (add || IsActivation(node))) return ContinueDense(node, *inputs, *head);
  return values_.RunGlueNode(node, *inputs);
}

absl::Status StackReader::CheckOutput(const std::string& name) {
  const absl::StatusOr<const Value*> found = values_.Get(name);
  if (!found.ok()) return found.status();
  const Value& value = **found;
  const std::string what = absl::StrCat("graph output ", Quoted(name));
  if (value.source == Source::kState) return absl::OkStatus();
  if (value.source == Source::kLayer) {
    if (stack_.head) return FileError(absl::StrCat(what, " comes from before the dense layer"));
    if (static_cast<size_t>(value.index) + 1 != stack_.layers.size()) {
      return FileError(absl::StrCat(what, " comes from ",
                                    NodeName(*stack_.layers[static_cast<size_t>(value.index)].node),
                                    ", which is not the top layer"));
    }
    const std::optional<Take> take = Match(value.view, LayerLayout());
    if (!take) return FileError(absl::StrCat(what, " has neither all nor the last outputs of the LSTM"));
    return NoteTake(*take, what);
  }
  if (value.source == Source::kHead) {
    if (value.index != stack_.head->stage) return FileError(absl::StrCat(what, " comes from within the dense layer"));
    const std::optional<Take> take = Match(value.view, head_layout_);
    if (!take || *take == Take::kReversed || (*take == Take::kFirst && head_layout_.time.extent > 1)) {
      return FileError(absl::StrCat(what, " has neither all nor the last outputs of the dense layer"));
    }
    return absl::OkStatus();
  }
  return FileError(absl::StrCat(what, " does not come from an LSTM"));
}

absl::Status StackReader::SettleDirections() {
  for (size_t k = 0; k < stack_.layers.size(); ++k) {
    Layer& layer = stack_.layers[k];
    const bool turned_in = reads_reversed_[k];
    const bool turned_out = k + 1 == stack_.layers.size() && output_reversed_.value_or(false);
    if (!turned_in && !turned_out) continue;
    if (layer.direction == Direction::kBidirectional) return NodeError(*layer.node, "is turned around in time");
    const bool backward = turned_in != (layer.direction == Direction::kReverse);
    const bool turned = turned_in != turned_out;
    if (turned && !backward) return NodeError(*layer.node, "reads forward in time, but its outputs are turned around");
    layer.direction = !backward ? Direction::kForward : turned ? Direction::kGoBackwards : Direction::kReverse;
  }
  return absl::OkStatus();
}

absl::StatusOr<Stack> StackReader::Read() {
  std::vector<std::string> names;
  for (const ValueInfoProto& output : graph_.output()) names.push_back(output.name());
  const absl::StatusOr<std::vector<const NodeProto*>> order = index_.Order(names);
  if (!order.ok()) return order.status();
  for (const NodeProto* node : *order) {
    const absl::Status status = Run(*node);
    if (!status.ok()) return status;
  }
  if (stack_.layers.empty()) return FileError("graph: its outputs come from no LSTM node");
  for (const std::string& name : names) {
    const absl::Status status = CheckOutput(name);
    if (!status.ok()) return status;
  }
  const absl::Status status = SettleDirections();
  if (!status.ok()) return status;
  return std::move(stack_);
}

absl::StatusOr<Stack> ReadStack(const GraphProto& graph, const Graph& index, Constants* constants) {
  std::optional<Stack> found;
  for (int round = 0; round < 2; ++round) {
    InputDims dims(round);
    absl::StatusOr<Stack> stack = FileError("");
    for (int fixes = 0; fixes < kMostFixes; ++fixes) {
      StackReader reader(graph, index, constants, &dims);
      stack = reader.Read();
      if (stack.ok() || !reader.again()) break;
    }
    if (!stack.ok()) return stack.status();
    if (found && found->summary != stack->summary) {
      return FileError(
          absl::StrCat("graph: means something else for other lengths: ", found->summary, " or ", stack->summary));
    }
    found = *std::move(stack);
    if (!dims.guessed()) break;
  }
  return *std::move(found);
}

}  // namespace lstmd::onnx
