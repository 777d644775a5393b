// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_OPEN_BATCHES_H_
#define LSTMD_SERVER_OPEN_BATCHES_H_

#include <algorithm>
#include <thread>

#include "absl/container/inlined_vector.h"

namespace lstmd::server {

// The threads that have reported work to a sink and will still call its OnBatchEnd. A sink must outlive those calls:
// "no work left" does not say that, as another device's thread may stand between its OnDone and its OnBatchEnd.
// Guarded by the sink's lock.
class OpenBatches {
 public:
  // In OnDone.
  void Enter() {
    const std::thread::id self = std::this_thread::get_id();
    if (std::find(threads_.begin(), threads_.end(), self) == threads_.end()) threads_.push_back(self);
  }
  // In OnBatchEnd, and when Submit has returned.
  void Leave() {
    const auto self = std::find(threads_.begin(), threads_.end(), std::this_thread::get_id());
    if (self != threads_.end()) threads_.erase(self);
  }
  bool empty() const { return threads_.empty(); }

 private:
  absl::InlinedVector<std::thread::id, 4> threads_;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_OPEN_BATCHES_H_
