// SPDX-License-Identifier: Apache-2.0
#include "server/stream_registry.h"

#include <utility>

#include "absl/time/clock.h"

namespace lstmd::server {

void StreamRegistry::Add(DrainableStream* stream) {
  MutexLock lock(&mutex_);
  streams_.insert(stream);
  if (going_away_) stream->SendGoAway(deadline_, new_address_);
  if (stopped_) stream->StopReading();
}

void StreamRegistry::Remove(DrainableStream* stream) {
  MutexLock lock(&mutex_);
  streams_.erase(stream);
  // Under the lock: the registry may go as soon as it is empty.
  removed_.SignalAll();
}

size_t StreamRegistry::open() const {
  MutexLock lock(&mutex_);
  return streams_.size();
}

void StreamRegistry::SetNewAddress(std::string address) {
  MutexLock lock(&mutex_);
  new_address_ = std::move(address);
}

void StreamRegistry::SendGoAway(absl::Time deadline) {
  MutexLock lock(&mutex_);
  going_away_ = true;
  deadline_ = deadline;
  for (DrainableStream* stream : streams_) stream->SendGoAway(deadline, new_address_);
}

void StreamRegistry::StopReading() {
  MutexLock lock(&mutex_);
  stopped_ = true;
  for (DrainableStream* stream : streams_) stream->StopReading();
}

bool StreamRegistry::WaitUntilEmpty(absl::Time deadline) {
  MutexLock lock(&mutex_);
  while (!streams_.empty()) {
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) return false;
    removed_.WaitFor(&mutex_, left);
  }
  return true;
}

}  // namespace lstmd::server
