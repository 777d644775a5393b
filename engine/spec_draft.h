// SPDX-License-Identifier: Apache-2.0
//
// A spec in the making: what metadata and lstm.json say, before the shapes of the tensors fill in the rest.
#ifndef LSTMD_ENGINE_SPEC_DRAFT_H_
#define LSTMD_ENGINE_SPEC_DRAFT_H_

#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/spec.h"

namespace lstmd {

// Fields that nobody gave are at their default in `spec`; the flags tell which ones the tensors may still decide.
struct SpecDraft {
  ModelSpec spec;
  bool num_layers_given = false;
  bool direction_given = false;
  bool projection_given = false;
  bool bias_given = false;
  bool peepholes_given = false;
  bool learned_initial_state_given = false;
  bool activations_given = false;
  bool reverse_activations_given = false;

  SpecDraft() {
    spec.input_size = 0;
    spec.hidden_size = 0;
  }

  // Somebody who gives both sizes has written the whole spec: what is absent is at its default, and tensors that say
  // otherwise are an error. Without them every field that the tensors show is taken from them.
  bool complete() const { return spec.input_size != 0 && spec.hidden_size != 0; }
};

// Reads the JSON form of lstmd.v1.ModelSpec over what `draft` has. Errors as ParseSpecJson; not validated as a whole.
absl::Status ReadSpecJson(std::string_view json, SpecDraft* draft);

// The draft as a spec, validated as ParseSpecJson does.
absl::StatusOr<ModelSpec> Finish(const SpecDraft& draft);

}  // namespace lstmd

#endif  // LSTMD_ENGINE_SPEC_DRAFT_H_
