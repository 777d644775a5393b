// SPDX-License-Identifier: Apache-2.0
//
// A frame that a stream has received, and the work made of it.
#ifndef LSTMD_SERVER_STREAM_FRAME_H_
#define LSTMD_SERVER_STREAM_FRAME_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "engine/work.h"
#include "lstmd/v1/inference_service.pb.h"
#include "server/convert_tensor.h"

namespace lstmd::server {

struct StreamFrame;

// One step of one handle.
struct StepWork : Work {
  StreamFrame* frame = nullptr;
  uint32_t handle = 0;
  uint64_t id = 0;  // StepBlock.id
  v1::DataType dtype = v1::DATA_TYPE_F32;
  bool many_steps = false;  // [T, I] rather than [I]
  uint32_t output_size = 0;
  uint64_t bytes = 0;  // of input and output: what it counts against the stream's memory
};

// A step that failed before it became work.
struct StepRefusal {
  uint32_t handle = 0;
  uint64_t id = 0;
  uint64_t seq = 0;
  absl::Status status;
};

// Inputs are read from the request where it lies, so a frame lives until the last of its works has ended. Frames are
// reused: message, works and buffers keep their memory.
struct StreamFrame {
  v1::StreamStepsRequest request;
  absl::Time received;
  FloatScratch scratch;
  std::vector<Work*> batch;           // what to submit, in order
  std::vector<StepRefusal> refusals;  // what is not worth submitting
  size_t pending = 0;                 // works not ended; under the stream's lock
  std::list<StreamFrame>::iterator self;

  // A work in its initial state. Pointers are stable.
  StepWork* AddWork();
  // Works handed out since the last Recycle.
  size_t used() const { return used_; }
  StepWork& work(size_t i) { return *works_[i]; }
  // Ready for the next message. False when the frame holds so much memory that it should go instead.
  bool Recycle();

 private:
  std::vector<std::unique_ptr<StepWork>> works_;
  size_t used_ = 0;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_STREAM_FRAME_H_
