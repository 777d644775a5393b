// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/str_cat.h"
#include "engine/checkpoint/onnx_stack_reader.h"

namespace lstmd::onnx {

absl::Status StackReader::RunDense(const NodeProto& node, const Inputs& inputs) {
  const Value& data = *inputs[0];
  if (data.source == Source::kHead) {
    return NodeError(node, absl::StrCat("is a second dense layer, after ", NodeName(*stack_.head->node),
                                        ": a model has at most one"));
  }
  if (data.source == Source::kInput) return NodeError(node, "is a dense layer before the LSTM");
  if (data.is_constant()) return NodeError(node, "is not applied to LSTM outputs");
  if (stack_.head)
    return NodeError(node, absl::StrCat("is a second dense layer beside ", NodeName(*stack_.head->node)));
  absl::StatusOr<Dense> dense = ReadDense(node, inputs, most());
  if (!dense.ok()) return dense.status();

  const Layout from =
      data.source == Source::kLayer ? LayerLayout() : StateLayout(static_cast<int64_t>(stack_.layers.size()) - 1);
  const std::optional<Take> take = Match(data.view, from);
  const size_t rank = data.view.axes.size();
  const bool top = data.source == Source::kState || static_cast<size_t>(data.index) + 1 == stack_.layers.size();
  if (!top || !take || rank == 0 || Normal(data.view.axes[rank - 1]) != Normal(from.features)) {
    return NodeError(node,
                     "is not applied to all features, in their order, of all or of the last steps of the top LSTM");
  }
  if (dense->inputs != Extent(data.view.axes[rank - 1])) {
    return NodeError(
        node, absl::StrCat("wants ", dense->inputs, " features, the LSTM has ", Extent(data.view.axes[rank - 1])));
  }
  if (node.op_type() == "Gemm" && rank != 2)
    return NodeError(node, absl::StrCat("its input has ", rank, " dimensions"));
  if (data.source == Source::kLayer) {
    const absl::Status status = NoteTake(*take, NodeName(node));
    if (!status.ok()) return status;
  } else {
    absl::StrAppend(&stack_.summary, NodeName(node), " final; ");
  }
  std::vector<int64_t> dims = Dims(data.view);
  dims.back() = dense->outputs;
  if (!ElementsOf(dims)) return NodeError(node, "its output is impossibly large");
  // The rows of the output are those of the input: [T, N] or [N, T], or only [N].
  const bool steps = data.source == Source::kLayer && (*take == Take::kAll || *take == Take::kReversed);
  const int64_t outputs = dense->outputs;
  head_layout_ = {0, {1, 0}, {rows_, outputs}, {{outputs, 1}}};
  if (steps) {
    const Axis rows = Flatten(data.view, rank - 1);
    const bool batch_outside = !rows.empty() && rows[0] == Atom{rows_, from.batch.stride} && rows_ > 1 && steps_ > 1;
    head_layout_.time = {steps_, batch_outside ? outputs : rows_ * outputs};
    if (batch_outside) head_layout_.batch.stride = steps_ * outputs;
  }
  stack_.head = *std::move(dense);
  Value result;
  result.source = Source::kHead;
  result.view = Contiguous(dims);
  if (node.output_size() != 1) return NodeError(node, "wants one output");
  values_.Set(node.output(0), std::move(result));
  return absl::OkStatus();
}

absl::Status StackReader::ContinueDense(const NodeProto& node, const Inputs& inputs, const Value& head) {
  if (head.index != stack_.head->stage || node.output_size() != 1) {
    return NodeError(node, "is applied to an output of the dense layer that something else continues");
  }
  if (IsActivation(node)) {
    if (stack_.head->activation) return NodeError(node, "is a second activation after the dense layer");
    const absl::StatusOr<Activation> activation = ReadActivation(node);
    if (!activation.ok()) return activation.status();
    stack_.head->activation = *activation;
    ++stack_.head->stage;
  } else {
    const Value* bias = inputs[0] == &head ? inputs[1] : inputs[0];
    if (bias == nullptr || bias->view.axes.size() > head.view.axes.size() || head.view.axes.empty() ||
        Normal(head.view.axes.back()) != Normal(head_layout_.features)) {
      return NodeError(node, "does not add one number to each output");
    }
    const absl::Status status = AddBias(node, *bias, most(), &*stack_.head);
    if (!status.ok()) return status;
  }
  Value result = head;
  result.index = stack_.head->stage;
  values_.Set(node.output(0), std::move(result));
  return absl::OkStatus();
}

}  // namespace lstmd::onnx
