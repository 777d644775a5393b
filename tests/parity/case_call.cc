// SPDX-License-Identifier: Apache-2.0
//
// What goes in and what comes out: from the axes of each framework to those of the API and back.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/half.h"
#include "tests/parity/case_run.h"

namespace lstmd::parity {
namespace {

absl::Status Disagree(const Case& c, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(c.name, ": ", what));
}

absl::StatusOr<Bytes> Float(const Case& c, const std::string& name) {
  const auto found = c.tensors.tensors.find(name);
  if (found == c.tensors.tensors.end()) return Disagree(c, absl::StrCat("no tensor ", name));
  const DType want = c.dtype == "float32" ? DType::kF32 : c.dtype == "float16" ? DType::kF16 : DType::kBF16;
  if (found->second.dtype != want) return Disagree(c, absl::StrCat(name, " is not of the case's dtype"));
  return ToBytes(found->second);
}

absl::StatusOr<std::vector<int32_t>> Integers(const Case& c, const std::string& name, std::vector<uint64_t> shape) {
  const auto found = c.tensors.tensors.find(name);
  if (found == c.tensors.tensors.end()) return Disagree(c, absl::StrCat("no tensor ", name));
  const TensorView& tensor = found->second;
  if (tensor.dtype != DType::kI32 || tensor.shape != shape) {
    return Disagree(c, absl::StrCat(name, " is ", Describe(tensor), ", want I32 [", absl::StrJoin(shape, ", "), "]"));
  }
  std::vector<int32_t> values(tensor.elements);
  std::copy_n(tensor.data, tensor.elements * sizeof(int32_t), reinterpret_cast<char*>(values.data()));
  return values;
}

// A recorded state with axes [L*D, N, size].
absl::StatusOr<Bytes> StateAxes(const Case& c, const std::string& name, const Bytes& in, int64_t rows, int64_t size) {
  const int64_t cells = c.spec.cells();
  Bytes out;
  if (c.state_layout == "LBH" && in.shape.size() == 3) out = in;
  if (c.state_layout == "BLH" && in.shape.size() == 3) out = Permute(in, {1, 0, 2});
  const bool flat = (c.state_layout == "LH" || c.state_layout == "BH") && in.shape.size() == 2;
  if (flat && c.state_layout == "LH") out = Reshape(in, {in.shape[0], 1, in.shape[1]});
  if (flat && c.state_layout == "BH") out = Reshape(in, {1, in.shape[0], in.shape[1]});
  if (c.state_layout == "H" && in.shape.size() == 1) out = Reshape(in, {1, 1, in.shape[0]});
  if (out.shape != std::vector<int64_t>{cells, rows, size}) {
    return Disagree(c, absl::StrCat(name, " of shape [", absl::StrJoin(in.shape, ", "), "] is no ", c.state_layout));
  }
  return out;
}

absl::StatusOr<Bytes> InitialState(const Case& c, const std::string& name, int64_t rows, int64_t size) {
  if (c.tensors.tensors.count(name) != 0) {
    absl::StatusOr<Bytes> state = Float(c, name);
    if (!state.ok()) return state;
    return StateAxes(c, name, *state, rows, size);
  }
  std::vector<Bytes> parts;
  for (const char* way : {"_forward", "_backward"}) {
    absl::StatusOr<Bytes> part = Float(c, name + way);
    if (!part.ok()) return part;
    if (part->shape != std::vector<int64_t>{rows, size}) return Disagree(c, absl::StrCat(name, way, ": wrong shape"));
    parts.push_back(*std::move(part));
  }
  return Stack(parts);
}

// A Keras Masking layer masks the steps whose features all have its value.
absl::Status CheckMaskValue(const Case& c, const Call& call) {
  const std::vector<float> x = ToFloats(call.time_major ? Permute(call.input, {1, 0, 2}) : call.input);
  const size_t width = c.spec.input_size;
  for (int64_t row = 0; row < call.rows; ++row) {
    for (int64_t t = 0; t < call.steps; ++t) {
      const float* at = x.data() + static_cast<size_t>(row * call.steps + t) * width;
      const auto value = static_cast<float>(*c.mask_value);
      const bool masked = std::all_of(at, at + width, [value](float v) { return v == value; });
      if (masked == call.Valid(row, t))
        return Disagree(c, absl::StrCat("mask and mask_value differ at row ", row, ", step ", t));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadPadding(const Case& c, Call* call) {
  const auto rows = static_cast<uint64_t>(call->rows), steps = static_cast<uint64_t>(call->steps);
  if (c.has_lengths) {
    absl::StatusOr<std::vector<int32_t>> lengths = Integers(c, "lengths", {rows});
    if (!lengths.ok()) return lengths.status();
    call->lengths.assign(lengths->begin(), lengths->end());
  }
  if (c.has_mask) {
    absl::StatusOr<std::vector<int32_t>> mask = Integers(c, "mask", {rows, steps});
    if (!mask.ok()) return mask.status();
    for (int32_t on : *mask) call->mask.push_back(on != 0 ? 1 : 0);
  }
  return c.mask_value ? CheckMaskValue(c, *call) : absl::OkStatus();
}

// The output of one answer with the recorded axes; no axes if they cannot be had.
Bytes OutputAxes(const Case& c, const Bytes& in) {
  const std::string& layout = c.output_layout;
  const int64_t directions = c.spec.directions();
  if (in.shape.size() == 2) {
    if (layout == "BH") return in;
    return layout == "H" ? Slice(in, 0, 0) : Bytes{};
  }
  if (layout == "BTH") return in;
  if (layout == "TBH") return Permute(in, {1, 0, 2});
  if (layout == "TH") return Slice(in, 0, 0);
  if (layout == "BH") return Slice(in, 1, 0);
  if (layout == "H") return Slice(Slice(in, 0, 0), 0, 0);
  const Bytes split = Reshape(in, {in.shape[0], in.shape[1], directions, in.shape[2] / directions});
  return layout == "BTDH" ? split : Permute(split, {1, 2, 0, 3});
}

Bytes RecordedState(const Case& c, const Bytes& in) {
  if (c.state_layout == "LBH") return in;
  if (c.state_layout == "BLH") return Permute(in, {1, 0, 2});
  if (c.state_layout == "LH") return Slice(in, 1, 0);
  if (c.state_layout == "BH") return Slice(in, 0, 0);
  return Slice(Slice(in, 0, 0), 0, 0);
}

}  // namespace

absl::StatusOr<Call> ReadCall(const Case& c, int index) {
  Call call;
  absl::StatusOr<Bytes> input = Float(c, index == 0 ? "input" : absl::StrCat("input_", index + 1));
  if (!input.ok()) return input.status();
  call.input = *std::move(input);
  const std::string& layout = c.input_layout;
  const std::vector<int64_t> shape = call.input.shape;
  if (shape.size() != layout.size() || shape.back() != c.spec.input_size) {
    return Disagree(c, absl::StrCat("input of shape [", absl::StrJoin(shape, ", "), "] is no ", layout));
  }
  call.batched = layout.find('B') != std::string::npos;
  call.time_major = layout == "TBI";
  if (call.batched) call.rows = shape[layout.find('B')];
  if (layout.find('T') != std::string::npos) call.steps = shape[layout.find('T')];
  if (layout == "BI") call.input = Reshape(call.input, {shape[0], 1, shape[1]});
  if (layout == "I") call.input = Reshape(call.input, {1, shape[0]});
  if (c.batch_size.has_value() != call.batched || (call.batched && *c.batch_size != call.rows)) {
    return Disagree(c, "batch_size and input disagree");
  }
  if (c.seq_len.value_or(1) != call.steps) return Disagree(c, "seq_len and input disagree");
  if (absl::Status status = ReadPadding(c, &call); !status.ok()) return status;
  if (c.initial_state) {
    absl::StatusOr<Bytes> h = InitialState(c, "h0", call.rows, c.spec.hidden_state_size());
    if (!h.ok()) return h.status();
    absl::StatusOr<Bytes> cell = InitialState(c, "c0", call.rows, c.spec.hidden_size);
    if (!cell.ok()) return cell.status();
    call.state = std::make_pair(*std::move(h), *std::move(cell));
  }
  return call;
}

absl::StatusOr<std::map<std::string, Bytes>> Arrange(const Case& c, const std::vector<Answer>& answers) {
  std::map<std::string, Bytes> out;
  for (size_t k = 0; k < answers.size(); ++k) {
    const std::string end = k == 0 ? "" : absl::StrCat("_", k + 1);
    out["output" + end] = OutputAxes(c, answers[k].output);
    if (out["output" + end].shape.empty()) return Disagree(c, "output_layout does not fit the output");
    for (const auto& [name, state] : {std::make_pair("h_n", &answers[k].h), std::make_pair("c_n", &answers[k].c)}) {
      out[name + end] = RecordedState(c, *state);
      out[absl::StrCat(name, "_forward", end)] = Slice(*state, 0, 0);
      if (c.spec.directions() == 2) out[absl::StrCat(name, "_backward", end)] = Slice(*state, 0, 1);
    }
  }
  return out;
}

}  // namespace lstmd::parity
