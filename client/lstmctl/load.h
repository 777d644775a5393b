// SPDX-License-Identifier: Apache-2.0
//
// The load generator behind lstmctl bench. Every lane (one stream, or its like in unary calls) owns some sessions in
// groups; a message steps one group once. Closed loop: the last reply to a message sends the next group that waits, so
// that the load never asks for more than is answered. With a rate: messages are due by a timetable, whatever the server
// does; one that is due while the one before is on its way follows it at once, and latency counts from the time when it
// was due, so that a server that stalls does not hide the wait (no coordinated omission). Messages and inputs are made
// before the clock starts.
#ifndef LSTMD_CLIENT_LSTMCTL_LOAD_H_
#define LSTMD_CLIENT_LSTMCTL_LOAD_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/lstmctl/histogram.h"

namespace lstmd::client {

struct LoadOptions {
  std::vector<std::string> models;  // sessions are spread over them
  uint32_t sessions = 64;
  uint32_t streams = 4;      // each owns sessions / streams
  uint32_t handles = 1;      // steps in one message
  uint32_t in_flight = 0;    // messages in flight on each stream; 0: each session has one step in flight
  uint32_t connections = 1;  // that the streams share
  double seconds = 5;
  double warmup_seconds = 0.5;  // before that, not counted in rates and times
  double rate = 0;              // steps a second of all sessions together; 0: as fast as answered
  uint32_t sequence = 0;        // time steps of stateless sequences that are run instead of steps in sessions; 0: steps
  bool unary = false;
  bool coalesce = false;    // let the library merge messages that wait
  bool resume = false;      // numbered steps over ResumableStream; steps survive what it survives
  bool keep_going = false;  // after errors
};

struct LoadReport {
  // Of everything that was sent, warm-up included: steps, each of which must have been answered.
  uint64_t requests = 0;
  uint64_t replies = 0;
  uint64_t errors = 0;      // steps that failed or were answered wrongly, and sessions that could not be deleted
  std::string first_error;  // with the details
  uint64_t reconnects = 0;  // with resume
  uint64_t resends = 0;
  // Of the measured time.
  double seconds = 0;
  uint64_t steps = 0;
  uint64_t messages = 0;
  uint64_t unsent = 0;  // that were due and had to wait until the load was over
  Histogram latency;    // of a message: from its sending (with a rate: due time) to its last reply, nanoseconds
  // Of the server in that time, all clients together.
  uint64_t batches = 0;
  uint64_t batched_rows = 0;
};

// Runs the load until the time is over or `stop` is set, then deletes every session that it made. Not OK only when the
// load could not be set up; what goes wrong later is counted in the report.
absl::StatusOr<LoadReport> RunLoad(const std::string& address, const ClientOptions& client, const LoadOptions& options,
                                   const std::atomic<bool>& stop);

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_LSTMCTL_LOAD_H_
