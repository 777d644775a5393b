// SPDX-License-Identifier: Apache-2.0
//
// One ModelStreamInfer call.
//
// Order: each session has a line of its requests in the order they came. Replies leave from the front of the line
// only. A request that starts a session waits in the pool; what stands behind it in its line is held until then.
// Requests without a session are in no line.
#ifndef LSTMD_SERVER_OIP_STREAM_H_
#define LSTMD_SERVER_OIP_STREAM_H_

#include <deque>
#include <list>
#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "inference/grpc_service.pb.h"
#include "server/bidi_stream.h"
#include "server/context.h"
#include "server/oip_infer.h"

namespace lstmd::server {

class OipStream final : public BidiStream<inference::ModelInferRequest, inference::ModelStreamInferResponse> {
 public:
  // `end_at_error`: the first error ends the stream, as its status.
  OipStream(const Context& context, const grpc::CallbackServerContext& call, Caller caller, OipStats* stats,
            bool end_at_error)
      : BidiStream(context, call, "ModelStreamInfer", std::move(caller)), stats_(stats), end_at_error_(end_at_error) {}

 private:
  struct Request;
  using Requests = std::list<Request>;

  struct RowWork : ItemWork {
    Request* request = nullptr;
  };

  // From its message to its reply. The reader's, then the pool's if it waits there, then the engine's.
  struct Request {
    Request(const Context& context, OipStats* stats, const Caller& caller) : infer(context, stats, caller) {}
    inference::ModelInferRequest message;
    inference::ModelStreamInferResponse reply;
    OipInference infer;
    FloatScratch scratch;
    std::deque<RowWork> works;
    size_t pending = 0;      // works not ended
    bool submitted = false;  // works are complete
    bool held = false;       // behind one that starts
    bool done = false;       // the reply stands
    Credit credit;
    absl::Time received;
    ReplyTimes times;
    std::string line;           // key in lines_, "" for none
    Request* behind = nullptr;  // the next of its line
    Requests::iterator self;
  };
  struct Line {
    Request* first = nullptr;
    Request* last = nullptr;
    bool starting = false;  // the pool goes through it
  };

  inference::ModelInferRequest* NextRequest() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Puts the request into its line and sends it on its way.
  void Process() override;
  bool HasReply() const override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !replies_.empty(); }
  inference::ModelStreamInferResponse* TakeReply(Credit* answered, ReplyTimes* times) override
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Drop() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WorkDone(Work* work, const absl::Status& status) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  grpc::Status FinalStatus() const override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Takes it out of the reader's hands. False where there is nothing more to do now: it waits, or it is over.
  bool Enter(Request* request, const absl::Status& status);
  // In a thread of the pool: starts the session, then takes what is held behind it.
  void RunLine(Request* request);
  void StartInLine(Request* request);
  Request* NextInLine(const std::string& key);
  void SubmitRequest(Request* request);
  void Count(Request* request, Credit credit) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The request is over, with the result of its works if `status` is OK; sends what may leave its line.
  void Complete(Request* request, const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Leave(Request* request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Keeps the memory of a request that is over for the next one.
  void Recycle(Requests* from, Requests::iterator request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Ending() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return broken_ || error_.has_value(); }

  void CancelWorks() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  OipStats* const stats_;
  const bool end_at_error_;

  Requests reading_request_ ABSL_GUARDED_BY(mutex_);  // one or none: read into, or being processed
  Requests active_ ABSL_GUARDED_BY(mutex_);           // on their way; each counts as pending_
  Requests replies_ ABSL_GUARDED_BY(mutex_);          // to be written
  Requests written_ ABSL_GUARDED_BY(mutex_);          // one or none: gRPC's while it is written
  Requests free_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, Line> lines_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> error_ ABSL_GUARDED_BY(mutex_);  // that ended the stream
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_OIP_STREAM_H_
