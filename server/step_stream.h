// SPDX-License-Identifier: Apache-2.0
//
// One StreamSteps call: frames in, work out to the engine, results of each device call back in frames.
//
// Three kinds of threads meet here: gRPC's (reactions OnReadDone, OnWriteDone, OnCancel, OnDone), the engine's (OnDone
// of a work, OnBatchEnd), and the server's (drain, deletes). All state but the reader's own is under one lock, and one
// function, Advance, decides what may be started next: a read while the bounds allow it, a write when there are
// replies, the end when nothing is left. At most one read and one write are under way. The stream deletes itself after
// its end, and it ends only when no engine thread will touch it any more.
#ifndef LSTMD_SERVER_STEP_STREAM_H_
#define LSTMD_SERVER_STEP_STREAM_H_

#include <list>
#include <memory>
#include <vector>

#include "engine/mutex.h"
#include "engine/work.h"
#include "grpcpp/support/server_callback.h"
#include "lstmd/v1/inference_service.pb.h"
#include "server/context.h"
#include "server/open_batches.h"
#include "server/stream_frame.h"
#include "server/stream_handles.h"
#include "server/stream_registry.h"
#include "server/stream_reply.h"

namespace lstmd::server {

class StepStream final : public grpc::ServerBidiReactor<v1::StreamStepsRequest, v1::StreamStepsResponse>,
                         private WorkSink,
                         private DrainableStream {
 public:
  explicit StepStream(const Context& context) : context_(context), handles_(context) {}
  // Registers the stream and begins to read. Once, before the reactor is given to gRPC.
  void Start();

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  void OnDone(Work* work, const absl::Status& status) override;
  void OnBatchEnd() override;
  void SendGoAway(absl::Time deadline) override;
  void StopReading() override;

  // The parts of a frame, in order. Only the reader.
  void Process(StreamFrame* frame);
  void Binds(const v1::StreamStepsRequest& request);
  void Submit(StreamFrame* frame);
  void Unbinds(const v1::StreamStepsRequest& request);
  void DeleteSession(uint32_t handle, const Session& session);
  void Refuse(uint32_t handle, uint64_t id, uint64_t seq, const absl::Status& status);

  // Starts whatever may be started now. Threads that are not gRPC's and change the state count themselves into busy_
  // while they still have the lock, and call AdvanceBusy: the stream cannot end under them then.
  void Advance();
  void AdvanceBusy();
  bool MayRead() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MayFinish() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The client is gone: nothing that waits is worth computing or writing.
  void Break() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // In reading_frame_, ready to be read into.
  StreamFrame* NextFrame() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Context& context_;
  StreamHandles handles_;     // the reader's
  std::vector<Work*> batch_;  // the reader's

  Mutex mutex_;
  std::list<StreamFrame> reading_frame_ ABSL_GUARDED_BY(mutex_);  // one or none: read into, or being processed
  std::list<StreamFrame> active_frames_ ABSL_GUARDED_BY(mutex_);  // with work in the engine
  std::list<StreamFrame> free_frames_ ABSL_GUARDED_BY(mutex_);
  StreamReply reply_ ABSL_GUARDED_BY(mutex_);
  v1::StreamStepsResponse writing_message_;  // gRPC's while writing_
  Credit writing_credit_ ABSL_GUARDED_BY(mutex_);
  Credit in_flight_ ABSL_GUARDED_BY(mutex_);  // accepted and not yet written
  OpenBatches open_batches_ ABSL_GUARDED_BY(mutex_);
  size_t pending_ ABSL_GUARDED_BY(mutex_) = 0;  // works in the engine, jobs in the pool
  int busy_ ABSL_GUARDED_BY(mutex_) = 0;        // threads in AdvanceBusy
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool processing_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool reads_done_ ABSL_GUARDED_BY(mutex_) = false;  // the client has half-closed
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;    // the server drains
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;      // the client is gone
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_STEP_STREAM_H_
