// SPDX-License-Identifier: Apache-2.0
//
// One StreamSteps call: frames in, work out to the engine, results of each device call back in frames.
#ifndef LSTMD_SERVER_STEP_STREAM_H_
#define LSTMD_SERVER_STEP_STREAM_H_

#include <cstdint>
#include <list>
#include <memory>
#include <utility>
#include <vector>

#include "lstmd/v1/inference_service.pb.h"
#include "server/bidi_stream.h"
#include "server/context.h"
#include "server/stream_frame.h"
#include "server/stream_handles.h"
#include "server/stream_reply.h"

namespace lstmd::server {

class StepStream final : public BidiStream<v1::StreamStepsRequest, v1::StreamStepsResponse> {
 public:
  StepStream(const Context& context, const grpc::CallbackServerContext& call, Caller caller)
      : BidiStream(context, call, "StreamSteps", std::move(caller)),
        handles_(context, caller_),
        watch_(context.engine->session_events().Watch(nullptr, SIZE_MAX, [this] { SendEvents(); })) {}

 private:
  v1::StreamStepsRequest* NextRequest() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Process() override;
  bool MayBlock() override;
  bool HasReply() const override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !reply_.empty(); }
  v1::StreamStepsResponse* TakeReply(Credit* answered, ReplyTimes* times) override
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Drop() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WorkDone(Work* work, const absl::Status& status) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void BatchEnd() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { reply_.Seal(); }
  void SendGoAway(absl::Time deadline, const std::string& new_address) override;

  // The parts of a frame, in order. Only the reader.
  void Binds(const v1::StreamStepsRequest& request);
  void SubmitFrame(StreamFrame* frame);
  void Unbinds(const v1::StreamStepsRequest& request);
  void DeleteSession(uint32_t handle, const Session& session);
  void Refuse(uint32_t handle, uint64_t id, uint64_t seq, const absl::Status& status);
  // Of bound sessions: how they ended.
  void SendEvents();

  StreamHandles handles_;     // the reader's
  std::vector<Work*> batch_;  // the reader's

  std::list<StreamFrame> reading_frame_ ABSL_GUARDED_BY(mutex_);  // one or none: read into, or being processed
  std::list<StreamFrame> active_frames_ ABSL_GUARDED_BY(mutex_);  // with work in the engine
  std::list<StreamFrame> free_frames_ ABSL_GUARDED_BY(mutex_);
  StreamReply reply_ ABSL_GUARDED_BY(mutex_);
  int gathering_ ABSL_GUARDED_BY(mutex_) = 0;  // so many frames go to the engine with no hurry
  v1::StreamStepsResponse writing_message_;    // gRPC's while it is written

  // Of the bound sessions; each ends once, so what waits in it is bounded. Last: it goes first, and with it its calls.
  const std::unique_ptr<SessionWatch> watch_;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_STEP_STREAM_H_
