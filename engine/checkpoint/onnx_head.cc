// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/onnx_head.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/checkpoint/onnx_graph.h"

namespace lstmd::onnx {
namespace {

struct ActivationRow {
  const char* op;
  Function function;
  std::optional<float> alpha, beta;  // the operators' own defaults
};
const ActivationRow kActivations[] = {
    {"Sigmoid", Function::kSigmoid, {}, {}},   {"Tanh", Function::kTanh, {}, {}},
    {"Relu", Function::kRelu, {}, {}},         {"Softsign", Function::kSoftsign, {}, {}},
    {"Softplus", Function::kSoftplus, {}, {}}, {"HardSigmoid", Function::kHardSigmoid, 0.2f, 0.5f},
    {"Elu", Function::kElu, 1.0f, {}},         {"LeakyRelu", Function::kLeakyRelu, 0.01f, {}},
    {"Selu", Function::kSelu, {}, {}},         {"ThresholdedRelu", Function::kThresholdedRelu, 1.0f, {}},
    {"Gelu", Function::kGelu, {}, {}},
};

const ActivationRow* FindActivation(const NodeProto& node) {
  const auto* row = std::find_if(std::begin(kActivations), std::end(kActivations),
                                 [&](const ActivationRow& candidate) { return node.op_type() == candidate.op; });
  return row == std::end(kActivations) || !node.domain().empty() ? nullptr : row;
}

// `value` as [outputs]: one number for each, or one for all.
absl::StatusOr<std::vector<float>> ReadBias(const NodeProto& node, const Value& value, int64_t outputs, int64_t most) {
  const std::vector<int64_t> dims = Dims(value.view);
  const int64_t last = dims.empty() ? 1 : dims.back();
  if (value.source != Source::kFloats || Elements(value.view) != last || (last != 1 && last != outputs)) {
    return NodeError(node, absl::StrCat("bias: got ", value.is_constant() ? ShapeText(dims) : "data",
                                        ", want a constant [", outputs, "]"));
  }
  absl::StatusOr<std::vector<float>> bias = ReadFloats(value, most);
  if (!bias.ok()) return NodeError(node, bias.status().message());
  if (last == 1) bias->resize(static_cast<size_t>(outputs), (*bias)[0]);
  return bias;
}

}  // namespace

bool IsDense(const NodeProto& node) {
  return node.domain().empty() && (node.op_type() == "Gemm" || node.op_type() == "MatMul");
}

absl::StatusOr<Dense> ReadDense(const NodeProto& node, const std::vector<const Value*>& inputs, int64_t most_elements) {
  const bool gemm = node.op_type() == "Gemm";
  const Attributes attributes(node);
  const auto alpha = attributes.Float("alpha");
  const auto beta = attributes.Float("beta");
  const auto transposed_a = attributes.IntOr("transA", 0);
  const auto transposed_b = attributes.IntOr("transB", 0);
  for (const absl::Status& status : {alpha.status(), beta.status(), transposed_a.status(), transposed_b.status()}) {
    if (!status.ok()) return status;
  }
  if (inputs.size() < 2 || inputs[0] == nullptr || inputs[1] == nullptr) return NodeError(node, "wants two inputs");
  if (gemm && *transposed_a != 0) return NodeError(node, "transA: got 1, want 0");
  Value weight = *inputs[1];
  const std::vector<int64_t> dims = Dims(weight.view);
  if (weight.source != Source::kFloats || dims.size() != 2 || Elements(weight.view) == 0) {
    return NodeError(node, "its second input is not a constant matrix in the file");
  }
  const bool rows_are_outputs = gemm && *transposed_b != 0;
  if (!rows_are_outputs) std::swap(weight.view.axes[0], weight.view.axes[1]);
  Dense dense;
  dense.node = &node;
  dense.outputs = rows_are_outputs ? dims[0] : dims[1];
  dense.inputs = rows_are_outputs ? dims[1] : dims[0];
  absl::StatusOr<std::vector<float>> values = ReadFloats(weight, most_elements);
  if (!values.ok()) return NodeError(node, values.status().message());
  dense.weight = *std::move(values);
  if (gemm) {
    for (float& x : dense.weight) x *= alpha->value_or(1.0f);
    if (inputs.size() > 2 && inputs[2] != nullptr) {
      absl::StatusOr<std::vector<float>> bias = ReadBias(node, *inputs[2], dense.outputs, most_elements);
      if (!bias.ok()) return bias.status();
      dense.bias = *std::move(bias);
      for (float& x : dense.bias) x *= beta->value_or(1.0f);
    }
  }
  return dense;
}

absl::Status AddBias(const NodeProto& node, const Value& bias, int64_t most_elements, Dense* dense) {
  if (dense->activation) return NodeError(node, "adds to the output of an activation");
  absl::StatusOr<std::vector<float>> values = ReadBias(node, bias, dense->outputs, most_elements);
  if (!values.ok()) return values.status();
  if (dense->bias.empty()) dense->bias.resize(values->size());
  for (size_t k = 0; k < values->size(); ++k) dense->bias[k] += (*values)[k];
  ++dense->stage;
  return absl::OkStatus();
}

bool IsActivation(const NodeProto& node) { return FindActivation(node) != nullptr; }

absl::StatusOr<Activation> ReadActivation(const NodeProto& node) {
  const ActivationRow* row = FindActivation(node);
  if (row == nullptr) return NodeError(node, "is no activation");
  const Attributes attributes(node);
  const auto alpha = attributes.Float("alpha");
  const auto beta = attributes.Float("beta");
  const auto gamma = attributes.Float("gamma");
  const auto approximate = attributes.String("approximate");
  for (const absl::Status& status : {alpha.status(), beta.status(), gamma.status(), approximate.status()}) {
    if (!status.ok()) return status;
  }
  if (row->function == Function::kSelu && (*alpha || *gamma)) {
    constexpr float kAlpha = 1.67326319217681884765625f;
    constexpr float kGamma = 1.05070102214813232421875f;
    if (alpha->value_or(kAlpha) != kAlpha || gamma->value_or(kGamma) != kGamma) {
      return NodeError(node, "alpha and gamma: want the defaults");
    }
  }
  if (approximate->value_or("none") != "none") return NodeError(node, "approximate: want none");
  const absl::StatusOr<Activation> activation =
      MakeActivation(row->function, row->alpha ? *alpha ? *alpha : row->alpha : std::nullopt,
                     row->beta ? *beta ? *beta : row->beta : std::nullopt);
  if (!activation.ok()) return NodeError(node, activation.status().message());
  return *activation;
}

}  // namespace lstmd::onnx
