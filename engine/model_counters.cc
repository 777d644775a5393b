// SPDX-License-Identifier: Apache-2.0
#include "engine/model_counters.h"

#include "absl/strings/ascii.h"
#include "engine/session.h"

namespace lstmd {

std::string OutcomeName(size_t outcome) {
  if (outcome == kReplayed) return "replayed";
  return absl::AsciiStrToLower(absl::StatusCodeToString(static_cast<absl::StatusCode>(outcome)));
}

void WorkTally::Add(const Work& work, const absl::Status& status) {
  const bool is_step = work.session != nullptr;
  ModelCounters& counters = *CountersOf(work);
  if (!status.ok() || work.replayed) {
    // Codes of a later library than this one count as UNKNOWN.
    size_t outcome = status.ok() ? kReplayed : static_cast<size_t>(status.code());
    if (outcome >= kOutcomes) outcome = static_cast<size_t>(absl::StatusCode::kUnknown);
    (is_step ? counters.steps : counters.sequences)[outcome].Add();
    return;
  }
  if (&counters != counters_) {
    Flush();
    counters_ = &counters;
    queue_.emplace(&counters.queue);
    compute_.emplace(&counters.compute);
  }
  ++ok_[is_step];
  time_steps_ += work.steps;
  if (work.steps == 0) return;  // nothing ran
  queue_->Add(ToTicks(work.timing.queue));
  compute_->Add(ToTicks(work.timing.compute));
}

void WorkTally::Flush() {
  if (counters_ == nullptr) return;
  queue_.reset();
  compute_.reset();
  if (ok_[0] != 0) counters_->sequences[0].Add(ok_[0]);
  if (ok_[1] != 0) counters_->steps[0].Add(ok_[1]);
  if (time_steps_ != 0) counters_->time_steps.Add(time_steps_);
  ok_ = {};
  time_steps_ = 0;
}

ModelStats ReadCounters(const ModelCounters& counters) {
  ModelStats stats;
  for (size_t i = 0; i < kOutcomes; ++i) {
    stats.steps[i] = counters.steps[i].value();
    stats.sequences[i] = counters.sequences[i].value();
  }
  stats.time_steps = counters.time_steps.value();
  stats.failed_batches = counters.failed_batches.value();
  stats.busy = absl::Nanoseconds(static_cast<int64_t>(counters.busy_ns.value()));
  stats.replay_bytes = counters.replay_bytes.value();
  stats.sessions_created = counters.sessions_created.value();
  for (size_t end = 1; end < counters.sessions_ended.size(); ++end) {
    const std::string_view name = Name(static_cast<SessionEnd>(end));
    if (!name.empty()) stats.sessions_ended.emplace_back(name, counters.sessions_ended[end].value());
  }
  stats.queue = counters.queue.Read();
  stats.compute = counters.compute.Read();
  stats.reply = counters.reply.Read();
  stats.total = counters.total.Read();
  stats.batch_rows = counters.batch_rows.Read();
  return stats;
}

const std::shared_ptr<ModelCounters>& CountersOf(const Work& work) {
  return (work.session != nullptr ? work.session->model() : work.model)->shared_counters();
}

}  // namespace lstmd
