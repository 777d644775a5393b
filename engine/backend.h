// SPDX-License-Identifier: Apache-2.0
//
// What runs an LSTM: the interface between the scheduler and a device. Implementations: engine/cpu, engine/cudnn (a
// plug-in), tests/support/fake_backend.h.
//
// Thread safety: one thread at a time calls Run of a Backend; always the same one (the scheduler's worker) unless
// any_thread. Everything else may be called from any thread, also while Run runs; slots that a running Row names are
// left alone by all others (the scheduler sees to that).
#ifndef LSTMD_ENGINE_BACKEND_H_
#define LSTMD_ENGINE_BACKEND_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/spec.h"
#include "engine/weights.h"

namespace lstmd {

// Which outputs of a row are wanted; see lstmd.v1.OutputMode.
enum class OutputMode : uint8_t { kAll, kLast, kFinal };

// Address of one session's h and c in a StatePool.
using Slot = uint32_t;
inline constexpr Slot kNoSlot = UINT32_MAX;

// Weights on a device, in the backend's own layout. Immutable.
class DeviceModel {
 public:
  virtual ~DeviceModel() = default;
  virtual uint64_t weight_bytes() const = 0;
};

// The states of one model's sessions on a device: slots of h [L*D, P or H] and c [L*D, H], grown by slabs, never
// shrunk or moved. Holds for every DeviceModel of the same spec, and outlives the one that it was made for: its initial
// state stays that one's. Thread-safe; a slot is used by one caller at a time.
class StatePool {
 public:
  virtual ~StatePool() = default;
  // A slot in the model's initial state. RESOURCE_EXHAUSTED / DEVICE_MEMORY.
  virtual absl::StatusOr<Slot> Allocate() = 0;
  // REQUIRES: `slot` came from Allocate and was not freed since. Same for the calls below.
  virtual void Free(Slot slot) = 0;
  // To the model's initial state.
  virtual absl::Status Reset(Slot slot) = 0;
  // h [L*D, P or H], c [L*D, H] on the host.
  virtual absl::Status Read(Slot slot, absl::Span<float> h, absl::Span<float> c) const = 0;
  virtual absl::Status Write(Slot slot, absl::Span<const float> h, absl::Span<const float> c) = 0;
  virtual absl::Status Copy(Slot from, Slot to) = 0;
  // Of one slot on the device.
  virtual uint64_t slot_bytes() const = 0;
  // Of the whole pool on the device.
  virtual uint64_t pool_bytes() const = 0;
};

// What a backend keeps for a row between two slices (outputs of inner layers, the last output …). Opaque to others.
class RowScratch {
 public:
  virtual ~RowScratch() = default;
};

// One sequence of `steps` time steps from and into one slot, advanced slice by slice. A step is a row with steps = 1.
//
// Work is counted in units: for a steppable model one unit is one time step through all layers; for others one unit is
// one time step of one cell, so a row has cells() * steps of them.
struct Row {
  Slot slot = kNoSlot;
  const float* input = nullptr;   // [steps, I]
  uint32_t steps = 0;             // T
  const uint8_t* mask = nullptr;  // [steps], 1 = valid; nullptr: all are
  float* output = nullptr;        // kAll: [steps, O], else [O]; nullptr: not wanted
  OutputMode output_mode = OutputMode::kAll;

  uint64_t position = 0;                // units done, 0 at first; Run moves it on
  uint64_t budget = 0;                  // units that this Run may spend on the row, at least 1
  std::unique_ptr<RowScratch> scratch;  // made by Run where it needs one; the caller only carries it

  uint64_t units(const ModelSpec& spec) const { return spec.steppable() ? steps : uint64_t{steps} * spec.cells(); }
};

class Backend {
 public:
  virtual ~Backend() = default;

  // "cpu", "cudnn".
  virtual std::string name() const = 0;
  // Name of the device: "cpu", "cuda:0".
  virtual std::string device() const = 0;
  // For people: instruction set and threads, or the GPU's name.
  virtual std::string description() const = 0;

  // OK, or UNIMPLEMENTED / UNSUPPORTED_BY_DEVICE with what cannot be done and which device can.
  virtual absl::Status Supports(const ModelSpec& spec) const = 0;

  // REQUIRES: Supports(spec), Validate(spec) and Validate(spec, weights) are OK. The weights may be dropped afterwards.
  // Errors: RESOURCE_EXHAUSTED / DEVICE_MEMORY.
  virtual absl::StatusOr<std::unique_ptr<DeviceModel>> Load(const ModelSpec& spec, const Weights& weights) = 0;

  // REQUIRES: `model` came from this backend's Load. The pool does not refer to it afterwards.
  virtual absl::StatusOr<std::unique_ptr<StatePool>> CreateStatePool(const DeviceModel& model) = 0;

  // Advances every row by min(budget, what is left) units, or by more where the device cannot stop there. On return
  // position and scratch are moved on, outputs of the time steps that are done stand on the host, and the slots of
  // rows that are done hold the final state. The slot of a row that is not done holds something in between (the
  // scheduler gives such rows a slot of their own). Past-the-length outputs and zero-length states are as the spec
  // says. On error: position, scratch and slot of every row are as they were before the call; outputs are undefined.
  //
  // A backend that says so (batch_invariant) computes each row bit-identically whatever other rows are in the call and
  // however its steps are sliced.
  //
  // REQUIRES: rows not empty; all of one model; no slot twice; steps >= 1; pool came from CreateStatePool of
  // this model or another of the same spec.
  virtual absl::Status Run(const DeviceModel& model, StatePool& pool, absl::Span<Row* const> rows) = 0;

  virtual bool batch_invariant() const = 0;

  // Run may be called from any thread, one after the other, and short calls are no slower for that.
  virtual bool any_thread() const { return false; }

  // False once the device is lost for the rest of the process: every Run fails from then on, and only a restart helps.
  virtual bool healthy() const { return true; }
};

}  // namespace lstmd

#endif  // LSTMD_ENGINE_BACKEND_H_
