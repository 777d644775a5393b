// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_CLIENT_LSTMCTL_LANE_H_
#define LSTMD_CLIENT_LSTMCTL_LANE_H_

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "client/client.h"
#include "client/lstmctl/histogram.h"
#include "client/lstmctl/load.h"
#include "client/mutex.h"

namespace lstmd::client {

// Nanoseconds of a clock that never goes back.
inline int64_t NowNanos() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// When to count and when to stop; shared by all lanes.
struct LoadClock {
  std::atomic<int64_t> measure_from{0};
  std::atomic<int64_t> send_until{0};
};

// What one lane has seen.
struct LaneCounts {
  uint64_t requests = 0;
  uint64_t replies = 0;
  uint64_t errors = 0;
  uint64_t steps = 0;       // measured
  uint64_t messages = 0;    // measured
  uint64_t reconnects = 0;  // with LoadOptions.resume
  uint64_t resends = 0;
  uint64_t unsent = 0;
  absl::Status first_error;
  Histogram latency;
};

// One stream's worth of load. Life: Open, Start, Tick (with a rate), WaitIdle, Close, counts.
class Lane {
 public:
  // `sessions`: full names of sessions. Every step of a session has the same random input.
  Lane(Client* client, const LoadOptions& options, const LoadClock& clock, std::vector<std::string> sessions,
       uint32_t input_size, uint32_t output_size);
  virtual ~Lane() = default;

  // Makes the sessions.
  virtual absl::Status Open() = 0;
  // Sends the first messages; with a rate, only makes ready.
  void Start();
  // How many messages the lane has on their way at most.
  size_t flights() const { return flights_.size(); }
  // Message `k` is due at `due_nanos`. Only with a rate, by one thread.
  void Tick(size_t k, int64_t due_nanos, int64_t period_nanos);
  // False when not all is answered by then.
  bool WaitIdle(int64_t until_nanos);
  // Deletes the sessions.
  virtual void Close() = 0;
  // REQUIRES: idle, and closed.
  LaneCounts TakeCounts();

 protected:
  // One message that is on its way, again and again. Used by one thread at a time, but for the last two, which the
  // lane's lock guards.
  struct Flight {
    uint32_t group = 0;
    uint32_t remaining = 0;  // replies that are missing
    bool failed = false;     // a reply of it was an error
    int64_t sent_nanos = 0;  // or was due
    bool busy = false;       // is on its way
    uint32_t behind = 0;     // so many times it was due since
  };

  // Before the first Send; flights_ is made.
  virtual void Prepare() {}
  virtual void Send(Flight* flight) = 0;

  size_t group_begin(uint32_t group) const { return size_t{group} * options_.handles; }
  size_t group_size(uint32_t group) const {
    return std::min<size_t>(options_.handles, sessions_.size() - group_begin(group));
  }
  // Inputs of the group's sessions, [K, I].
  absl::Span<const float> GroupInput(uint32_t group) const {
    return absl::MakeConstSpan(inputs_).subspan(group_begin(group) * input_size_, group_size(group) * input_size_);
  }

  // Sending failed after Depart: the flight ends.
  void Abort(Flight* flight, const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);
  // One reply. True when it was the last of its message.
  bool Answer(Flight* flight, const absl::Status& status, size_t outputs) ABSL_LOCKS_EXCLUDED(mutex_);
  // After the last reply: true when the flight departs again, with its group set to the one that waits longest. On
  // false the lane may be idle, and gone soon after.
  bool Land(Flight* flight) ABSL_LOCKS_EXCLUDED(mutex_);
  void CountError(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);
  void AddRecoveries(uint64_t reconnects, uint64_t resends) ABSL_LOCKS_EXCLUDED(mutex_);

  Client* const client_;
  const LoadOptions options_;
  const LoadClock& clock_;
  const std::vector<std::string> sessions_;
  const uint32_t input_size_;
  const uint32_t output_size_;
  std::vector<Flight> flights_;

 private:
  void MakeFlights() ABSL_LOCKS_EXCLUDED(mutex_);
  // Each time before a flight is sent.
  void Depart(Flight* flight, int64_t nanos) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::vector<float> inputs_;  // [sessions, I]
  Mutex mutex_;
  CondVar idle_;
  LaneCounts counts_ ABSL_GUARDED_BY(mutex_);
  uint32_t open_flights_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t period_nanos_ ABSL_GUARDED_BY(mutex_) = 0;       // between two due times of a flight
  std::vector<uint32_t> waiting_ ABSL_GUARDED_BY(mutex_);  // ring of groups
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;
};

std::unique_ptr<Lane> MakeStreamLane(Client* client, const LoadOptions& options, const LoadClock& clock,
                                     std::vector<std::string> sessions, uint32_t input_size, uint32_t output_size);
std::unique_ptr<Lane> MakeUnaryLane(Client* client, const LoadOptions& options, const LoadClock& clock,
                                    std::vector<std::string> sessions, uint32_t input_size, uint32_t output_size);
// Whole sequences of options.sequence time steps; `sessions` only count them.
std::unique_ptr<Lane> MakeSequenceLane(Client* client, const LoadOptions& options, const LoadClock& clock,
                                       std::vector<std::string> sessions, uint32_t input_size, uint32_t output_size);

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_LSTMCTL_LANE_H_
