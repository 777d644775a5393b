// SPDX-License-Identifier: Apache-2.0
//
// What gRPC and protobuf have to say goes to our log. Clients can make them say it as often as they like, so it is
// limited there.
#ifndef LSTMD_SERVER_LIBRARY_LOGS_H_
#define LSTMD_SERVER_LIBRARY_LOGS_H_

#include <cstdint>
#include <optional>

#include "absl/time/time.h"
#include "engine/mutex.h"

namespace lstmd::server {

// Lets `most` lines pass in any `interval` that begins with one of them. Thread-safe.
class LineLimiter {
 public:
  LineLimiter(uint64_t most, absl::Duration interval) : most_(most), interval_(interval) {}

  // Whether a line may be written now: how many were left out since the last one that was. nullopt: leave it out.
  std::optional<uint64_t> Pass(absl::Time now) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const uint64_t most_;
  const absl::Duration interval_;
  Mutex mutex_;
  absl::Time begin_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  uint64_t passed_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t left_out_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Of the whole process. At warn and above each library has ten lines in ten seconds.
void CatchLibraryLogs();

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_LIBRARY_LOGS_H_
