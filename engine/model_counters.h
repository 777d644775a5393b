// SPDX-License-Identifier: Apache-2.0
//
// What happened on one loaded model, as plain numbers for whoever shows them (server/monitor).
#ifndef LSTMD_ENGINE_MODEL_COUNTERS_H_
#define LSTMD_ENGINE_MODEL_COUNTERS_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/counters.h"
#include "engine/engine.h"
#include "engine/work.h"

namespace lstmd {

// How work ended: the number of its absl::StatusCode (0 is OK), or kReplayed for OK from the replay ring.
constexpr size_t kReplayed = 17;
constexpr size_t kOutcomes = 18;
// "ok", "replayed", "resource_exhausted" …
std::string OutcomeName(size_t outcome);

// Since the model was loaded. Thread-safe.
struct ModelCounters {
  std::array<Counter, kOutcomes> steps;      // work of sessions that has ended
  std::array<Counter, kOutcomes> sequences;  // work without a session
  Counter time_steps;                        // T of all that ended OK, replays not
  Histogram queue;                           // ticks from accepted to the first device call; of work that ran and is OK
  Histogram compute;                         // ticks in device calls; same
  Histogram batch_rows;                      // of each device call
  Counter busy_ns;                           // in device calls
  Counter failed_batches;
  Counter sessions_created;
  std::array<Counter, 8> sessions_ended;  // by SessionEnd
  Gauge replay_bytes;                     // held by replay rings
  // Of OK work, by who answers it: ticks from its end to the reply handed to the transport, and from the request's
  // arrival until then.
  Histogram reply{4};
  Histogram total{4};
};

// Counts work that ends, a run of one model at a time, so that a batch of hundreds costs a few writes to shared memory.
class WorkTally {
 public:
  WorkTally() = default;
  ~WorkTally() { Flush(); }
  WorkTally(const WorkTally&) = delete;
  WorkTally& operator=(const WorkTally&) = delete;

  // `work` has ended with `status` and was not reported yet.
  void Add(const Work& work, const absl::Status& status);

 private:
  void Flush();

  ModelCounters* counters_ = nullptr;
  std::array<uint64_t, 2> ok_{};  // sequences, steps
  uint64_t time_steps_ = 0;
  std::optional<HistogramRun> queue_;
  std::optional<HistogramRun> compute_;
};

// A moment of one loaded model.
struct ModelStats {
  ModelInfo info;
  uint64_t queued = 0;      // accepted and not ended
  uint64_t pool_bytes = 0;  // states on the device
  int64_t replay_bytes = 0;
  std::array<uint64_t, kOutcomes> steps{};
  std::array<uint64_t, kOutcomes> sequences{};
  uint64_t time_steps = 0;
  uint64_t failed_batches = 0;
  absl::Duration busy;
  uint64_t sessions_created = 0;
  std::vector<std::pair<std::string, uint64_t>> sessions_ended;  // by how: "DELETED" …
  HistogramCounts queue;
  HistogramCounts compute;
  HistogramCounts reply;
  HistogramCounts total;
  HistogramCounts batch_rows;
};

// Those of the model of `work`, as the model holds them. REQUIRES: session or model is set.
const std::shared_ptr<ModelCounters>& CountersOf(const Work& work);

// Without info, queued and pool_bytes.
ModelStats ReadCounters(const ModelCounters& counters);

// A moment of one device.
struct DeviceStats {
  std::string name;
  std::string backend;
  std::string description;
  bool healthy = true;
  absl::Duration busy;  // in calls, of all models since the start
};

}  // namespace lstmd

#endif  // LSTMD_ENGINE_MODEL_COUNTERS_H_
