// SPDX-License-Identifier: Apache-2.0
//
// One StreamSteps call under a ResumableStream: frames out, replies in. It lives from Open until its end was told, and
// knows nothing of sessions: what replies mean is its owner's business.
#ifndef LSTMD_CLIENT_RESUME_LINK_H_
#define LSTMD_CLIENT_RESUME_LINK_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "client/endpoints.h"
#include "client/frame_queue.h"
#include "client/mutex.h"
#include "client/resume_session.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/client_callback.h"
#include "lstmd/v1/inference_service.grpc.pb.h"

namespace lstmd::client {

// A message of the server, with its tensors decoded.
struct Reply {
  v1::StreamStepsResponse message;
  std::vector<std::vector<float>> outputs;  // of each block of message.results
};

// Thread-safe. All but Open may be called under the owner's lock: nothing calls back on the calling thread.
class ResumeLink final : public grpc::ClientBidiReactor<v1::StreamStepsRequest, v1::StreamStepsResponse> {
 public:
  // Called on a thread of gRPC, one at a time, without locks.
  class Owner {
   public:
    virtual void OnReply(ResumeLink* link, std::shared_ptr<Reply> reply) = 0;
    // The last call. `status`: of the stream, or what was wrong with a reply. The link must be destroyed on another
    // thread: it may be the last that holds gRPC's channel, whose end waits for the threads of gRPC.
    virtual void OnEnd(std::shared_ptr<ResumeLink> link, const absl::Status& status) = 0;

   protected:
    ~Owner() = default;
  };

  static std::shared_ptr<ResumeLink> Open(const Endpoint& endpoint, std::unique_ptr<grpc::ClientContext> context,
                                          Owner* owner);

  const std::string& address() const { return address_; }

  // Each adds to what the next Flush sends.
  void AddBind(uint32_t handle, const std::string& session, uint64_t epoch, bool create);
  void AddStep(uint32_t handle, uint64_t round, const ResumeSession::Outgoing& step);
  void AddUnbind(uint32_t handle, bool delete_session);
  void Flush();
  // Nothing more will be added; ends when the server has answered all.
  void HalfClose();
  void Cancel() { context_->TryCancel(); }

  // --- The owner's, under its lock ---
  std::vector<uint32_t> sessions;  // by the handle of this link: the owner's handle, or kNobody
  size_t bound = 0;                // sessions that are bound here, or are about to be
  bool served = false;             // has bound one
  bool leaving = false;            // the server said that it goes
  std::string next_address;        // where to, if it said so
  absl::Time heard;                // when the last reply came
  static constexpr uint32_t kNobody = UINT32_MAX;

 private:
  ResumeLink(const Endpoint& endpoint, std::unique_ptr<grpc::ClientContext> context, Owner* owner);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

  // The frame to add a part of about `bytes` to.
  FrameQueue::Frame* FrameFor(size_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FlushLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string address_;
  const std::shared_ptr<v1::InferenceService::Stub> stub_;
  const std::unique_ptr<grpc::ClientContext> context_;
  Owner* const owner_;
  std::shared_ptr<ResumeLink> self_;  // until OnEnd takes it
  std::shared_ptr<Reply> reply_;      // the reader's
  absl::Status broken_;               // the reader's: what was wrong with a reply

  Mutex mutex_;
  FrameQueue frames_ ABSL_GUARDED_BY(mutex_){16};
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;  // nothing can be sent any more
};

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_RESUME_LINK_H_
