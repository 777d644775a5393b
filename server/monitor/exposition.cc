// SPDX-License-Identifier: Apache-2.0
#include "server/monitor/exposition.h"

#include <cmath>
#include <limits>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "prometheus/metric_family.h"
#include "prometheus/text_serializer.h"

namespace lstmd::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using Values = std::vector<std::string>;

struct Metric {
  const char* name;
  prometheus::MetricType type;
  const char* labels;
  const char* help;
};

constexpr Metric kMetrics[] = {
#define METRIC(name, type, labels, help) {name, prometheus::MetricType::type, labels, help},
#include "server/monitor/metrics.inc"
#undef METRIC
};

// The powers of two from `first` to `last`.
std::vector<double> Bounds(double first, double last) {
  std::vector<double> bounds;
  for (double bound = first; bound <= last; bound *= 2) bounds.push_back(bound);
  return bounds;
}

// 16 us to 67 s.
const std::vector<double>& SecondBounds() {
  static const auto* const bounds = new std::vector<double>(Bounds(16e-6, 68));
  return *bounds;
}

const std::vector<double>& RowBounds() {
  static const auto* const bounds = new std::vector<double>(Bounds(1, 65536));
  return *bounds;
}

// All families, in the order of the table.
class Families {
 public:
  Families() {
    for (const Metric& metric : kMetrics) {
      families_.push_back({metric.name, metric.help, metric.type, {}});
      labels_.push_back(absl::StrSplit(metric.labels, ',', absl::SkipEmpty()));
    }
  }

  // `values`: of the labels, in the order of the table. A name that is not in the table, or another number of labels,
  // is a mistake of the program: such a metric is left out, and the tests miss it.
  void Set(std::string_view name, const Values& values, double number) {
    ClientMetric* const metric = Add(name, values);
    if (metric == nullptr) return;
    metric->counter.value = number;
    metric->gauge.value = number;
  }

  void Set(std::string_view name, const Values& values, const v1::Histogram& histogram,
           const std::vector<double>& bounds) {
    ClientMetric* const metric = Add(name, values);
    if (metric == nullptr) return;
    ClientMetric::Histogram& out = metric->histogram;
    out.sample_sum = histogram.sum();
    int next = 0;
    for (const double bound : bounds) {
      // Bounds of the histogram are exact numbers of ticks; these are near them.
      for (; next < histogram.buckets_size() && histogram.buckets(next).upper() <= bound * (1 + 1e-9); ++next) {
        out.sample_count += histogram.buckets(next).count();
      }
      out.bucket.push_back({out.sample_count, bound});
    }
    for (; next < histogram.buckets_size(); ++next) out.sample_count += histogram.buckets(next).count();
    out.bucket.push_back({out.sample_count, std::numeric_limits<double>::infinity()});
  }

  const std::vector<MetricFamily>& families() const { return families_; }

 private:
  ClientMetric* Add(std::string_view name, const Values& values) {
    for (size_t i = 0; i < families_.size(); ++i) {
      if (families_[i].name != name) continue;
      if (labels_[i].size() != values.size()) return nullptr;
      ClientMetric& metric = families_[i].metric.emplace_back();
      for (size_t k = 0; k < values.size(); ++k) metric.label.push_back({labels_[i][k], values[k]});
      return &metric;
    }
    return nullptr;
  }

  std::vector<MetricFamily> families_;
  std::vector<Values> labels_;
};

void AddProgram(const v1::ServerStats& stats, absl::Duration collect, Families* families) {
  families->Set("lstmd_build_info", {stats.version()}, 1);
  families->Set("lstmd_ready", {}, stats.not_ready().empty());
  families->Set("lstmd_draining", {}, stats.draining());
  families->Set("process_start_time_seconds", {}, static_cast<double>(stats.start_time().seconds()));
  const v1::ProcessStats& process = stats.process();
  families->Set("process_cpu_seconds_total", {}, process.cpu_seconds());
  families->Set("process_resident_memory_bytes", {}, static_cast<double>(process.resident_bytes()));
  families->Set("process_virtual_memory_bytes", {}, static_cast<double>(process.virtual_bytes()));
  families->Set("process_open_fds", {}, process.open_fds());
  families->Set("process_max_fds", {}, static_cast<double>(process.max_fds()));
  families->Set("process_threads", {}, process.threads());
  families->Set("lstmd_max_sessions", {}, static_cast<double>(stats.max_sessions()));
  families->Set("lstmd_collect_duration_seconds", {}, absl::ToDoubleSeconds(collect));
  const v1::StoreStats& store = stats.store();
  families->Set("lstmd_checkpoints_total", {}, static_cast<double>(store.checkpoints()));
  families->Set("lstmd_checkpoint_failures_total", {}, static_cast<double>(store.failures()));
  families->Set("lstmd_checkpoints_waiting", {}, static_cast<double>(store.waiting()));
  families->Set("lstmd_checkpoint_lag_seconds", {}, store.lag_seconds());
  families->Set("lstmd_checkpoint_groups_total", {}, static_cast<double>(store.groups()));
  families->Set("lstmd_checkpoint_group_duration_seconds", {}, store.last_group_seconds());
  families->Set("lstmd_sessions_restored_total", {}, static_cast<double>(store.restored()));
  const v1::SpillStats& spill = stats.spill();
  families->Set("lstmd_session_states", {"device"}, static_cast<double>(spill.on_device()));
  families->Set("lstmd_session_states", {"host"}, static_cast<double>(spill.on_host()));
  families->Set("lstmd_session_states", {"disk"}, static_cast<double>(spill.on_disk()));
  families->Set("lstmd_spill_memory_bytes", {}, static_cast<double>(spill.host_bytes()));
  families->Set("lstmd_spills_total", {}, static_cast<double>(spill.spills()));
  families->Set("lstmd_spill_restores_total", {}, static_cast<double>(spill.restores()));
  families->Set("lstmd_inline_batches_total", {}, static_cast<double>(stats.inline_batches()));
  for (const v1::DeviceStats& device : stats.devices()) {
    const Values labels = {device.name(), device.backend()};
    families->Set("lstmd_device_healthy", labels, device.healthy());
    families->Set("lstmd_device_busy_seconds_total", labels, device.busy_seconds());
  }
  const v1::ConnectionStats& connections = stats.connections();
  families->Set("lstmd_connections", {}, static_cast<double>(connections.open()));
  families->Set("lstmd_max_connections", {}, static_cast<double>(connections.max_connections()));
  families->Set("lstmd_open_calls", {}, static_cast<double>(connections.calls()));
  families->Set("lstmd_max_calls", {}, static_cast<double>(connections.max_calls()));
  families->Set("lstmd_unfinished_bytes", {}, static_cast<double>(connections.unfinished_bytes()));
  families->Set("lstmd_max_unfinished_bytes", {}, static_cast<double>(connections.max_unfinished_bytes()));
  families->Set("lstmd_max_streams", {}, static_cast<double>(stats.max_streams()));
  families->Set("lstmd_memory_limit_bytes", {}, static_cast<double>(stats.memory_limit()));
  for (const auto& [bound, count] : connections.cut()) {
    families->Set("lstmd_connections_cut_total", {bound}, static_cast<double>(count));
  }
  for (const v1::TenantRefusals& refusal : stats.tenant_refusals()) {
    families->Set("lstmd_tenant_refusals_total", {refusal.tenant(), refusal.bound()},
                  static_cast<double>(refusal.count()));
  }
  for (const v1::PoolStats& pool : stats.pools()) {
    families->Set("lstmd_pool_queued_calls", {pool.pool()}, static_cast<double>(pool.queued()));
  }
}

// Counts by a last label. That of `always` is there from the start, so that its rate is known from the first one on.
template <typename Map>
void AddCounts(std::string_view name, Values labels, const Map& counts, const char* always, Families* families) {
  const auto found = counts.find(always);
  labels.push_back(absl::AsciiStrToLower(always));
  families->Set(name, labels, found == counts.end() ? 0 : static_cast<double>(found->second));
  for (const auto& [key, count] : counts) {
    if (key == always) continue;
    labels.back() = absl::AsciiStrToLower(key);
    families->Set(name, labels, static_cast<double>(count));
  }
}

void AddModel(const v1::ModelStats& stats, Families* families) {
  const v1::Model& model = stats.model();
  const std::string name = model.name().substr(model.name().find('/') + 1);
  const Values labels = {name, absl::StrCat(model.version())};
  const auto with = [&](const std::string& last) {
    Values all = labels;
    all.push_back(last);
    return all;
  };
  const bool ready = model.state() == v1::Model::READY;
  families->Set("lstmd_model_ready", with(model.device()), ready);
  if (!ready) return;
  AddCounts("lstmd_steps_total", labels, stats.steps(), "ok", families);
  AddCounts("lstmd_sequences_total", labels, stats.sequences(), "ok", families);
  AddCounts("lstmd_sessions_ended_total", labels, stats.sessions_ended(), "DELETED", families);
  families->Set("lstmd_time_steps_total", labels, static_cast<double>(stats.time_steps()));
  families->Set("lstmd_queue_duration_seconds", labels, stats.queue_seconds(), SecondBounds());
  families->Set("lstmd_compute_duration_seconds", labels, stats.compute_seconds(), SecondBounds());
  families->Set("lstmd_reply_duration_seconds", labels, stats.reply_seconds(), SecondBounds());
  families->Set("lstmd_answer_duration_seconds", labels, stats.total_seconds(), SecondBounds());
  families->Set("lstmd_batch_rows", labels, stats.batch_rows(), RowBounds());
  families->Set("lstmd_failed_batches_total", labels, static_cast<double>(stats.failed_batches()));
  families->Set("lstmd_model_busy_seconds_total", labels, stats.busy_seconds());
  families->Set("lstmd_queued_work", labels, static_cast<double>(stats.queued()));
  families->Set("lstmd_sessions", labels, static_cast<double>(model.sessions()));
  families->Set("lstmd_sessions_created_total", labels, static_cast<double>(stats.sessions_created()));
  families->Set("lstmd_memory_bytes", with("weights"), static_cast<double>(model.weight_bytes()));
  families->Set("lstmd_memory_bytes", with("states"), static_cast<double>(stats.state_bytes()));
  families->Set("lstmd_memory_bytes", with("replays"), static_cast<double>(stats.replay_bytes()));
}

void AddRpc(const v1::RpcStats& stats, Families* families) {
  const std::string& rpc = stats.rpc();
  for (const auto& [code, count] : stats.calls()) {
    families->Set("lstmd_requests_total", {rpc, code}, static_cast<double>(count));
  }
  families->Set("lstmd_slow_requests_total", {rpc}, static_cast<double>(stats.slow()));
  if (stats.messages_in() != 0 || stats.open_streams() != 0) {
    families->Set("lstmd_open_streams", {rpc}, static_cast<double>(stats.open_streams()));
    families->Set("lstmd_stream_messages_total", {rpc, "in"}, static_cast<double>(stats.messages_in()));
    families->Set("lstmd_stream_messages_total", {rpc, "out"}, static_cast<double>(stats.messages_out()));
  } else {
    families->Set("lstmd_request_duration_seconds", {rpc}, stats.seconds(), SecondBounds());
  }
}

}  // namespace

std::string ToPrometheus(const v1::ServerStats& stats, absl::Duration collect) {
  Families families;
  AddProgram(stats, collect, &families);
  for (const v1::ModelStats& model : stats.models()) AddModel(model, &families);
  for (const v1::RpcStats& rpc : stats.rpcs()) AddRpc(rpc, &families);
  for (const v1::FailureStats& failure : stats.failures()) {
    families.Set("lstmd_failures_total", {failure.rpc(), failure.code(), failure.reason()},
                 static_cast<double>(failure.count()));
  }
  return prometheus::TextSerializer().Serialize(families.families());
}

}  // namespace lstmd::server
