// SPDX-License-Identifier: Apache-2.0
#include "engine/ready_queue.h"

#include <utility>

namespace lstmd {
namespace {

// Sinks that are gone leave places behind; more than this many per piece of work in the queue are cleared away.
constexpr size_t kPlacesPerWork = 2;
constexpr size_t kPlaces = 64;

}  // namespace

void ReadyQueue::Push(Work* work, uint32_t free, uint32_t share) {
  ++size_;
  units_ += work->units - work->row.position;
  if (later_.empty() && first_.size() < free) {
    first_.Push(work);
    return;
  }
  Place& place = places_[work->sink];
  if (place.round <= round_) {
    place = {round_ + 1, 0};
  } else if (place.count >= share) {
    place = {place.round + 1, 0};
  }
  ++place.count;
  const size_t index = place.round - round_ - 1;
  if (index >= later_.size()) later_.resize(index + 1);
  later_[index].Push(work);
}

Work* ReadyQueue::Pop() {
  if (first_.empty()) {
    if (later_.empty()) return nullptr;
    first_ = std::exchange(later_.front(), WorkList());
    later_.pop_front();
    ++round_;
    if (later_.empty() || places_.size() > kPlaces + kPlacesPerWork * size_) ForgetOutdated();
  }
  Work* const work = first_.Pop();
  --size_;
  units_ -= work->units - work->row.position;
  return work;
}

void ReadyQueue::ForgetOutdated() {
  if (later_.empty()) {
    places_.clear();
  } else {
    absl::erase_if(places_, [this](const auto& entry) { return entry.second.round <= round_; });
  }
}

}  // namespace lstmd
