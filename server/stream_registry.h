// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_STREAM_REGISTRY_H_
#define LSTMD_SERVER_STREAM_REGISTRY_H_

#include <cstddef>

#include "absl/container/flat_hash_set.h"
#include "absl/time/time.h"
#include "engine/mutex.h"

namespace lstmd::server {

// A stream that can be asked to end. Its own lock is taken under the registry's, never the other way round.
class DrainableStream {
 public:
  // Tells the client that the stream will be closed at `deadline`.
  virtual void SendGoAway(absl::Time deadline) = 0;
  // Reads no more; ends OK when all that was accepted is answered.
  virtual void StopReading() = 0;

 protected:
  ~DrainableStream() = default;
};

// The streams that are open. Thread-safe.
class StreamRegistry {
 public:
  void Add(DrainableStream* stream);
  // The last thing a stream does.
  void Remove(DrainableStream* stream);

  size_t open() const;

  // To all, and to those that come later.
  void SendGoAway(absl::Time deadline);
  void StopReading();
  // Whether all streams have ended by then.
  bool WaitUntilEmpty(absl::Time deadline);

 private:
  mutable Mutex mutex_;
  CondVar removed_;
  absl::flat_hash_set<DrainableStream*> streams_ ABSL_GUARDED_BY(mutex_);
  bool going_away_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time deadline_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_STREAM_REGISTRY_H_
