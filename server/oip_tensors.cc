// SPDX-License-Identifier: Apache-2.0
#include "server/oip_tensors.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "server/convert_tensor.h"
#include "server/errors.h"

namespace lstmd::server {
namespace {

using Input = inference::ModelInferRequest::InferInputTensor;

constexpr int kInputs = 4;
constexpr int kOutputs = 3;

// Typed contents are little-endian in memory, as raw ones are on the wire.
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

std::string FieldOf(int index, std::string_view rest) {
  return absl::StrCat("inputs[", index, "]", absl::string_view(rest.data(), rest.size()));
}

absl::Span<const int64_t> ShapeOf(const Input& input) {
  return absl::MakeConstSpan(input.shape().data(), static_cast<size_t>(input.shape_size()));
}

absl::Status WrongShape(const Input& input, int index, const std::string& want) {
  return PrefixField(ShapeError(absl::StrCat("input '", input.name(), "'"), ShapeOf(input), want), FieldOf(index, "."));
}

absl::Status WrongContents(int index, std::string_view rest, const std::string& message) {
  return InvalidArgument("INPUT_CONTENTS", message).Field(FieldOf(index, rest));
}

// Which inputs there are, by their place in the request; -1: none.
struct Places {
  int input = -1;
  int h = -1;
  int c = -1;
  int lengths = -1;
};

absl::StatusOr<Places> FindInputs(const inference::ModelInferRequest& request) {
  if (request.inputs_size() > kInputs) {
    return InvalidArgument("INPUT_COUNT",
                           absl::StrCat("got ", request.inputs_size(), " inputs, want at most ", kInputs))
        .Field("inputs");
  }
  Places places;
  for (int i = 0; i < request.inputs_size(); ++i) {
    const std::string& name = request.inputs(i).name();
    int* place = name == "INPUT"     ? &places.input
                 : name == "h_0"     ? &places.h
                 : name == "c_0"     ? &places.c
                 : name == "lengths" ? &places.lengths
                                     : nullptr;
    if (place == nullptr || *place >= 0) {
      return InvalidArgument("INPUT_NAME", absl::StrCat("unexpected inference input '", Printable(name, 64), "'",
                                                        place == nullptr ? "" : ", which is there already",
                                                        ", want INPUT, h_0, c_0 and lengths, each at most once"))
          .Field(FieldOf(i, ".name"));
    }
    if (request.inputs(i).parameters().contains("shared_memory_region")) {
      return Unimplemented("SHARED_MEMORY", "inputs in shared memory are not supported: send their contents")
          .Field(FieldOf(i, ".parameters"));
    }
    *place = i;
  }
  const int raw = request.raw_input_contents_size();
  if (raw != 0 && raw != request.inputs_size()) {
    return InvalidArgument("INPUT_CONTENTS", absl::StrCat("got ", raw, " raw_input_contents for ",
                                                          request.inputs_size(), " inputs, want one for each or none"))
        .Field("raw_input_contents");
  }
  if (places.input < 0) {
    return InvalidArgument("INPUT_NAME", "expected the input INPUT, which the request does not have").Field("inputs");
  }
  if ((places.h < 0) != (places.c < 0)) {
    return InvalidArgument("INITIAL_STATE", "got one of h_0 and c_0, want both or none").Field("inputs");
  }
  return places;
}

// The bytes of an input, of either kind of contents; `bytes` is used for typed ones. The datatype is one of ours.
absl::StatusOr<const std::string*> BytesOf(const inference::ModelInferRequest& request, int index, std::string* bytes) {
  const Input& input = request.inputs(index);
  if (request.raw_input_contents_size() != 0) {
    if (input.has_contents()) {
      return WrongContents(index, ".contents", "got contents and raw_input_contents, want one of them");
    }
    return &request.raw_input_contents(index);
  }
  const inference::InferTensorContents& contents = input.contents();
  const std::string& type = input.datatype();
  const int given = (contents.bool_contents_size() != 0) + (contents.int_contents_size() != 0) +
                    (contents.int64_contents_size() != 0) + (contents.uint_contents_size() != 0) +
                    (contents.uint64_contents_size() != 0) + (contents.fp32_contents_size() != 0) +
                    (contents.fp64_contents_size() != 0) + (contents.bytes_contents_size() != 0);
  const auto take = [&](const auto& values) {
    bytes->assign(reinterpret_cast<const char*>(values.data()),
                  static_cast<size_t>(values.size()) * sizeof(*values.data()));
    return given == (values.empty() ? 0 : 1);
  };
  bool fits = false;
  if (type == "FP32") fits = take(contents.fp32_contents());
  if (type == "INT32") fits = take(contents.int_contents());
  if (type == "INT64") fits = take(contents.int64_contents());
  if (fits) return bytes;
  return WrongContents(index, ".contents",
                       absl::StrCat("contents of input '", input.name(), "' do not fit its datatype ", type,
                                    ", want fp32_contents for FP32, int_contents for INT32, int64_contents for INT64 "
                                    "and raw_input_contents for any"));
}

absl::Status ReadTensor(const inference::ModelInferRequest& request, int index, absl::Span<const int64_t> shape,
                        v1::Tensor* tensor) {
  const Input& input = request.inputs(index);
  if (input.datatype() == "FP32") {
    tensor->set_dtype(v1::DATA_TYPE_F32);
  } else if (input.datatype() == "FP16") {
    tensor->set_dtype(v1::DATA_TYPE_F16);
  } else if (input.datatype() == "BF16") {
    tensor->set_dtype(v1::DATA_TYPE_BF16);
  } else {
    return InvalidArgument("TENSOR_DTYPE", absl::StrCat("datatype of input '", input.name(), "': got '",
                                                        Printable(input.datatype(), 32), "', want FP32, FP16 or BF16"))
        .Field(FieldOf(index, ".datatype"));
  }
  std::string typed;
  absl::StatusOr<const std::string*> bytes = BytesOf(request, index, &typed);
  if (!bytes.ok()) return bytes.status();
  tensor->mutable_shape()->Assign(shape.begin(), shape.end());
  tensor->set_data(**bytes);
  // Here, and not only in SequenceItem, for the path of the field.
  const absl::Status status = ViewTensor(*tensor).status();
  if (status.ok()) return status;
  const bool in_raw = GetCause(status).field == "data" && request.raw_input_contents_size() != 0;
  return in_raw ? PrefixField(status, absl::StrCat("raw_input_contents[", index, "]."))
                : PrefixField(status, FieldOf(index, "."));
}

absl::Status ReadLengths(const inference::ModelInferRequest& request, int index, int64_t rows, int64_t steps,
                         v1::Sequence* sequence) {
  const Input& input = request.inputs(index);
  const bool is_long = input.datatype() == "INT64";
  if (!is_long && input.datatype() != "INT32") {
    return InvalidArgument("TENSOR_DTYPE", absl::StrCat("datatype of input 'lengths': got '",
                                                        Printable(input.datatype(), 32), "', want INT32 or INT64"))
        .Field(FieldOf(index, ".datatype"));
  }
  const absl::Span<const int64_t> shape = ShapeOf(input);
  const bool column = shape.size() == 2 && shape[1] == 1;
  if ((shape.size() != 1 && !column) || shape[0] != rows) {
    return WrongShape(input, index, absl::StrCat("[", rows, "]"));
  }
  std::string typed;
  absl::StatusOr<const std::string*> bytes = BytesOf(request, index, &typed);
  if (!bytes.ok()) return bytes.status();
  const size_t size = is_long ? sizeof(int64_t) : sizeof(int32_t);
  // `rows` is bounded by the bytes of INPUT, or, without steps, by anything: this comparison must not overflow.
  if ((*bytes)->size() % size != 0 || (*bytes)->size() / size != static_cast<uint64_t>(rows)) {
    return InvalidArgument("TENSOR_BYTES",
                           absl::StrCat("input 'lengths': got ", (*bytes)->size(), " bytes, want ", rows, " of ", size))
        .Field(FieldOf(index, ""));
  }
  for (int64_t n = 0; n < rows; ++n) {
    int64_t length = 0;
    int32_t number = 0;
    const char* from = (*bytes)->data() + static_cast<size_t>(n) * size;
    std::memcpy(is_long ? static_cast<void*>(&length) : &number, from, size);
    if (!is_long) length = number;
    if (length < 0 || length > steps || length > UINT32_MAX) {
      return InvalidArgument("SEQUENCE_LENGTH", absl::StrCat("lengths[", n, "]: got ", length, ", want 0 to ", steps))
          .Field(FieldOf(index, ""));
    }
    sequence->add_lengths(static_cast<uint32_t>(length));
  }
  return absl::OkStatus();
}

absl::Status ReadState(const inference::ModelInferRequest& request, int index, int64_t rows, bool one_row,
                       int64_t cells, int64_t size, v1::Tensor* tensor) {
  const absl::Span<const int64_t> shape = ShapeOf(request.inputs(index));
  const int64_t three[] = {cells, rows, size};
  const int64_t two[] = {cells, size};
  const absl::Span<const int64_t> batch(three);
  const absl::Span<const int64_t> single(two);
  const bool fits = shape == batch || (rows == 1 && shape == single);
  if (!fits) return WrongShape(request.inputs(index), index, ShapeText(batch));
  return ReadTensor(request, index, one_row ? single : batch, tensor);
}

const char* TypeName(v1::DataType dtype) {
  return dtype == v1::DATA_TYPE_F16 ? "FP16" : dtype == v1::DATA_TYPE_BF16 ? "BF16" : "FP32";
}

}  // namespace

absl::StatusOr<OipOutputs> ReadOipOutputs(const inference::ModelInferRequest& request) {
  if (request.outputs_size() == 0) return OipOutputs{OipOutput::kOutput};
  if (request.outputs_size() > kOutputs) {
    return InvalidArgument("OUTPUT_COUNT",
                           absl::StrCat("got ", request.outputs_size(), " outputs, want at most ", kOutputs))
        .Field("outputs");
  }
  OipOutputs outputs;
  for (int i = 0; i < request.outputs_size(); ++i) {
    const auto& asked = request.outputs(i);
    const bool known = asked.name() == "OUTPUT" || asked.name() == "h_n" || asked.name() == "c_n";
    const OipOutput output = asked.name() == "h_n"   ? OipOutput::kHidden
                             : asked.name() == "c_n" ? OipOutput::kCell
                                                     : OipOutput::kOutput;
    if (!known || std::find(outputs.begin(), outputs.end(), output) != outputs.end()) {
      return InvalidArgument("OUTPUT_NAME", absl::StrCat("unexpected inference output '", Printable(asked.name(), 64),
                                                         "', want OUTPUT, h_n and c_n, each at most once"))
          .Field(absl::StrCat("outputs[", i, "].name"));
    }
    for (const char* key : {"shared_memory_region", "classification"}) {
      if (!asked.parameters().contains(key)) continue;
      return Unimplemented("OUTPUT_PARAMETER", absl::StrCat("output parameter '", key, "' is not supported"))
          .Field(absl::StrCat("outputs[", i, "].parameters[", key, "]"));
    }
    outputs.push_back(output);
  }
  return outputs;
}

absl::Status ReadOipInputs(const inference::ModelInferRequest& request, const ModelSpec& spec, bool one_row,
                           v1::Sequence* sequence, bool* without_time) {
  const absl::StatusOr<Places> places = FindInputs(request);
  if (!places.ok()) return places.status();
  const Input& input = request.inputs(places->input);
  const absl::Span<const int64_t> shape = ShapeOf(input);
  const bool rank_fits = shape.size() == 2 || shape.size() == 3;
  if (!rank_fits || shape.back() != spec.input_size || shape[0] < 0 || shape[1] < 0 ||
      (one_row && (shape[0] != 1 || shape[1] < 1))) {
    const std::string size = std::to_string(spec.input_size);
    return WrongShape(input, places->input,
                      one_row ? absl::StrCat("[1, ", size, "] or [1, T, ", size, "] with T >= 1 in a sequence")
                              : absl::StrCat("[N, ", size, "] or [N, T, ", size, "]"));
  }
  *without_time = shape.size() == 2;
  const int64_t rows = shape[0];
  const int64_t steps = *without_time ? 1 : shape[1];
  const int64_t batch[] = {rows, steps, shape.back()};
  absl::Status status = ReadTensor(request, places->input, absl::MakeConstSpan(batch).subspan(one_row ? 1 : 0),
                                   sequence->mutable_input());
  if (status.ok() && places->lengths >= 0) status = ReadLengths(request, places->lengths, rows, steps, sequence);
  if (!status.ok() || places->h < 0) return status;
  v1::LstmState& state = *sequence->mutable_initial_state();
  status = ReadState(request, places->h, rows, one_row, spec.cells(), spec.hidden_state_size(), state.mutable_h());
  if (!status.ok()) return status;
  return ReadState(request, places->c, rows, one_row, spec.cells(), spec.hidden_size, state.mutable_c());
}

void WriteOipOutputs(const OipOutputs& outputs, bool one_row, bool without_time, v1::SequenceResult* result,
                     inference::ModelInferResponse* response) {
  for (const OipOutput output : outputs) {
    auto& to = *response->add_outputs();
    v1::Tensor* tensor = result->mutable_output();
    if (output == OipOutput::kOutput) {
      to.set_name("OUTPUT");
      const auto& shape = tensor->shape();
      const int last = shape.size() - 1;
      to.add_shape(one_row ? 1 : shape.Get(0));
      if (!without_time) to.add_shape(shape.Get(last - 1));
      to.add_shape(shape.Get(last));
    } else {
      v1::LstmState* state = result->mutable_final_state();
      tensor = output == OipOutput::kHidden ? state->mutable_h() : state->mutable_c();
      to.set_name(output == OipOutput::kHidden ? "h_n" : "c_n");
      to.add_shape(tensor->shape(0));
      to.add_shape(one_row ? 1 : tensor->shape(1));
      to.add_shape(tensor->shape(tensor->shape_size() - 1));
    }
    to.set_datatype(TypeName(tensor->dtype()));
    response->add_raw_output_contents()->swap(*tensor->mutable_data());
  }
}

}  // namespace lstmd::server
