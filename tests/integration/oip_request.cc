// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/oip_request.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

namespace lstmd {
namespace {

using inference::InferParameter;
using inference::ModelInferRequest;

constexpr size_t kMostBytes = size_t{1} << 16;

class Decisions {
 public:
  Decisions(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  uint8_t Byte() { return at_ < size_ ? data_[at_++] : 0; }
  template <typename T, size_t N>
  const T& Pick(const T (&choices)[N]) {
    return choices[Byte() % N];
  }
  // The numbers that code gets wrong, and small ones.
  int64_t Number() {
    constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
    constexpr int64_t kNumbers[] = {
        1,         0,     2,     -1,        3,         4,         5,         kMax,      kMax - 1,   kMax / 3 + 1,
        -kMax - 1, 65536, 65537, 1LL << 31, 1LL << 32, 1LL << 40, 1LL << 62, 1LL << 20, 2147483647, -2147483648LL};
    const uint8_t choice = Byte();
    return choice < 64 ? kNumbers[choice % std::size(kNumbers)] : choice - 64;
  }
  std::string Bytes(size_t count) {
    std::string bytes(count, '\0');
    // Zeros, once there are no more: most of a large tensor.
    for (size_t i = 0; i < count && at_ < size_; ++i) bytes[i] = static_cast<char>(Byte());
    return bytes;
  }

 private:
  const uint8_t* data_;
  size_t size_;
  size_t at_ = 0;
};

const std::string& Text(Decisions& from) {
  static const std::string kTexts[] = {"1",
                                       "",
                                       "0",
                                       "2",
                                       "-1",
                                       "seq-1",
                                       "9223372036854775808",
                                       "99999999999999999999999",
                                       "x",
                                       "../etc",
                                       "a b",
                                       "true",
                                       std::string(129, 'a'),
                                       std::string(128, 'a'),
                                       std::string(5000, 'q'),
                                       "\x01\x02",
                                       "\xc3\xa9",
                                       "1e3",
                                       " 1"};
  return from.Pick(kTexts);
}

void SetParameter(Decisions& from, InferParameter* parameter) {
  switch (from.Byte() % 6) {
    case 0:
      parameter->set_int64_param(from.Number());
      break;
    case 1:
      parameter->set_bool_param(from.Byte() % 2 == 0);
      break;
    case 2:
      parameter->set_string_param(Text(from));
      break;
    case 3:
      parameter->set_uint64_param(static_cast<uint64_t>(from.Number()));
      break;
    case 4:
      parameter->set_double_param(static_cast<double>(from.Number()) / 3);
      break;
    default:
      break;
  }
}

void SetParameters(Decisions& from, ModelInferRequest* request) {
  auto& parameters = *request->mutable_parameters();
  if (from.Byte() % 4 != 3) parameters["sequence_id"].set_int64_param(1);
  static const char* const kKeys[] = {"sequence_start",
                                      "sequence_end",
                                      "sequence_id",
                                      "lstmd_seq",
                                      "lstmd_epoch",
                                      "timeout",
                                      "priority",
                                      "triton_enable_empty_final_response",
                                      "binary_data_output",
                                      "",
                                      "headers",
                                      "triton_x"};
  for (int i = from.Byte() % 6; i > 0; --i) {
    const char* const key = from.Pick(kKeys);
    InferParameter& parameter = parameters[key];
    // Of the right kind more often than not, or nothing would ever start.
    if (from.Byte() % 3 == 0) {
      SetParameter(from, &parameter);
    } else if (std::string(key).rfind("sequence_", 0) == 0 && std::string(key) != "sequence_id") {
      parameter.set_bool_param(true);
    } else {
      parameter.set_int64_param(from.Number());
    }
  }
}

size_t Elements(const ModelInferRequest::InferInputTensor& input) {
  uint64_t elements = 1;
  for (const int64_t dim : input.shape()) {
    elements = dim < 0 ? 0 : std::min<uint64_t>(kMostBytes, elements * std::min<uint64_t>(kMostBytes, dim));
  }
  return elements;
}

void SetContents(Decisions& from, size_t elements, inference::InferTensorContents* contents) {
  const std::string& kind = Text(from);
  for (size_t i = 0; i < std::min<size_t>(elements, 4096); ++i) {
    switch (kind.size() % 8) {
      case 0:
        contents->add_bool_contents(true);
        break;
      case 2:
        contents->add_int_contents(static_cast<int32_t>(from.Number()));
        break;
      case 3:
        contents->add_int64_contents(from.Number());
        break;
      case 4:
        contents->add_fp64_contents(1);
        break;
      case 5:
        contents->add_bytes_contents(kind);
        break;
      default:
        contents->add_fp32_contents(0.5f);
        break;
    }
  }
}

void AddInput(Decisions& from, int place, ModelInferRequest* request) {
  static const char* const kNames[] = {"INPUT", "h_0", "c_0", "lengths", "", "input", "OUTPUT"};
  static const char* const kTypes[] = {"FP32", "FP16", "BF16", "INT32", "INT64", "FP64", "BYTES", "", "fp32", "BOOL"};
  static const std::vector<int64_t> kShapes[] = {{1, 3}, {1, 4, 3}, {2, 4, 3}, {2, 1, 5},     {2, 5},
                                                 {1},    {2},       {2, 2, 5}, {0, 3},        {1, 0, 3},
                                                 {3},    {},        {4, 2, 5}, {65536, 1, 3}, {1, 1, 1, 3}};
  auto& input = *request->add_inputs();
  input.set_name(place < 4 ? kNames[(place + from.Byte()) % 7] : "more");
  // `lengths` has a type of its own.
  input.set_datatype(input.name() == "lengths" ? kTypes[(3 + from.Byte()) % 10] : from.Pick(kTypes));
  if (from.Byte() % 4 != 3) {
    const std::vector<int64_t>& shape = from.Pick(kShapes);
    input.mutable_shape()->Assign(shape.begin(), shape.end());
  } else {
    for (int rank = from.Byte() % 6; rank > 0; --rank) input.add_shape(from.Number());
    if (from.Byte() == 255) input.mutable_shape()->Resize(1000, 1);
  }
  if (from.Byte() % 16 == 15) SetParameter(from, &(*input.mutable_parameters())["shared_memory_region"]);
  const size_t element = input.datatype() == "INT64" || input.datatype() == "FP64"  ? 8
                         : input.datatype() == "FP16" || input.datatype() == "BF16" ? 2
                                                                                    : 4;
  const size_t bytes = std::min(kMostBytes * element, Elements(input) * element);
  switch (from.Byte() % 8) {
    case 5:
      request->add_raw_input_contents(from.Bytes(bytes + from.Byte() % 9));
      break;
    case 6:
      SetContents(from, Elements(input), input.mutable_contents());
      break;
    case 7:
      if (from.Byte() % 2 == 0) SetContents(from, 1, input.mutable_contents());
      request->add_raw_input_contents(from.Bytes(from.Byte()));
      break;
    default:
      request->add_raw_input_contents(from.Bytes(bytes));
      break;
  }
}

}  // namespace

ModelInferRequest MakeOipRequest(const uint8_t* data, size_t size) {
  Decisions from(data, size);
  ModelInferRequest request;
  static const char* const kModels[] = {"m", "m", "m", "wide", "bi", "none", "", "../m"};
  request.set_model_name(from.Pick(kModels));
  if (from.Byte() % 4 == 3) request.set_model_version(Text(from));
  request.set_id(from.Byte() % 8 == 7 ? Text(from) : "r");
  SetParameters(from, &request);
  static const int kInputs[] = {1, 1, 1, 2, 3, 4, 0, 10'000};
  const int inputs = from.Pick(kInputs);
  for (int i = 0; i < inputs; ++i) AddInput(from, i, &request);
  static const int kOutputs[] = {0, 0, 1, 2, 3, 4, 10'000};
  static const char* const kNames[] = {"OUTPUT", "h_n", "c_n", "", "output"};
  const int outputs = from.Pick(kOutputs);
  for (int i = 0; i < outputs; ++i) {
    auto& output = *request.add_outputs();
    output.set_name(outputs > 4 ? "OUTPUT" : kNames[(i + from.Byte()) % 5]);
    if (from.Byte() % 16 == 15) SetParameter(from, &(*output.mutable_parameters())["classification"]);
  }
  if (from.Byte() % 16 == 15) request.add_raw_input_contents(from.Bytes(from.Byte()));
  return request;
}

}  // namespace lstmd
