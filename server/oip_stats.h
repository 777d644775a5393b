// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_OIP_STATS_H_
#define LSTMD_SERVER_OIP_STATS_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/time/time.h"
#include "engine/mutex.h"
#include "engine/work.h"
#include "inference/grpc_service.pb.h"

namespace lstmd::server {

// Where the time of one request went: the sums over its rows.
struct OipTimes {
  struct Batches {
    uint32_t size = 0;
    uint64_t rows = 0;  // that ran in batches of that size
    absl::Duration time;
  };
  uint64_t rows = 0;
  absl::Duration queue;
  absl::InlinedVector<Batches, 1> batches;  // of different sizes

  void Add(const Timing& timing);
};

// The counts of ModelStatistics, per model and version; they only grow. Thread-safe.
class OipStats {
 public:
  void Succeeded(const std::string& model, int64_t version, absl::Duration total, const OipTimes& times);
  // Only of models that there are: names from outside must not make entries.
  void Failed(const std::string& model, int64_t version, absl::Duration total);
  // Zeros for a model that was not asked yet.
  void Fill(const std::string& model, int64_t version, inference::ModelStatistics* statistics) const;

 private:
  struct Counts {
    absl::Time last;
    uint64_t successes = 0;
    uint64_t failures = 0;
    absl::Duration success_time;
    absl::Duration failure_time;
    uint64_t rows = 0;
    absl::Duration queue;
    std::map<uint32_t, std::pair<uint64_t, absl::Duration>> batches;  // size -> rows that ran in such, their time
  };
  using Key = std::pair<std::string, int64_t>;

  mutable Mutex mutex_;
  std::map<Key, Counts> counts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_OIP_STATS_H_
