// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_STREAM_REGISTRY_H_
#define LSTMD_SERVER_STREAM_REGISTRY_H_

#include <cstddef>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/time/time.h"
#include "engine/mutex.h"

namespace lstmd::server {

// A stream that can be asked to end. Its own lock is taken under the registry's, never the other way round.
class DrainableStream {
 public:
  // Tells the client that the stream will be closed at `deadline`, and where to go ("": it knows).
  virtual void SendGoAway(absl::Time deadline, const std::string& new_address) = 0;
  // Reads no more; ends OK when all that was accepted is answered.
  virtual void StopReading() = 0;

 protected:
  ~DrainableStream() = default;
};

// The streams that are open. Thread-safe.
class StreamRegistry {
 public:
  StreamRegistry() = default;
  // REQUIRES: all streams have been removed, or their Remove is on its way out.
  ~StreamRegistry() { MutexLock lock(&mutex_); }
  StreamRegistry(const StreamRegistry&) = delete;
  StreamRegistry& operator=(const StreamRegistry&) = delete;

  void Add(DrainableStream* stream);
  // The last thing a stream does.
  void Remove(DrainableStream* stream);

  size_t open() const;

  // What SendGoAway will tell.
  void SetNewAddress(std::string address);
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
  std::string new_address_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_STREAM_REGISTRY_H_
