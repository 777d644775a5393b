// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/onnx_lstm.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/checkpoint/onnx_graph.h"

namespace lstmd::onnx {
namespace {

// Above what any ModelSpec allows, below what could overflow.
constexpr int64_t kLargestSize = int64_t{1} << 20;

// ONNX has the gates in order i o f c and the peepholes in order i o f: where the canonical i f g o and i f o are
// there.
constexpr int kGates[4] = {0, 2, 3, 1};
constexpr int kPeepholes[3] = {0, 2, 1};

struct FunctionRow {
  const char* name;  // in lower case
  Function function;
  std::optional<float> alpha, beta;  // defaults; unset: the function has no such parameter
};
// The last three have no default in the standard; ONNX Runtime takes 0.
const FunctionRow kFunctions[] = {
    {"sigmoid", Function::kSigmoid, {}, {}},
    {"tanh", Function::kTanh, {}, {}},
    {"relu", Function::kRelu, {}, {}},
    {"softsign", Function::kSoftsign, {}, {}},
    {"softplus", Function::kSoftplus, {}, {}},
    {"hardsigmoid", Function::kHardSigmoid, 0.2f, 0.5f},
    {"elu", Function::kElu, 1.0f, {}},
    {"leakyrelu", Function::kLeakyRelu, 0.01f, {}},
    {"thresholdedrelu", Function::kThresholdedRelu, 0.0f, {}},
    {"scaledtanh", Function::kScaledTanh, 0.0f, 0.0f},
    {"affine", Function::kAffine, 0.0f, 0.0f},
};

// The next value of `list` where the function has such a parameter: they are used up in turn.
std::optional<float> Next(const std::vector<float>& list, const std::optional<float>& absent, size_t* next) {
  if (!absent) return std::nullopt;
  return *next < list.size() ? list[(*next)++] : *absent;
}

absl::Status ReadActivations(const NodeProto& node, const Attributes& attributes, Layer* layer) {
  const auto names = attributes.Strings("activations");
  const auto alphas = attributes.Floats("activation_alpha");
  const auto betas = attributes.Floats("activation_beta");
  for (const absl::Status& status : {names.status(), alphas.status(), betas.status()}) {
    if (!status.ok()) return status;
  }
  const auto directions = static_cast<size_t>(layer->directions());
  if (!*names || (*names)->empty()) return absl::OkStatus();
  if ((*names)->size() != 3 * directions) {
    return NodeError(node, absl::StrCat("activations: got ", (*names)->size(), ", want ", 3 * directions));
  }
  size_t next_alpha = 0;
  size_t next_beta = 0;
  for (size_t k = 0; k < (*names)->size(); ++k) {
    const std::string& name = (**names)[k];
    const std::string lower = absl::AsciiStrToLower(name);
    const auto* row = std::find_if(std::begin(kFunctions), std::end(kFunctions),
                                   [&](const FunctionRow& candidate) { return lower == candidate.name; });
    if (row == std::end(kFunctions)) {
      return NodeError(node, absl::StrCat("activation ", Quoted(name), " is none of ONNX's"));
    }
    const std::optional<float> alpha = Next(alphas->value_or(std::vector<float>()), row->alpha, &next_alpha);
    const std::optional<float> beta = Next(betas->value_or(std::vector<float>()), row->beta, &next_beta);
    const absl::StatusOr<Activation> activation = MakeActivation(row->function, alpha, beta);
    if (!activation.ok()) return NodeError(node, activation.status().message());
    Activations& to = layer->activations[k / 3];
    (k % 3 == 0 ? to.gate : k % 3 == 1 ? to.cell : to.output) = *activation;
  }
  if (directions == 1) layer->activations[1] = layer->activations[0];
  return absl::OkStatus();
}

absl::Status ReadAttributes(const NodeProto& node, Layer* layer) {
  for (const AttributeProto& attribute : node.attribute()) {
    static constexpr const char* kKnown[] = {"activations", "activation_alpha", "activation_beta", "clip",
                                             "direction",   "hidden_size",      "input_forget",    "layout"};
    if (std::find(std::begin(kKnown), std::end(kKnown), attribute.name()) == std::end(kKnown)) {
      return NodeError(node, absl::StrCat("attribute ", Quoted(attribute.name()), " is not known"));
    }
  }
  const Attributes attributes(node);
  const auto direction = attributes.String("direction");
  const auto clip = attributes.Float("clip");
  const auto hidden = attributes.Int("hidden_size");
  const auto input_forget = attributes.IntOr("input_forget", 0);
  const auto layout = attributes.IntOr("layout", 0);
  for (const absl::Status& status :
       {direction.status(), clip.status(), hidden.status(), input_forget.status(), layout.status()}) {
    if (!status.ok()) return status;
  }
  const std::string name = direction->value_or("forward");
  if (name == "forward") {
    layer->direction = Direction::kForward;
  } else if (name == "reverse") {
    layer->direction = Direction::kReverse;
  } else if (name == "bidirectional") {
    layer->direction = Direction::kBidirectional;
  } else {
    return NodeError(node, absl::StrCat("direction: got ", Quoted(name), ", want forward, reverse or bidirectional"));
  }
  if (*clip) {
    layer->clip = **clip;
    if (!(layer->clip > 0) || !std::isfinite(layer->clip)) {
      return NodeError(node, absl::StrCat("clip: got ", layer->clip, ", want a positive number"));
    }
  }
  if (*hidden && (**hidden < 1 || **hidden > kLargestSize)) {
    return NodeError(node, absl::StrCat("hidden_size: got ", **hidden));
  }
  layer->hidden_size = hidden->value_or(0);
  if (*input_forget != 0 && *input_forget != 1) {
    return NodeError(node, absl::StrCat("input_forget: got ", *input_forget, ", want 0 or 1"));
  }
  layer->input_forget = *input_forget == 1;
  if (*layout != 0 && *layout != 1) return NodeError(node, absl::StrCat("layout: got ", *layout, ", want 0 or 1"));
  layer->batch_first = *layout == 1;
  return ReadActivations(node, attributes, layer);
}

absl::Status CheckWeight(const NodeProto& node, const char* name, const Value& value,
                         const std::vector<int64_t>& want) {
  if (value.source != Source::kFloats) {
    return NodeError(
        node, absl::StrCat(name, value.source == Source::kInput ? " is a graph input: its values are not in the file"
                                                                : " is not a constant of floats in the file"));
  }
  const std::vector<int64_t> got = Dims(value.view);
  if (got != want) return NodeError(node, absl::StrCat(name, ": got ", ShapeText(got), ", want ", ShapeText(want)));
  return absl::OkStatus();
}

// `blocks` rows of `row` floats each out of block order `order`, from `from`.
std::vector<float> Reordered(const float* from, const int* order, size_t blocks, size_t block) {
  std::vector<float> result(blocks * block);
  for (size_t k = 0; k < blocks; ++k) {
    std::memcpy(&result[k * block], from + static_cast<size_t>(order[k]) * block, block * sizeof(float));
  }
  return result;
}

// The cells of one layer, with zeros where only other layers have biases or peepholes.
absl::Status AppendCells(const Layer& layer, const ModelSpec& spec, int64_t most, std::vector<CellWeights>* cells) {
  const auto hidden = static_cast<size_t>(layer.hidden_size);
  const auto input = static_cast<size_t>(layer.input_size);
  const absl::StatusOr<std::vector<float>> w = ReadFloats(layer.w, most);
  const absl::StatusOr<std::vector<float>> r = ReadFloats(layer.r, most);
  const absl::StatusOr<std::vector<float>> b = layer.b ? ReadFloats(*layer.b, most) : std::vector<float>();
  const absl::StatusOr<std::vector<float>> p = layer.p ? ReadFloats(*layer.p, most) : std::vector<float>();
  for (const absl::Status& status : {w.status(), r.status(), b.status(), p.status()}) {
    if (!status.ok()) return NodeError(*layer.node, status.message());
  }
  for (size_t d = 0; d < static_cast<size_t>(layer.directions()); ++d) {
    CellWeights cell;
    cell.w = Reordered(w->data() + d * 4 * hidden * input, kGates, 4, hidden * input);
    cell.r = Reordered(r->data() + d * 4 * hidden * hidden, kGates, 4, hidden * hidden);
    if (layer.b) {
      std::vector<float> sum(4 * hidden);
      const float* wb = b->data() + d * 8 * hidden;
      for (size_t k = 0; k < sum.size(); ++k) sum[k] = wb[k] + wb[sum.size() + k];
      cell.bias = Reordered(sum.data(), kGates, 4, hidden);
    } else if (spec.bias) {
      cell.bias = std::vector<float>(4 * hidden);
    }
    if (layer.p) {
      cell.peepholes = Reordered(p->data() + d * 3 * hidden, kPeepholes, 3, hidden);
    } else if (spec.peepholes) {
      cell.peepholes = std::vector<float>(3 * hidden);
    }
    cells->push_back(std::move(cell));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Layer> ReadLayer(const NodeProto& node, const std::vector<const Value*>& inputs) {
  Layer layer;
  layer.node = &node;
  absl::Status status = ReadAttributes(node, &layer);
  if (!status.ok()) return status;
  const auto input = [&](LstmInput i) { return i < inputs.size() ? inputs[i] : nullptr; };
  if (inputs.size() > kLstmInputs) return NodeError(node, absl::StrCat("has ", inputs.size(), " inputs"));
  if (input(kW) == nullptr || input(kR) == nullptr) return NodeError(node, "leaves out W or R");
  const std::vector<int64_t> w = Dims(input(kW)->view);
  const std::vector<int64_t> r = Dims(input(kR)->view);
  if (w.size() != 3 || r.size() != 3) {
    return NodeError(node, absl::StrCat("W ", ShapeText(w), ", R ", ShapeText(r), ": want three dimensions each"));
  }
  if (layer.hidden_size == 0) layer.hidden_size = r[2];
  layer.input_size = w[2];
  if (layer.hidden_size < 1 || layer.hidden_size > kLargestSize || w[2] < 1 || w[2] > kLargestSize) {
    return NodeError(node, absl::StrCat("W ", ShapeText(w), ", R ", ShapeText(r), " are impossible"));
  }
  const int64_t directions = layer.directions();
  const int64_t hidden = layer.hidden_size;
  status = CheckWeight(node, "W", *input(kW), {directions, 4 * hidden, w[2]});
  if (status.ok()) status = CheckWeight(node, "R", *input(kR), {directions, 4 * hidden, hidden});
  if (status.ok() && input(kB) != nullptr) status = CheckWeight(node, "B", *input(kB), {directions, 8 * hidden});
  if (status.ok() && input(kP) != nullptr) status = CheckWeight(node, "P", *input(kP), {directions, 3 * hidden});
  if (!status.ok()) return status;
  layer.w = *input(kW);
  layer.r = *input(kR);
  if (input(kB) != nullptr) layer.b = *input(kB);
  if (input(kP) != nullptr) layer.p = *input(kP);
  return layer;
}

absl::StatusOr<std::vector<float>> ReadInitialState(const Layer& layer, const Value& state, int64_t most_elements) {
  const std::vector<int64_t> dims = Dims(state.view);
  const size_t batch_axis = layer.batch_first ? 0 : 1;
  if (dims.size() != 3 || dims[1 - batch_axis] != layer.directions() || dims[2] != layer.hidden_size ||
      dims[batch_axis] < 1) {
    return NodeError(*layer.node, absl::StrCat("initial state: got ", ShapeText(dims), ", want ",
                                               ShapeText({layer.directions(), -1, layer.hidden_size})));
  }
  View rows = state.view;
  std::swap(rows.axes[0], rows.axes[batch_axis]);  // [N, D, H]
  const Axis batch = Normal(rows.axes[0]);
  std::optional<View> first = Sliced(rows, 0, 0, 1, 1);
  if (!first) return NodeError(*layer.node, "initial state: its rows cannot be told apart");
  Value value = state;
  value.view = *first;
  absl::StatusOr<std::vector<float>> row = ReadFloats(value, most_elements);
  if (!row.ok()) return NodeError(*layer.node, row.status().message());
  const bool repeated = batch.empty() || (batch.size() == 1 && batch[0].stride == 0);
  if (!repeated) {
    value.view = rows;
    const absl::StatusOr<std::vector<float>> all = ReadFloats(value, most_elements);
    if (!all.ok()) return NodeError(*layer.node, all.status().message());
    for (size_t k = 0; k < all->size(); ++k) {
      if ((*all)[k] != (*row)[k % row->size()]) {
        return NodeError(*layer.node, "its initial state is a constant that differs between rows of the batch");
      }
    }
  }
  if (std::all_of(row->begin(), row->end(), [](float x) { return x == 0; })) row->clear();
  return row;
}

absl::StatusOr<ModelFiles> Assemble(const std::vector<Layer>& layers, int64_t most_elements) {
  const Layer& first = layers.front();
  ModelFiles files;
  ModelSpec& spec = files.spec;
  spec.input_size = static_cast<uint32_t>(first.input_size);
  spec.hidden_size = static_cast<uint32_t>(first.hidden_size);
  spec.num_layers = static_cast<uint32_t>(layers.size());
  spec.direction = first.direction;
  spec.activations = first.activations;
  spec.clip = first.clip;
  spec.input_forget = first.input_forget;
  spec.bias = false;
  spec.padding_output = PaddingOutput::kZeros;
  spec.zero_length_state = ZeroLengthState::kZeros;
  for (const Layer& layer : layers) {
    const char* differs = layer.hidden_size != first.hidden_size     ? "hidden_size"
                          : layer.direction != first.direction       ? "direction"
                          : layer.activations != first.activations   ? "activations"
                          : layer.clip != first.clip                 ? "clip"
                          : layer.input_forget != first.input_forget ? "input_forget"
                                                                     : nullptr;
    if (differs != nullptr) {
      return NodeError(*layer.node, absl::StrCat("its ", differs, " is not that of ", NodeName(*first.node),
                                                 ": all layers of a model share one"));
    }
    spec.bias = spec.bias || layer.b.has_value();
    spec.peepholes = spec.peepholes || layer.p.has_value();
    spec.learned_initial_state = spec.learned_initial_state || !layer.initial_h.empty() || !layer.initial_c.empty();
  }
  // Before the weights are copied: sizes that no model may have end here.
  absl::Status status = Validate(spec);
  if (!status.ok()) return status;
  std::vector<float> initial_h;
  std::vector<float> initial_c;
  for (const Layer& layer : layers) {
    status = AppendCells(layer, spec, most_elements, &files.weights.cells);
    if (!status.ok()) return status;
    const auto size = static_cast<size_t>(layer.directions() * layer.hidden_size);
    for (auto [from, to] : {std::pair(&layer.initial_h, &initial_h), std::pair(&layer.initial_c, &initial_c)}) {
      to->insert(to->end(), from->begin(), from->end());
      if (from->empty()) to->resize(to->size() + size);
    }
  }
  if (spec.learned_initial_state) {
    files.weights.initial_h = std::move(initial_h);
    files.weights.initial_c = std::move(initial_c);
  }
  return files;
}

}  // namespace lstmd::onnx
