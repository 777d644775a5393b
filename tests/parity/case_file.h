// SPDX-License-Identifier: Apache-2.0
//
// A recorded case (FORMAT.md): what a framework's layer was, its weights and inputs, and what it computed.
#ifndef LSTMD_TESTS_PARITY_CASE_FILE_H_
#define LSTMD_TESTS_PARITY_CASE_FILE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/checkpoint/safetensors.h"
#include "engine/spec.h"

namespace lstmd::parity {

// Where one weight lies: the tensor; [index] of its first axis; `shape` values from `offset` of it flattened;
// transposed.
struct Reference {
  std::string tensor;
  std::optional<uint64_t> index;
  std::optional<uint64_t> offset;
  std::vector<uint64_t> shape;  // only with offset
  bool transpose = false;
};

struct CellReferences {
  std::optional<Reference> w_ih, w_hh, b_ih, b_hh, w_hr, peep;
};

struct HeadReference {
  bool last = true;  // of the last step alone
  Reference weight;
  std::optional<Reference> bias;
};

struct Case {
  std::string folder;
  std::string name;
  std::string framework;
  std::string api;
  std::string kind;        // layer, cell, iterated_cell
  std::string dtype;       // float32, float16, bfloat16
  std::string activation;  // Keras's names, for files that hold weights only
  std::string recurrent_activation;
  ModelSpec spec;          // without the head's size
  std::string gate_order;  // ifgo, iofg
  std::string input_layout, output_layout, state_layout;
  bool last_only = false;  // return_sequences false
  bool stateful = false;
  int calls = 1;
  bool initial_state = false;
  bool has_lengths = false;
  bool has_mask = false;
  std::optional<double> mask_value;
  std::string padding_rule;  // select, multiply, or none
  bool ort_nan_rule = false;
  std::vector<std::vector<CellReferences>> params;  // by layer, direction
  std::optional<HeadReference> head;
  std::vector<std::string> outputs;
  std::vector<std::string> files;
  double atol = 0, rtol = 0;
  std::optional<uint32_t> batch_size, seq_len;

  TensorFile tensors;
};

// Reads FOLDER/case.json and FOLDER/tensors.safetensors. INVALID_ARGUMENT for a field that is missing, unknown, of a
// wrong type, of an unknown value or at odds with another; the message names it.
absl::StatusOr<Case> ReadCase(const std::string& folder);

}  // namespace lstmd::parity

#endif  // LSTMD_TESTS_PARITY_CASE_FILE_H_
