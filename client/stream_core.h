// SPDX-License-Identifier: Apache-2.0
//
// The reactor behind Stream. Two halves meet under one lock: senders append to the last frame that waits
// (frame_queue.h), and the read side matches replies to blocks by id, then to a place in the block by handle.
//
// Ids are (generation << 32 | index + 1) of a Block in a table that only grows, so that a lookup is an index and a
// stale id is noticed. Nothing is allocated for a step once the table, the frames and their strings have grown.
#ifndef LSTMD_CLIENT_STREAM_CORE_H_
#define LSTMD_CLIENT_STREAM_CORE_H_

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "client/frame_queue.h"
#include "client/mutex.h"
#include "client/stream.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/client_callback.h"

namespace lstmd::client {

// In place of a handle that was answered: handles end at 1048575.
inline constexpr uint32_t kAnswered = UINT32_MAX;

absl::Status BrokenProtocol(absl::string_view what);

class Stream::Core final : public grpc::ClientBidiReactor<v1::StreamStepsRequest, v1::StreamStepsResponse> {
 public:
  Core(std::shared_ptr<v1::InferenceService::Stub> stub, std::unique_ptr<grpc::ClientContext> context,
       StreamOptions options);
  ~Core() override;

  void Bind(const std::string& session, const BindOptions& options, BindCallback done);
  absl::Status Unbind(uint32_t handle, bool delete_session);
  absl::Status Send(const Steps& steps, StepCallback done, bool wait);
  absl::Status Finish();
  void Cancel() { context_->TryCancel(); }

  // The calling thread is in a callback of this stream and must not wait for it.
  bool InCallback() const { return dispatching_ == this; }

 private:
  // The steps of one Send. Fields are guarded by mutex_, but `done`, which the read side alone uses once it was sent.
  struct Block {
    StepCallback done;
    std::vector<uint32_t> handles;  // kAnswered in place of those that were
    uint32_t first = 0;             // all before this one are answered
    uint32_t remaining = 0;
    uint32_t generation = 0;
  };
  // Where one reply goes.
  struct Target {
    Block* block;
    uint32_t slot;   // of the block in blocks_
    uint32_t index;  // in the block
    uint32_t handle;
  };
  struct Handle {
    enum { kFree, kBinding, kBound } state = kFree;
    BindCallback done;
  };

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

  // Hands out all of response_. False: the server broke the protocol and the stream was cancelled.
  bool Dispatch();
  // Finds where each reply of response_ goes, in the order results, failures of steps.
  absl::Status Match() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status MatchOne(uint64_t id, uint32_t handle) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status DispatchBlock(const v1::ResultBlock& block, size_t* next);
  void DispatchBound(const v1::Bound& bound);
  void DispatchFailure(const v1::StepFailure& failure, size_t* next);
  // Gives back the blocks of targets_ that are answered.
  void Release();

  // The frame to append about `bytes` to. `before_unbinds`: what is appended comes before the unbinds of its frame.
  v1::StreamStepsRequest* FrameFor(size_t bytes, bool block, bool before_unbinds) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Starts the next write if it may.
  void Flush() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Why nothing can be sent any more, or OK.
  absl::Status Sendable() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  static thread_local const Core* dispatching_;

  const std::shared_ptr<v1::InferenceService::Stub> stub_;
  const std::unique_ptr<grpc::ClientContext> context_;
  const StreamOptions options_;

  // Of the read side alone.
  v1::StreamStepsResponse response_;
  std::vector<Target> targets_;
  std::vector<StepCallback> finished_;
  std::vector<float> scratch_;

  Mutex mutex_;
  CondVar changed_;  // in_flight_, closed_ or done_
  FrameQueue frames_ ABSL_GUARDED_BY(mutex_){64};
  std::deque<Block> blocks_ ABSL_GUARDED_BY(mutex_);
  std::vector<uint32_t> free_blocks_ ABSL_GUARDED_BY(mutex_);
  std::vector<Handle> handles_ ABSL_GUARDED_BY(mutex_);
  std::deque<uint32_t> free_handles_ ABSL_GUARDED_BY(mutex_);
  uint32_t in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
  uint32_t limit_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;  // nothing will be read any more
  bool done_ ABSL_GUARDED_BY(mutex_) = false;    // all callbacks were called
  absl::Status broken_ ABSL_GUARDED_BY(mutex_);  // what this side found wrong
  absl::Status status_ ABSL_GUARDED_BY(mutex_);  // of the stream, once done_
};

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_STREAM_CORE_H_
