// SPDX-License-Identifier: Apache-2.0
//
// A model's weights in panels.
#ifndef LSTMD_ENGINE_CPU_PACKED_WEIGHTS_H_
#define LSTMD_ENGINE_CPU_PACKED_WEIGHTS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend.h"
#include "engine/cpu/aligned_buffer.h"
#include "engine/cpu/panels.h"
#include "engine/spec.h"
#include "engine/weights.h"

namespace lstmd::cpu {

// One (layer, direction).
struct PackedCell {
  Panels panels;           // W [4H, I'] and R [4H, P or H]
  size_t hidden_size = 0;  // H
  Activations activations;
  bool default_activations = false;  // sigmoid, tanh, tanh, and none of the options below
  bool peepholes = false;
  bool input_forget = false;
  float clip = 0;                  // 0 = none
  AlignedBuffer peephole_weights;  // [3][Padded(H)], i f o; empty without peepholes

  size_t input_size() const { return panels.depth[0]; }
  size_t state_size() const { return panels.depth[1]; }
};

// y = activation(W x + b)
struct PackedLinear {
  Panels panels;  // W [output_size, input_size]
  size_t output_size = 0;
  Activation activation{Function::kLinear};

  size_t input_size() const { return panels.depth[0]; }
};

class PackedModel : public DeviceModel {
 public:
  // `units` is U of the kernels that will run it. Errors: RESOURCE_EXHAUSTED / DEVICE_MEMORY; INVALID_ARGUMENT /
  // MODEL_WEIGHTS for int8 weights that are not finite.
  static absl::StatusOr<std::unique_ptr<PackedModel>> Pack(const ModelSpec& spec, const Weights& weights, size_t units);

  uint64_t weight_bytes() const override;

  ModelSpec spec;
  WeightFormat format = WeightFormat::kF32;  // of all that follows
  std::vector<PackedCell> cells;             // [L*D]
  std::vector<PackedLinear> projections;     // [L*D], empty without projection
  PackedLinear head;                         // output_size 0 without
  std::vector<float> initial_h;              // [L*D, P or H], empty: zeros
  std::vector<float> initial_c;              // [L*D, H]

  // Most of any cell.
  size_t padded_hidden() const { return Padded(spec.hidden_size); }
  size_t padded_state() const { return Padded(spec.hidden_state_size()); }
};

}  // namespace lstmd::cpu

#endif  // LSTMD_ENGINE_CPU_PACKED_WEIGHTS_H_
