// SPDX-License-Identifier: Apache-2.0
#include "server/oip_stats.h"

#include <algorithm>

#include "absl/time/clock.h"

namespace lstmd::server {
namespace {

void Set(uint64_t count, absl::Duration time, inference::StatisticDuration* to) {
  to->set_count(count);
  to->set_ns(static_cast<uint64_t>(std::max<int64_t>(0, absl::ToInt64Nanoseconds(time))));
}

}  // namespace

void OipTimes::Add(const Timing& timing) {
  ++rows;
  queue += timing.queue;
  const uint32_t size = std::max(1u, timing.batch_size);
  auto found = std::find_if(batches.begin(), batches.end(), [size](const Batches& one) { return one.size == size; });
  if (found == batches.end()) found = batches.insert(found, {size, 0, {}});
  ++found->rows;
  found->time += timing.compute;
}

void OipStats::Succeeded(const std::string& model, int64_t version, absl::Duration total, const OipTimes& times) {
  const absl::Time now = absl::Now();
  MutexLock lock(&mutex_);
  Counts& counts = counts_[{model, version}];
  counts.last = now;
  ++counts.successes;
  counts.success_time += total;
  counts.rows += times.rows;
  counts.queue += times.queue;
  for (const OipTimes::Batches& batches : times.batches) {
    auto& [rows, time] = counts.batches[batches.size];
    rows += batches.rows;
    time += batches.time;
  }
}

void OipStats::Failed(const std::string& model, int64_t version, absl::Duration total) {
  MutexLock lock(&mutex_);
  Counts& counts = counts_[{model, version}];
  ++counts.failures;
  counts.failure_time += total;
}

void OipStats::Fill(const std::string& model, int64_t version, inference::ModelStatistics* statistics) const {
  statistics->set_name(model);
  statistics->set_version(std::to_string(version));
  inference::InferStatistics& all = *statistics->mutable_inference_stats();
  MutexLock lock(&mutex_);
  const auto found = counts_.find({model, version});
  const Counts none{};
  const Counts& counts = found == counts_.end() ? none : found->second;
  uint64_t executions = 0;
  absl::Duration compute;
  for (const auto& [size, batch] : counts.batches) {
    // Each row of a call counts its part of it.
    const uint64_t calls = batch.first / size;
    executions += calls;
    compute += batch.second;
    inference::InferBatchStatistics& one = *statistics->add_batch_stats();
    one.set_batch_size(size);
    Set(calls, absl::ZeroDuration(), one.mutable_compute_input());
    Set(calls, batch.second / size, one.mutable_compute_infer());
    Set(calls, absl::ZeroDuration(), one.mutable_compute_output());
  }
  if (counts.successes > 0) statistics->set_last_inference(static_cast<uint64_t>(absl::ToUnixMillis(counts.last)));
  statistics->set_inference_count(counts.rows);
  statistics->set_execution_count(executions);
  Set(counts.successes, counts.success_time, all.mutable_success());
  Set(counts.failures, counts.failure_time, all.mutable_fail());
  Set(counts.successes, counts.queue, all.mutable_queue());
  Set(counts.successes, absl::ZeroDuration(), all.mutable_compute_input());
  Set(counts.successes, compute, all.mutable_compute_infer());
  Set(counts.successes, absl::ZeroDuration(), all.mutable_compute_output());
  Set(0, absl::ZeroDuration(), all.mutable_cache_hit());
  Set(0, absl::ZeroDuration(), all.mutable_cache_miss());
}

}  // namespace lstmd::server
