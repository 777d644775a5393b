// SPDX-License-Identifier: Apache-2.0
#include "server/monitor/history.h"

#include <algorithm>

#include "absl/time/clock.h"
#include "server/convert_model.h"
#include "server/monitor/process_stats.h"
#include "server/names.h"
#include "server/stream_registry.h"

namespace lstmd::server {
namespace {

constexpr size_t kBusiest = 8;
constexpr size_t kOk = 0;

const ModelStats* Find(const std::vector<ModelStats>& models, const ModelInfo& info) {
  for (const ModelStats& model : models) {
    // One that was loaded again counts from 0.
    if (model.info.name == info.name && model.info.version == info.version && model.info.load_time == info.load_time) {
      return &model;
    }
  }
  return nullptr;
}

uint64_t Answered(const ModelStats& model) {
  return model.steps[kOk] + model.steps[kReplayed] + model.sequences[kOk] + model.sequences[kReplayed];
}

uint64_t Ended(const ModelStats& model) {
  uint64_t sum = 0;
  for (size_t i = 0; i < kOutcomes; ++i) sum += model.steps[i] + model.sequences[i];
  return sum;
}

// What is added up over models before it becomes rates.
struct Sums {
  uint64_t answered = 0;
  uint64_t ended = 0;
  uint64_t time_steps = 0;
  uint64_t sessions = 0;
  uint64_t queued = 0;
  HistogramCounts queue;
  HistogramCounts compute;
  HistogramCounts reply;
  HistogramCounts total;
  HistogramCounts batch_rows;

  void Add(const ModelStats& now, const ModelStats* before) {
    const auto since = [](const HistogramCounts& counts, const HistogramCounts* earlier, HistogramCounts* sum) {
      HistogramCounts part = counts;
      if (earlier != nullptr) part.Subtract(*earlier);
      sum->Add(part);
    };
    answered += Answered(now) - (before == nullptr ? 0 : Answered(*before));
    ended += Ended(now) - (before == nullptr ? 0 : Ended(*before));
    time_steps += now.time_steps - (before == nullptr ? 0 : before->time_steps);
    sessions += now.info.sessions;
    queued += now.queued;
    since(now.queue, before == nullptr ? nullptr : &before->queue, &queue);
    since(now.compute, before == nullptr ? nullptr : &before->compute, &compute);
    since(now.reply, before == nullptr ? nullptr : &before->reply, &reply);
    since(now.total, before == nullptr ? nullptr : &before->total, &total);
    since(now.batch_rows, before == nullptr ? nullptr : &before->batch_rows, &batch_rows);
  }

  v1::Load ToLoad(double seconds) const {
    v1::Load load;
    load.set_steps_per_second(static_cast<double>(answered) / seconds);
    load.set_time_steps_per_second(static_cast<double>(time_steps) / seconds);
    load.set_failures_per_second(static_cast<double>(ended - std::min(ended, answered)) / seconds);
    load.set_batch_rows(batch_rows.mean());
    load.set_queue_seconds(TicksToSeconds(queue.mean()));
    load.set_compute_seconds(TicksToSeconds(compute.mean()));
    load.set_reply_seconds(TicksToSeconds(reply.mean()));
    load.set_p50_seconds(TicksToSeconds(total.Quantile(0.5)));
    load.set_p90_seconds(TicksToSeconds(total.Quantile(0.9)));
    load.set_p99_seconds(TicksToSeconds(total.Quantile(0.99)));
    load.set_sessions(sessions);
    load.set_queued(queued);
    return load;
  }
};

double SecondsBetween(const Moment& before, const Moment& now) {
  return std::max(1e-3, absl::ToDoubleSeconds(now.time - before.time));
}

double Share(absl::Duration busy, double seconds) {
  return std::clamp(absl::ToDoubleSeconds(busy) / seconds, 0.0, 1.0);
}

v1::StatsPoint PointOf(const Moment& before, const Moment& now, const Context& context) {
  const double seconds = SecondsBetween(before, now);
  v1::StatsPoint point;
  ToProto(now.time, point.mutable_time());
  *point.mutable_load() = LoadOf(before, now);
  point.set_cpus(std::max(0.0, now.process.cpu_seconds() - before.process.cpu_seconds()) / seconds);
  point.set_resident_bytes(now.process.resident_bytes());
  point.set_open_streams(context.streams->open());
  std::vector<std::pair<uint64_t, const ModelStats*>> rates;
  for (const ModelStats& model : now.models) {
    const ModelStats* const earlier = Find(before.models, model.info);
    const uint64_t answered = Answered(model) - (earlier == nullptr ? 0 : Answered(*earlier));
    if (answered != 0) rates.emplace_back(answered, &model);
  }
  std::stable_sort(rates.begin(), rates.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  if (rates.size() > kBusiest) rates.resize(kBusiest);
  for (const auto& [answered, model] : rates) {
    v1::StatsPoint::ModelRate& rate = *point.add_busiest();
    rate.set_model(FormatModelName(model->info.name));
    rate.set_version(model->info.version);
    rate.set_steps_per_second(static_cast<double>(answered) / seconds);
  }
  return point;
}

}  // namespace

Moment TakeMoment(const Context& context) {
  Moment moment;
  moment.time = absl::Now();
  moment.models = context.engine->StatsByModel();
  const std::vector<DeviceStats> devices = context.engine->StatsByDevice();
  for (const DeviceStats& device : devices) moment.busy += device.busy / static_cast<int64_t>(devices.size());
  moment.process = ReadProcessStats();
  return moment;
}

v1::Load LoadOf(const ModelStats& model, const Moment& before, const Moment& now) {
  const double seconds = SecondsBetween(before, now);
  const ModelStats* const earlier = Find(before.models, model.info);
  Sums sums;
  sums.Add(model, earlier);
  v1::Load load = sums.ToLoad(seconds);
  load.set_busy(Share(model.busy - (earlier == nullptr ? absl::ZeroDuration() : earlier->busy), seconds));
  return load;
}

v1::Load LoadOf(const Moment& before, const Moment& now) {
  const double seconds = SecondsBetween(before, now);
  Sums sums;
  for (const ModelStats& model : now.models) sums.Add(model, Find(before.models, model.info));
  v1::Load load = sums.ToLoad(seconds);
  load.set_busy(Share(now.busy - before.busy, seconds));
  return load;
}

History::History(const Context& context) : context_(context) {
  Sample();
  thread_.emplace(kSecond, [this, next = absl::Now() + kSecond]() mutable {
    Sample();
    next = std::max(next + kSecond, absl::Now());
    return next - absl::Now();
  });
}

void History::Sample() {
  Moment now = TakeMoment(context_);
  MutexLock lock(&mutex_);
  if (!moments_.empty()) {
    points_.push_back(PointOf(moments_.back(), now, context_));
    if (points_.size() > kPoints) points_.pop_front();
  }
  moments_.push_back(std::move(now));
  if (moments_.size() > kWindow + 1) moments_.pop_front();
}

std::vector<v1::StatsPoint> History::Since(absl::Time since) const {
  const google::protobuf::Timestamp bound = [&] {
    google::protobuf::Timestamp time;
    ToProto(since, &time);
    return time;
  }();
  const auto is_after = [&](const v1::StatsPoint& point) {
    return std::pair(point.time().seconds(), point.time().nanos()) > std::pair(bound.seconds(), bound.nanos());
  };
  MutexLock lock(&mutex_);
  return {std::find_if(points_.begin(), points_.end(), is_after), points_.end()};
}

void History::FillRecent(v1::ServerStats* stats) const {
  MutexLock lock(&mutex_);
  if (moments_.size() < 2) return;
  const Moment& before = moments_.front();
  const Moment& now = moments_.back();
  *stats->mutable_recent() = LoadOf(before, now);
  for (v1::ModelStats& out : *stats->mutable_models()) {
    for (const ModelStats& model : now.models) {
      if (out.model().version() == model.info.version && out.model().name() == FormatModelName(model.info.name)) {
        *out.mutable_recent() = LoadOf(model, before, now);
      }
    }
  }
}

}  // namespace lstmd::server
