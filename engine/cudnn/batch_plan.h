// SPDX-License-Identifier: Apache-2.0
//
// What a batch of rows looks like to the device: a pure function of the rows.
//
// Padded time steps never reach the device. The valid steps of all rows are packed time-major, longest row first: the
// steps s of all rows that have one lie together, so packed(s, b) = offset[s] + b, and the rows active at step s are
// the first active[s]. Rows of a model that reads backwards are packed in the order in which it reads them. What is
// answered for a padded step is said by an index into the computed steps, or by kZeros.
#ifndef LSTMD_ENGINE_CUDNN_BATCH_PLAN_H_
#define LSTMD_ENGINE_CUDNN_BATCH_PLAN_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "engine/backend.h"
#include "engine/spec.h"

namespace lstmd::cudnn {

inline constexpr int32_t kZeros = -1;

// One output step to answer, from packed steps of the two directions.
struct WantedOutput {
  int32_t forward = kZeros;
  int32_t backward = kZeros;
  float* to = nullptr;             // [O]
  const float* same_as = nullptr;  // set: on the host already (an earlier slice), copy it
};

struct PlannedRow {
  Row* row = nullptr;
  uint32_t begin = 0;           // first time step of this slice
  uint32_t count = 0;           // time steps of this slice, padded ones included
  std::vector<uint32_t> valid;  // valid time steps of the slice in the order in which the model reads them
};

struct BatchPlan {
  std::vector<PlannedRow> rows;   // those with a valid step, longest first
  std::vector<PlannedRow> idle;   // those without
  std::vector<int32_t> active;    // [max_steps]
  std::vector<int32_t> offset;    // [max_steps + 1]; the last is the number of packed steps
  std::vector<int32_t> reversed;  // [total]: packed(length_b - 1 - s, b) at packed(s, b)
  std::vector<WantedOutput> wanted;
  std::vector<Slot> to_zero;  // rows that end without any valid step in a model that then answers zeros

  int32_t max_steps() const { return static_cast<int32_t>(active.size()); }
  int32_t total() const { return offset.empty() ? 0 : offset.back(); }
  int32_t batch() const { return static_cast<int32_t>(rows.size()); }
  int32_t length(int32_t b) const { return static_cast<int32_t>(rows[b].valid.size()); }
  bool equal_lengths() const { return rows.empty() || active.back() == batch(); }
};

// REQUIRES: as Backend::Run.
BatchPlan PlanBatch(const ModelSpec& spec, absl::Span<Row* const> rows);

}  // namespace lstmd::cudnn

#endif  // LSTMD_ENGINE_CUDNN_BATCH_PLAN_H_
