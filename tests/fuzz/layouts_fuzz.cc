// SPDX-License-Identifier: Apache-2.0
//
// Tensors of plausible names and any shapes as a model. What is taken must be valid, the more so a canonical copy of
// it.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "engine/checkpoint/layouts.h"
#include "engine/checkpoint/safetensors.h"

namespace {

const char* const kPrefixes[] = {"", "lstm.", "m/", "layers/", "a.b.", "0."};
const char* const kNames[] = {"weight_ih_l0",
                              "weight_hh_l0",
                              "bias_ih_l0",
                              "bias_hh_l0",
                              "weight_hr_l0",
                              "weight_ih_l1",
                              "weight_hh_l1",
                              "bias_ih_l1",
                              "bias_hh_l1",
                              "weight_hr_l1",
                              "weight_ih_l0_reverse",
                              "weight_hh_l0_reverse",
                              "weight_ih",
                              "weight_hh",
                              "bias_ih",
                              "bias_hh",
                              "weight_ho",
                              "cell.weight_ih",
                              "cell.weight_hh",
                              "0.cell_fw.weight_ih",
                              "0.cell_fw.weight_hh",
                              "0.cell_bw.weight_ih",
                              "0.cell_bw.weight_hh",
                              "cells.0.w",
                              "cells.0.r",
                              "cells.0.bias",
                              "cells.0.projection",
                              "cells.0.peepholes",
                              "cells.1.w",
                              "cells.1.r",
                              "cells.127.w",
                              "lstm/lstm_cell/kernel",
                              "lstm/lstm_cell/recurrent_kernel",
                              "lstm/lstm_cell/bias",
                              "lstm_1/lstm_cell/kernel",
                              "lstm_1/lstm_cell/recurrent_kernel",
                              "bi/forward_l/cell/vars/0",
                              "bi/forward_l/cell/vars/1",
                              "bi/backward_l/cell/vars/0",
                              "bi/backward_l/cell/vars/1",
                              "dense/kernel",
                              "dense/bias",
                              "dense/vars/0",
                              "fc.weight",
                              "fc.bias",
                              "head.weight",
                              "head.bias",
                              "h0",
                              "c0",
                              "w",
                              "weight"};
const char* const kLayouts[] = {
    "", "canonical", "torch", "paddle", "mindspore", "mindspore_flat", "mindspore_ops_cpu", "keras", "none"};
const char* const kSpecs[] = {
    "",
    R"({"activations":{}})",
    R"({"input_size":2,"hidden_size":2})",
    R"({"input_size":2,"hidden_size":2,"direction":"DIRECTION_BIDIRECTIONAL","bias":false})",
    R"({"direction":"DIRECTION_BIDIRECTIONAL","merge_mode":"MERGE_MODE_SUM","activations":{}})",
    R"({"input_size":2,"hidden_size":2,"num_layers":2,"projection_size":1,"head":{"output_size":2}})",
    R"({"learned_initial_state":true,"peepholes":true})"};

template <typename T, size_t N>
T Pick(FuzzedDataProvider& in, T const (&values)[N]) {
  return values[in.ConsumeIntegralInRange<size_t>(0, N - 1)];
}

// Mostly what belongs to I 2, H 2.
uint64_t Size(FuzzedDataProvider& in) {
  static constexpr uint64_t kSizes[] = {8, 2, 1, 4, 6, 16, 0, 3, 12, 48, 56, 96};
  return Pick(in, kSizes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider in(data, size);
  // Larger than any tensor that can come out of Size.
  static const std::vector<float> values(96 * 96 * 96, 0.5f);
  lstmd::TensorFile file;
  lstmd::LayoutOptions options;
  options.layout = Pick(in, kLayouts);
  options.spec_json = Pick(in, kSpecs);
  options.ignore_unused = in.ConsumeBool();
  if (in.ConsumeBool()) options.prefix = Pick(in, kPrefixes);
  if (in.ConsumeBool()) file.metadata["layers"] = "lstm_1,lstm";
  while (in.remaining_bytes() > 0 && file.tensors.size() < 40) {
    const std::string prefix = Pick(in, kPrefixes);
    lstmd::TensorView tensor;
    tensor.dtype = in.ConsumeIntegralInRange(0, 15) == 0 ? lstmd::DType::kI8 : lstmd::DType::kF32;
    tensor.data = reinterpret_cast<const char*>(values.data());
    tensor.elements = 1;
    for (int rank = in.ConsumeIntegralInRange(0, 3); rank > 0; --rank) {
      tensor.shape.push_back(Size(in));
      tensor.elements *= tensor.shape.back();
    }
    file.tensors[prefix + Pick(in, kNames)] = std::move(tensor);
  }
  const absl::StatusOr<lstmd::ModelFiles> model = lstmd::AssembleModel(file, options);
  if (!model.ok()) return 0;
  if (!Validate(model->spec).ok() || !Validate(model->spec, model->weights).ok()) std::abort();
  if (lstmd::Fingerprint(model->spec, model->weights).size() != 64) std::abort();
  return 0;
}
