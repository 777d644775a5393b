// SPDX-License-Identifier: Apache-2.0
#include "engine/cudnn/batch_plan.h"

#include <algorithm>

namespace lstmd::cudnn {
namespace {

bool ReadsBackwards(const ModelSpec& spec) {
  return spec.direction == Direction::kReverse || spec.direction == Direction::kGoBackwards;
}

bool IsValid(const Row& row, uint32_t t) { return row.mask == nullptr || row.mask[t] != 0; }

PlannedRow PlanRow(const ModelSpec& spec, Row* row) {
  PlannedRow planned;
  planned.row = row;
  planned.begin = spec.steppable() ? static_cast<uint32_t>(row->position) : 0;
  // Only a steppable model can stop between two time steps of all its layers.
  const uint64_t left = row->steps - planned.begin;
  planned.count = static_cast<uint32_t>(spec.steppable() ? std::min<uint64_t>(row->budget, left) : left);
  for (uint32_t i = 0; i < planned.count; ++i) {
    if (IsValid(*row, planned.begin + i)) planned.valid.push_back(planned.begin + i);
  }
  if (ReadsBackwards(spec)) std::reverse(planned.valid.begin(), planned.valid.end());
  return planned;
}

void WantAll(const ModelSpec& spec, const BatchPlan& plan, const PlannedRow& planned, int32_t b,
             std::vector<WantedOutput>* wanted) {
  const Row& row = *planned.row;
  const uint32_t O = spec.output_size();
  const int32_t length = static_cast<int32_t>(planned.valid.size());
  const bool two = spec.directions() == 2;
  const auto packed = [&](int32_t s) { return s < 0 || s >= length ? kZeros : plan.offset[s] + b; };
  const bool repeat = spec.padding_output == PaddingOutput::kRepeatLast;
  int32_t done = 0;  // valid steps passed, in reading order
  for (uint32_t i = 0; i < planned.count; ++i) {
    const uint32_t t = ReadsBackwards(spec) ? planned.begin + planned.count - 1 - i : planned.begin + i;
    WantedOutput want;
    want.to = row.output + size_t{spec.direction == Direction::kReverse ? t : planned.begin + i} * O;
    if (IsValid(row, t)) {
      want.forward = want.backward = packed(done++);
    } else if (repeat) {
      want.forward = packed(done - 1);
      if (two) want.backward = packed(done);  // the backward direction comes from the other side
      if (done == 0 && t > 0 && spec.steppable()) want.same_as = want.to - O;
    }
    wanted->push_back(want);
  }
}

void WantOne(const ModelSpec& spec, const BatchPlan& plan, const PlannedRow& planned, int32_t b,
             std::vector<WantedOutput>* wanted) {
  const int32_t length = static_cast<int32_t>(planned.valid.size());
  WantedOutput want;
  want.to = planned.row->output;
  if (length == 0) {
    if (planned.begin > 0) return;  // what an earlier slice answered stands
  } else {
    const int32_t first = plan.offset[0] + b;
    const int32_t last = plan.offset[length - 1] + b;
    const bool final = planned.row->output_mode == OutputMode::kFinal;
    want.forward = !final && spec.direction == Direction::kReverse ? first : last;
    want.backward = final ? first : last;
  }
  wanted->push_back(want);
}

bool EndsWithoutValidStep(const PlannedRow& planned) {
  const Row& row = *planned.row;
  if (planned.begin + planned.count < row.steps) return false;
  for (uint32_t t = 0; t < row.steps; ++t) {
    if (IsValid(row, t)) return false;
  }
  return true;
}

}  // namespace

BatchPlan PlanBatch(const ModelSpec& spec, absl::Span<Row* const> rows) {
  BatchPlan plan;
  for (Row* row : rows) {
    PlannedRow planned = PlanRow(spec, row);
    (planned.valid.empty() ? plan.idle : plan.rows).push_back(std::move(planned));
  }
  std::stable_sort(plan.rows.begin(), plan.rows.end(),
                   [](const PlannedRow& a, const PlannedRow& b) { return a.valid.size() > b.valid.size(); });

  const size_t max_steps = plan.rows.empty() ? 0 : plan.rows[0].valid.size();
  plan.offset.push_back(0);
  int32_t active = plan.batch();
  for (size_t s = 0; s < max_steps; ++s) {
    while (plan.rows[active - 1].valid.size() <= s) --active;
    plan.active.push_back(active);
    plan.offset.push_back(plan.offset.back() + active);
  }
  plan.reversed.resize(plan.total());
  for (int32_t b = 0; b < plan.batch(); ++b) {
    const int32_t length = plan.length(b);
    for (int32_t s = 0; s < length; ++s) plan.reversed[plan.offset[s] + b] = plan.offset[length - 1 - s] + b;
  }

  const auto want = [&](const PlannedRow& planned, int32_t b) {
    if (planned.row->output == nullptr) return;
    if (planned.row->output_mode == OutputMode::kAll) {
      WantAll(spec, plan, planned, b, &plan.wanted);
    } else {
      WantOne(spec, plan, planned, b, &plan.wanted);
    }
  };
  for (int32_t b = 0; b < plan.batch(); ++b) want(plan.rows[b], b);
  for (const PlannedRow& planned : plan.idle) {
    want(planned, 0);
    if (spec.zero_length_state == ZeroLengthState::kZeros && EndsWithoutValidStep(planned)) {
      plan.to_zero.push_back(planned.row->slot);
    }
  }
  return plan;
}

}  // namespace lstmd::cudnn
