// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_STREAM_REPLY_H_
#define LSTMD_SERVER_STREAM_REPLY_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "lstmd/v1/inference_service.pb.h"
#include "server/credit.h"
#include "server/reply_times.h"
#include "server/stream_frame.h"

namespace lstmd::server {

// The replies of a stream that wait to be written. Results of one device call go into one ResultBlock per shape and
// type; results of several calls that come while a write is under way share a frame. A frame is closed at about a
// megabyte, so that a client with gRPC's default limit of 4 MiB can read it (one larger step still makes a larger one).
// Not thread-safe: guarded by the stream's lock. Its size is bounded by what the stream has in flight.
class StreamReply {
 public:
  // `work` has ended well at `ended`. `slow`: see ReplyTimes::Add.
  void AddResult(const StepWork& work, absl::Time ended, bool slow);
  // `bytes`: what a step counted against the stream's memory.
  void AddFailure(uint32_t handle, uint64_t steps_id, uint64_t seq, const absl::Status& status, uint64_t bytes = 0);
  v1::Bound* AddBound();
  v1::SessionEvent* AddEvent();
  void SetGoAway(absl::Time deadline, const std::string& new_address);

  // The device call is over: later results start new blocks.
  void Seal();

  bool empty() const { return frames_.empty(); }
  // Moves the oldest frame out; returns what it answers: results, failures and Bounds; the results' works are added to
  // `times`. REQUIRES: not empty.
  Credit Take(v1::StreamStepsResponse* out, ReplyTimes* times);
  // Forgets everything; returns what it answered.
  Credit Drop();

 private:
  struct Frame {
    std::unique_ptr<v1::StreamStepsResponse> message;
    Credit credit;
    ReplyTimes times;
    size_t size = 0;  // about as many bytes on the wire
  };
  // A block that still takes results.
  struct OpenBlock {
    int index = 0;
    uint32_t steps = 0;
    uint32_t output_size = 0;
    v1::DataType dtype = v1::DATA_TYPE_F32;
    bool many_steps = false;
    bool with_state = false;
    bool any_id = false;
    bool any_seq = false;
    bool any_replayed = false;
    bool any_durable = false;
  };

  // The frame that takes `size` more bytes.
  Frame& Room(size_t size);
  OpenBlock& FindBlock(Frame* frame, const StepWork& work);

  std::deque<Frame> frames_;
  std::vector<OpenBlock> open_;  // in frames_.back()
  std::unique_ptr<v1::StreamStepsResponse> spare_;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_STREAM_REPLY_H_
