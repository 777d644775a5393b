// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_MONITOR_HISTORY_H_
#define LSTMD_SERVER_MONITOR_HISTORY_H_

#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "engine/interval_thread.h"
#include "engine/model_counters.h"
#include "engine/mutex.h"
#include "lstmd/v1/admin_service.pb.h"
#include "server/context.h"

namespace lstmd::server {

// What the loads of two of them tell.
struct Moment {
  absl::Time time;
  std::vector<ModelStats> models;
  absl::Duration busy;  // mean of the devices
  v1::ProcessStats process;
};

Moment TakeMoment(const Context& context);
// Of the model with that name and version in `now`, since `before`; since it was loaded if that was later.
v1::Load LoadOf(const ModelStats& model, const Moment& before, const Moment& now);
// Of all models.
v1::Load LoadOf(const Moment& before, const Moment& now);

// The load of the last ten minutes, second by second, so that a page or a terminal that is opened has something to show
// at once. Thread-safe.
class History {
 public:
  static constexpr absl::Duration kSecond = absl::Seconds(1);
  static constexpr size_t kPoints = 600;
  // Of Recent.
  static constexpr size_t kWindow = 5;

  // Takes a point every second from the start on. `context` outlives it.
  explicit History(const Context& context);

  // Takes a point at once: what the thread does every second.
  void Sample();
  // The points after `since`.
  std::vector<v1::StatsPoint> Since(absl::Time since) const;
  // Fills in `recent` of all and of each model.
  void FillRecent(v1::ServerStats* stats) const;

 private:
  const Context& context_;
  mutable Mutex mutex_;
  std::deque<Moment> moments_ ABSL_GUARDED_BY(mutex_);  // the last kWindow + 1
  std::deque<v1::StatsPoint> points_ ABSL_GUARDED_BY(mutex_);
  std::optional<IntervalThread> thread_;  // from the first sample on
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_MONITOR_HISTORY_H_
