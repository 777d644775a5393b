// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_CLIENT_FRAME_QUEUE_H_
#define LSTMD_CLIENT_FRAME_QUEUE_H_

#include <cstddef>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "lstmd/v1/inference_service.pb.h"

namespace lstmd::client {

// What a StreamSteps call has still to send. One write may be on its way at a time; what waits meanwhile is appended to
// the last frame. Frames that were written are used again with their memory. Not thread-safe.
class FrameQueue {
 public:
  struct Frame {
    v1::StreamStepsRequest message;
    size_t bytes = 0;  // about what it takes on the wire
    size_t parts = 0;
  };

  // What is appended to a frame that waits should not make it larger: enough to make the cost of a message vanish, far
  // below any message limit.
  static constexpr size_t kFrameBytes = 512 << 10;

  // Keeps `most_spare` frames to use again.
  explicit FrameQueue(size_t most_spare) : most_spare_(most_spare) {}

  // Waiting, to append to; nullptr: there is none.
  Frame* last() { return waiting_.empty() ? nullptr : waiting_.back().get(); }
  Frame* Add() {
    if (spare_.empty()) {
      waiting_.push_back(std::make_unique<Frame>());
    } else {
      waiting_.push_back(std::move(spare_.back()));
      spare_.pop_back();
    }
    return last();
  }

  // Takes the first, to be written until Written(); nullptr where one still is, or none waits.
  Frame* Next() {
    if (writing_ != nullptr || waiting_.empty()) return nullptr;
    writing_ = std::move(waiting_.front());
    waiting_.pop_front();
    return writing_.get();
  }
  void Written() {
    writing_->message.Clear();
    writing_->bytes = writing_->parts = 0;
    if (spare_.size() < most_spare_) spare_.push_back(std::move(writing_));
    writing_.reset();
  }

  // Nothing will be added any more.
  void HalfClose() { half_closed_ = true; }
  bool half_closed() const { return half_closed_; }
  // Whether the other side is to be told now that this was all. True once.
  bool TakeEnd() { return half_closed_ && writing_ == nullptr && waiting_.empty() && !std::exchange(ended_, true); }

  // What waits will not be sent.
  void Drop() { waiting_.clear(); }

 private:
  const size_t most_spare_;
  std::deque<std::unique_ptr<Frame>> waiting_;
  std::vector<std::unique_ptr<Frame>> spare_;
  std::unique_ptr<Frame> writing_;
  bool half_closed_ = false;
  bool ended_ = false;
};

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_FRAME_QUEUE_H_
