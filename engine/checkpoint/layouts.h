// SPDX-License-Identifier: Apache-2.0
//
// From a file of named tensors to a model. The layouts, each a row of the table in layouts.cc:
//   canonical          cells.{k}.w|r|bias|projection|peepholes, head.weight, head.bias, h0, c0 (engine/weights.h)
//   torch              nn.LSTM weight_ih_l0 …, nn.LSTMCell weight_ih …
//   paddle             the same, and 0.cell_fw.weight_ih …
//   mindspore          nn.LSTM, nn.LSTMCell
//   mindspore_flat     one packed vector, also cuDNN's
//   mindspore_ops_cpu  one vector in the order of ops.LSTM on the CPU
//   keras              Keras 2 and 3
#ifndef LSTMD_ENGINE_CHECKPOINT_LAYOUTS_H_
#define LSTMD_ENGINE_CHECKPOINT_LAYOUTS_H_

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/checkpoint/safetensors.h"
#include "engine/repository.h"

namespace lstmd {

struct LayoutOptions {
  // One of the above. Empty: the metadata key "layout"; without it, told by the tensors' names.
  std::string layout;
  // What stands before the names of the LSTM's tensors, where a file has several ("encoder."). Empty: the metadata key
  // "prefix"; without it, the only one.
  std::string prefix;
  // The spec in JSON, over what the metadata key "lstm" says: fields given here win.
  std::string spec_json;
  // Tensors to act as if they were not there.
  std::set<std::string> ignore;
  // Pass over tensors that have no meaning. Otherwise they are an error: a weight that is not used gives other numbers
  // than the model that it was trained in.
  bool ignore_unused = false;
};

// A spec with both sizes is complete, and the tensors must be what it says. Any other is completed from the tensors:
// sizes, layers, whether bidirectional, biases, projection, peepholes, learned initial state, head. What no tensor
// shows (activations, precision …) is at its default.
// INVALID_ARGUMENT with MODEL_FILE (no values of a float type), MODEL_SPEC (the spec, or its contradiction to the
// tensors) or MODEL_WEIGHTS (tensors missing, of a wrong shape, or without meaning), naming tensor, got and want.
absl::StatusOr<ModelFiles> AssembleModel(const TensorFile& file, const LayoutOptions& options);

// A canonical safetensors file with the spec in its metadata: a whole model. Errors as WriteSafetensors.
// REQUIRES: Validate(model.spec, model.weights) is OK.
absl::Status WriteModel(const std::string& path, const ModelFiles& model);

// Names of all layouts.
std::vector<std::string> LayoutNames();

}  // namespace lstmd

#endif  // LSTMD_ENGINE_CHECKPOINT_LAYOUTS_H_
