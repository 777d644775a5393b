// SPDX-License-Identifier: Apache-2.0
#include "server/monitor/stats.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/model_counters.h"
#include "server/connection_guard.h"
#include "server/convert_model.h"
#include "server/monitor/history.h"
#include "server/monitor/process_stats.h"
#include "server/stream_registry.h"
#include "server/telemetry.h"
#include "server/version.h"

namespace lstmd::server {
namespace {

using CountMap = google::protobuf::Map<std::string, google::protobuf::uint64>;

// Ticks to seconds, or numbers as they are.
void Fill(const HistogramCounts& counts, bool seconds, v1::Histogram* out) {
  const auto value = [seconds](uint64_t raw) {
    return seconds ? TicksToSeconds(static_cast<double>(raw)) : static_cast<double>(raw);
  };
  for (size_t i = 0; i < counts.buckets.size(); ++i) {
    if (counts.buckets[i] == 0) continue;
    v1::Histogram::Bucket& bucket = *out->add_buckets();
    bucket.set_lower(value(Histogram::Lower(i)));
    bucket.set_upper(i + 1 < Histogram::kBuckets ? value(Histogram::Upper(i))
                                                 : std::numeric_limits<double>::infinity());
    bucket.set_count(counts.buckets[i]);
  }
  out->set_sum(value(counts.sum));
}

void Fill(const std::array<uint64_t, kOutcomes>& outcomes, CountMap* out) {
  for (size_t i = 0; i < kOutcomes; ++i) {
    if (outcomes[i] != 0) (*out)[OutcomeName(i)] = outcomes[i];
  }
}

void Fill(const ModelStats& stats, bool histograms, v1::ModelStats* out) {
  ToProto(stats.info, out->mutable_model());
  out->set_sessions_created(stats.sessions_created);
  for (const auto& [how, count] : stats.sessions_ended) (*out->mutable_sessions_ended())[how] = count;
  out->set_queued(stats.queued);
  out->set_state_bytes(stats.pool_bytes);
  out->set_replay_bytes(static_cast<uint64_t>(std::max<int64_t>(0, stats.replay_bytes)));
  Fill(stats.steps, out->mutable_steps());
  Fill(stats.sequences, out->mutable_sequences());
  out->set_time_steps(stats.time_steps);
  out->set_failed_batches(stats.failed_batches);
  out->set_busy_seconds(absl::ToDoubleSeconds(stats.busy));
  if (!histograms) return;
  Fill(stats.batch_rows, false, out->mutable_batch_rows());
  Fill(stats.queue, true, out->mutable_queue_seconds());
  Fill(stats.compute, true, out->mutable_compute_seconds());
  Fill(stats.reply, true, out->mutable_reply_seconds());
  Fill(stats.total, true, out->mutable_total_seconds());
}

void Fill(const RpcStats& stats, bool histograms, v1::RpcStats* out) {
  const RpcCounters& counters = *stats.counters;
  out->set_rpc(stats.rpc);
  for (size_t code = 0; code < kStatusCodes; ++code) {
    const uint64_t count = counters.calls[code].value();
    if (count != 0) (*out->mutable_calls())[absl::StatusCodeToString(static_cast<absl::StatusCode>(code))] = count;
  }
  if (histograms) Fill(counters.duration.Read(), true, out->mutable_seconds());
  out->set_open_streams(static_cast<uint64_t>(std::max<int64_t>(0, counters.open_streams.value())));
  out->set_messages_in(counters.messages_in.value());
  out->set_messages_out(counters.messages_out.value());
  out->set_slow(counters.slow.value());
}

void Fill(const ConnectionCounters& counters, const ConnectionBounds& bounds, v1::ConnectionStats* out) {
  out->set_open(static_cast<uint64_t>(counters.connections.value()));
  out->set_calls(static_cast<uint64_t>(counters.calls.value()));
  for (size_t i = 0; i < kCutReasons.size(); ++i) (*out->mutable_cut())[kCutReasons[i]] = counters.cut[i].value();
  out->set_max_connections(bounds.max_connections);
  out->set_max_calls(bounds.max_calls);
  out->set_unfinished_bytes(static_cast<uint64_t>(counters.unfinished.value()));
  out->set_max_unfinished_bytes(bounds.max_unfinished_bytes);
}

}  // namespace

std::vector<std::string> NotReady(const Context& context) {
  std::vector<std::string> why;
  if (context.draining.load(std::memory_order_relaxed)) why.push_back("the server is draining");
  for (const Backend* const backend : context.engine->Backends()) {
    if (!backend->healthy()) why.push_back(absl::StrCat("device ", backend->device(), " is lost"));
  }
  if (!context.serving.load(std::memory_order_acquire)) {
    why.push_back("models are being loaded");
  } else if (context.wants_models && context.engine->Stats().models == 0) {
    why.push_back("no model is ready");
  }
  return why;
}

v1::ServerStats AnswerStats(const Context& context, const v1::GetStatsRequest& request) {
  v1::ServerStats stats = CollectStats(context, request.include_histograms());
  context.history->FillRecent(&stats);
  if (request.has_history_since()) {
    const absl::Time since =
        absl::FromUnixSeconds(request.history_since().seconds()) + absl::Nanoseconds(request.history_since().nanos());
    for (v1::StatsPoint& point : context.history->Since(since)) *stats.add_history() = std::move(point);
  }
  return stats;
}

v1::ServerStats CollectStats(const Context& context, bool histograms) {
  v1::ServerStats stats;
  ToProto(absl::Now(), stats.mutable_time());
  ToProto(context.start_time, stats.mutable_start_time());
  stats.set_version(kVersion);
  stats.set_draining(context.draining.load(std::memory_order_relaxed));
  for (std::string& why : NotReady(context)) stats.add_not_ready(std::move(why));
  for (const DeviceStats& device : context.engine->StatsByDevice()) {
    v1::DeviceStats& out = *stats.add_devices();
    out.set_name(device.name);
    out.set_backend(device.backend);
    out.set_description(device.description);
    out.set_healthy(device.healthy);
    out.set_busy_seconds(absl::ToDoubleSeconds(device.busy));
  }
  for (const ModelStats& model : context.engine->StatsByModel()) Fill(model, histograms, stats.add_models());
  for (const RpcStats& rpc : Telemetry::Get().Rpcs()) Fill(rpc, histograms, stats.add_rpcs());
  for (const FailureStats& failure : Telemetry::Get().Failures()) {
    v1::FailureStats& out = *stats.add_failures();
    out.set_rpc(failure.rpc);
    out.set_code(failure.code);
    out.set_reason(failure.reason);
    out.set_count(failure.count);
  }
  const EngineStats engine = context.engine->Stats();
  v1::StoreStats& store = *stats.mutable_store();
  store.set_checkpoints(engine.checkpoints);
  store.set_failures(engine.checkpoint_failures);
  store.set_waiting(engine.checkpoints_waiting);
  store.set_groups(engine.checkpoint_groups);
  store.set_last_group_seconds(absl::ToDoubleSeconds(engine.checkpoint_time));
  store.set_restored(engine.sessions_restored);
  store.set_lag_seconds(absl::ToDoubleSeconds(engine.checkpoint_lag));
  v1::SpillStats& spill = *stats.mutable_spill();
  spill.set_on_device(engine.sessions_resident);
  spill.set_on_host(engine.sessions_on_host);
  spill.set_on_disk(engine.sessions_on_disk);
  spill.set_host_bytes(engine.spill_host_bytes);
  spill.set_spills(engine.spills);
  spill.set_restores(engine.spill_restores);
  Fill(*context.connections, *context.connection_bounds, stats.mutable_connections());
  stats.set_memory_limit(context.memory_limit);
  stats.set_max_streams(context.limits.max_streams);
  for (const RefusalStats& refusal : Telemetry::Get().Refusals()) {
    v1::TenantRefusals& out = *stats.add_tenant_refusals();
    out.set_tenant(refusal.tenant);
    out.set_bound(refusal.bound);
    out.set_count(refusal.count);
  }
  stats.set_inline_batches(engine.inline_batches);
  *stats.mutable_process() = ReadProcessStats();
  stats.set_open_streams(context.streams->open());
  for (const auto& [name, pool] :
       {std::pair("session", context.session_pool), std::pair("model", context.model_pool)}) {
    v1::PoolStats& out = *stats.add_pools();
    out.set_pool(name);
    out.set_queued(pool->queued());
  }
  stats.set_max_sessions(context.max_sessions);
  stats.set_max_batch_size(context.max_batch_size);
  return stats;
}

}  // namespace lstmd::server
