// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/str_cat.h"
#include "engine/checkpoint/onnx_stack_reader.h"

namespace lstmd::onnx {
bool StackReader::Fix(const Value& value, size_t axis, int64_t extent) {
  if (value.source != Source::kInput || axis >= value.view.axes.size()) return false;
  const Axis atoms = Normal(value.view.axes[axis]);
  const ValueInfoProto& input = values_.input(value.index);
  const absl::StatusOr<std::vector<int64_t>> dims = dims_.Of(input);
  if (!dims.ok() || atoms.size() != 1) return false;
  const View whole = Contiguous(*dims);
  for (size_t a = 0; a < dims->size(); ++a) {
    if (whole.axes[a][0] == atoms[0] && dims_.IsOpen(input, a) && dims_.Fix(input, a, extent)) {
      again_ = true;
      return true;
    }
  }
  return false;
}

absl::Status StackReader::ConnectFirst(const Layer& layer, const Value& x) {
  const NodeProto& node = *layer.node;
  const size_t time = layer.batch_first ? 1 : 0;
  Value sequence = x;
  std::swap(sequence.view.axes[0], sequence.view.axes[time]);
  steps_ = Extent(sequence.view.axes[0]);
  rows_ = Extent(sequence.view.axes[1]);
  x_input_ = x.index;
  const ValueInfoProto& input = values_.input(x.index);
  const int32_t type = input.type().tensor_type().elem_type();
  if (type != 0 && !IsFloat(type))
    return NodeError(node, absl::StrCat("its input is ", TypeName(type), ", want floats"));
  const int64_t size = layer.input_size;
  for (const Layout& layout : {Layout{0, {steps_, rows_ * size}, {rows_, size}, {{size, 1}}},
                               Layout{0, {steps_, size}, {rows_, steps_ * size}, {{size, 1}}}}) {
    const std::optional<Take> take = MatchSequence(sequence.view, layout);
    const absl::StatusOr<std::vector<int64_t>> dims = dims_.Of(input);
    if (!take || !dims.ok() || ElementsOf(*dims) != Elements(x.view)) continue;
    reads_reversed_.push_back(*take == Take::kReversed);
    return absl::OkStatus();
  }
  return NodeError(node, absl::StrCat("does not read the whole graph input ", Quoted(input.name()),
                                      " as [time, batch, ", size, "]"));
}

absl::Status StackReader::ConnectNext(const Layer& layer, const Value& x) {
  const NodeProto& node = *layer.node;
  const Layer& below = stack_.layers.back();
  const std::string at_below = NodeName(*below.node);
  if (x.source != Source::kLayer || static_cast<size_t>(x.index) + 1 != stack_.layers.size()) {
    return NodeError(node, absl::StrCat("does not read the output of ", at_below,
                                        ": want one stack of LSTM nodes, each "
                                        "on top of the one before"));
  }
  if (layer.hidden_size != below.hidden_size || layer.directions() != below.directions()) {
    return NodeError(node, absl::StrCat("hidden_size ", layer.hidden_size, " and ", layer.directions(),
                                        " direction(s) on top of ", below.hidden_size, " and ", below.directions(),
                                        " of ", at_below, ": all layers of a model share one size"));
  }
  Value sequence = x;
  std::swap(sequence.view.axes[0], sequence.view.axes[layer.batch_first ? 1 : 0]);
  const std::optional<Take> take = MatchSequence(sequence.view, LayerLayout());
  if (!take) return NodeError(node, absl::StrCat("does not read all outputs of ", at_below, " in their order"));
  reads_reversed_.push_back(*take == Take::kReversed);
  return absl::OkStatus();
}

absl::Status StackReader::ConnectLengths(const Layer& layer, const Value& lengths) {
  if (lengths.source == Source::kInput && lengths.view.axes.size() == 1) {
    if (Extent(lengths.view.axes[0]) == rows_) return absl::OkStatus();
    if (Fix(lengths, 0, rows_)) return NodeError(*layer.node, "sequence_lens");
  }
  if (lengths.source == Source::kInts) {
    const absl::StatusOr<std::vector<int64_t>> values = ReadInts(lengths, most());
    bool full = values.ok();
    for (size_t k = 0; full && k < values->size(); ++k) full = (*values)[k] == steps_;
    if (full) return absl::OkStatus();
  }
  return NodeError(*layer.node, "its sequence_lens are neither a graph input of one length for each row nor all steps");
}

absl::Status StackReader::ConnectState(const char* what, const Value& state, Layer* layer,
                                       std::vector<float>* learned) {
  const NodeProto& node = *layer->node;
  if (state.source == Source::kFloats) {
    absl::StatusOr<std::vector<float>> rows = ReadInitialState(*layer, state, most());
    if (!rows.ok()) return rows.status();
    *learned = *std::move(rows);
    return absl::OkStatus();
  }
  if (state.source != Source::kInput || state.index == x_input_) {
    return NodeError(node, absl::StrCat(what, " is neither a constant nor a graph input of its own"));
  }
  std::vector<int64_t> want = {layer->directions(), rows_, layer->hidden_size};
  if (layer->batch_first) std::swap(want[0], want[1]);
  const std::vector<int64_t> got = Dims(state.view);
  if (got != want) {
    for (size_t a = 0; a < got.size() && got.size() == want.size(); ++a) {
      if (got[a] != want[a] && Fix(state, a, want[a])) break;
    }
    return NodeError(node, absl::StrCat(what, ": got ", ShapeText(got), ", want ", ShapeText(want)));
  }
  auto& last = learned == &layer->initial_h ? last_h_ : last_c_;
  const auto& other = learned == &layer->initial_h ? last_c_ : last_h_;
  const std::pair<int, int64_t> at(state.index, state.view.offset);
  const bool repeats = last && last->first == at.first && last->second >= at.second;
  const bool shared = learned == &layer->initial_c && other == at;
  if (repeats || shared) {
    return NodeError(node, absl::StrCat(what, " is not a part of graph input ", Quoted(values_.input(at.first).name()),
                                        " of its own, in the order of the layers"));
  }
  last = at;
  return absl::OkStatus();
}

absl::Status StackReader::RunLstm(const NodeProto& node, const Inputs& inputs) {
  if (stack_.head) return NodeError(node, "comes after the dense layer");
  if (stack_.layers.size() == kMostLayers) return NodeError(node, "is one LSTM too many");
  absl::StatusOr<Layer> read = ReadLayer(node, inputs);
  if (!read.ok()) return read.status();
  Layer layer = *std::move(read);
  if (inputs[kX] == nullptr) return NodeError(node, "leaves out X");
  const Value& x = *inputs[kX];
  const std::vector<int64_t> dims = Dims(x.view);
  const bool first = stack_.layers.empty();
  if (first && x.source != Source::kInput) return NodeError(node, "its input X is a constant");
  if (dims.size() != 3 || dims[2] != layer.input_size) {
    if (dims.size() == 3) Fix(x, 2, layer.input_size);
    return NodeError(node, absl::StrCat("X: got ", ShapeText(dims), ", want ", layer.input_size,
                                        " features in the last of three dimensions"));
  }
  absl::Status status = first ? ConnectFirst(layer, x) : ConnectNext(layer, x);
  const auto given = [&](LstmInput i) { return i < inputs.size() ? inputs[i] : nullptr; };
  if (status.ok() && given(kSequenceLens) != nullptr) status = ConnectLengths(layer, *given(kSequenceLens));
  if (status.ok() && given(kInitialH) != nullptr) {
    status = ConnectState("initial_h", *given(kInitialH), &layer, &layer.initial_h);
  }
  if (status.ok() && given(kInitialC) != nullptr) {
    status = ConnectState("initial_c", *given(kInitialC), &layer, &layer.initial_c);
  }
  if (!status.ok()) return status;

  const auto index = static_cast<int64_t>(stack_.layers.size());
  const int64_t d = layer.directions();
  const int64_t h = layer.hidden_size;
  Value outputs[3];
  outputs[0].source = Source::kLayer;
  outputs[0].index = static_cast<int>(index);
  outputs[0].view = Contiguous({steps_, d, rows_, h});
  outputs[1].source = Source::kState;
  outputs[1].view = Contiguous({d, rows_, h});
  outputs[1].view.offset = index * d * rows_ * h;
  if (layer.batch_first) {
    outputs[0].view = Transposed(outputs[0].view, {2, 0, 1, 3});
    outputs[1].view = Transposed(outputs[1].view, {1, 0, 2});
  }
  outputs[2] = outputs[1];
  outputs[2].view.offset += static_cast<int64_t>(kMostLayers) * d * rows_ * h;
  if (node.output_size() > 3) return NodeError(node, absl::StrCat("has ", node.output_size(), " outputs"));
  for (int k = 0; k < node.output_size(); ++k) {
    if (!node.output(k).empty()) values_.Set(node.output(k), std::move(outputs[k]));
  }
  absl::StrAppend(&stack_.summary, "layer ", NodeName(node), reads_reversed_.back() ? " reversed" : "", "; ");
  stack_.layers.push_back(std::move(layer));
  return absl::OkStatus();
}

}  // namespace lstmd::onnx
