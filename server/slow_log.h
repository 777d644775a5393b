// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_SLOW_LOG_H_
#define LSTMD_SERVER_SLOW_LOG_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "engine/mutex.h"
#include "engine/work.h"
#include "grpcpp/server_context.h"

namespace lstmd::server {

// Where the time of a request went: of a unary call, or of one message of a stream; of its slowest step.
struct RequestTimes {
  absl::Time received;  // all of it had arrived
  absl::Time ended;     // the engine was done
  absl::Time written;   // the transport has taken the reply
  Timing timing;
  std::string subject;  // "models/m/sessions/s", "models/m", "" where there was no work
  uint64_t items = 0;   // steps and sequences in it
};

// Writes a line for each request at or above a threshold, with the time of each part; at most a few a second, so that
// an overload does not drown in its own log: the next line says how many were left out. Thread-safe.
class SlowLog {
 public:
  // Zero or less: none.
  explicit SlowLog(absl::Duration threshold) : threshold_(threshold) {}

  bool IsSlow(absl::Duration total) const { return threshold_ > absl::ZeroDuration() && total >= threshold_; }
  // Whether there is a threshold at all.
  bool on() const { return threshold_ > absl::ZeroDuration(); }
  // Counts it and may write the line. `call` gives the trace.
  void Report(std::string_view rpc, const RequestTimes& times, const grpc::ServerContextBase& call);

 private:
  static constexpr uint32_t kLinesPerSecond = 10;

  const absl::Duration threshold_;
  Mutex mutex_;
  absl::Time second_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  uint32_t lines_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t left_out_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_SLOW_LOG_H_
