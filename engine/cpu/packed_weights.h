// SPDX-License-Identifier: Apache-2.0
//
// Weights as the kernels read them.
//
// A panel holds what U hidden units need (U = lanes of the kernel's vectors, at most 16), all four gates, so that the
// kernel ends with i, f, g and o of the same units in registers:
//   panel p: for k in 0 … K-1: i[U] f[U] g[U] o[U]     K = I' + (P or H): W first, then R, concatenated
// A linear panel holds 4U outputs of a projection or head: for k in 0 … K-1: out[4U]. What is past the last unit or
// output is zero.
#ifndef LSTMD_ENGINE_CPU_PACKED_WEIGHTS_H_
#define LSTMD_ENGINE_CPU_PACKED_WEIGHTS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend.h"
#include "engine/cpu/aligned_buffer.h"
#include "engine/spec.h"
#include "engine/weights.h"

namespace lstmd::cpu {

// One (layer, direction).
struct PackedCell {
  size_t input_size = 0;   // I'
  size_t state_size = 0;   // P or H
  size_t hidden_size = 0;  // H
  size_t units = 0;        // U
  size_t panels = 0;       // ceil(H / U)
  Activations activations;
  bool default_activations = false;  // sigmoid, tanh, tanh, and none of the options below
  bool peepholes = false;
  bool input_forget = false;
  float clip = 0;                  // 0 = none
  AlignedBuffer weights;           // [panels][I' + state_size][4][U]
  AlignedBuffer bias;              // [panels][4][U], zeros where the model has none
  AlignedBuffer peephole_weights;  // [3][Padded(H)], i f o; empty without peepholes

  size_t depth() const { return input_size + state_size; }
  const float* panel(size_t p) const { return weights.data() + p * depth() * 4 * units; }
};

// y = activation(W x + b)
struct PackedLinear {
  size_t input_size = 0;
  size_t output_size = 0;
  size_t units = 0;   // U
  size_t panels = 0;  // ceil(output_size / 4U)
  Activation activation{Function::kLinear};
  AlignedBuffer weights;  // [panels][input_size][4U]
  AlignedBuffer bias;     // [panels][4U], zeros where there is none

  const float* panel(size_t p) const { return weights.data() + p * input_size * 4 * units; }
};

class PackedModel : public DeviceModel {
 public:
  // `units` is U of the kernels that will run it. RESOURCE_EXHAUSTED / DEVICE_MEMORY.
  static absl::StatusOr<std::unique_ptr<PackedModel>> Pack(const ModelSpec& spec, const Weights& weights, size_t units);

  uint64_t weight_bytes() const override;

  ModelSpec spec;
  std::vector<PackedCell> cells;          // [L*D]
  std::vector<PackedLinear> projections;  // [L*D], empty without projection
  PackedLinear head;                      // output_size 0 without
  std::vector<float> initial_h;           // [L*D, P or H], empty: zeros
  std::vector<float> initial_c;           // [L*D, H]

  // Most of any cell.
  size_t padded_hidden() const { return Padded(spec.hidden_size); }
  size_t padded_state() const { return Padded(spec.hidden_state_size()); }
};

}  // namespace lstmd::cpu

#endif  // LSTMD_ENGINE_CPU_PACKED_WEIGHTS_H_
