// SPDX-License-Identifier: Apache-2.0
//
// One ModelStreamInfer call. Threads, locks and the end are as in StepStream (server/step_stream.h): one lock over all
// state, and one function, Advance, that decides what may be started next.
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

#include "absl/container/flat_hash_map.h"
#include "engine/mutex.h"
#include "engine/work.h"
#include "grpcpp/support/server_callback.h"
#include "inference/grpc_service.pb.h"
#include "server/context.h"
#include "server/oip_infer.h"
#include "server/open_batches.h"
#include "server/stream_registry.h"

namespace lstmd::server {

class OipStream final
    : public grpc::ServerBidiReactor<inference::ModelInferRequest, inference::ModelStreamInferResponse>,
      private WorkSink,
      private DrainableStream {
 public:
  // `end_at_error`: the first error ends the stream, as its status.
  OipStream(const Context& context, OipStats* stats, bool end_at_error)
      : context_(context), stats_(stats), end_at_error_(end_at_error) {}
  // Registers the stream and begins to read. Once, before the reactor is given to gRPC.
  void Start();

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  struct Request;
  using Requests = std::list<Request>;

  struct RowWork : ItemWork {
    Request* request = nullptr;
  };

  // From its message to its reply. The reader's, then the pool's if it waits there, then the engine's.
  struct Request {
    Request(const Context& context, OipStats* stats) : infer(context, stats) {}
    inference::ModelInferRequest message;
    inference::ModelStreamInferResponse reply;
    OipInference infer;
    FloatScratch scratch;
    std::deque<RowWork> works;
    size_t pending = 0;      // works not ended
    bool submitted = false;  // works are complete
    bool held = false;       // behind one that starts
    bool done = false;       // the reply stands
    uint64_t rows = 0;       // what it counts against the stream's bounds
    uint64_t bytes = 0;
    std::string line;  // key in lines_, "" for none
    Requests::iterator self;
  };
  struct Line {
    std::deque<Request*> requests;
    bool starting = false;  // the pool goes through it
  };

  void OnDone(Work* work, const absl::Status& status) override;
  void OnBatchEnd() override;
  void SendGoAway(absl::Time /*deadline*/) override {}  // the protocol has no word for it
  void StopReading() override;

  // The reader: puts the request into its line and sends it on its way.
  void Process(Request* request);
  // Takes it out of the reader's hands. False where there is nothing more to do now: it waits, or it is over.
  bool Enter(Request* request, const absl::Status& status);
  // In a thread of the pool: starts the session, then takes what is held behind it.
  void RunLine(Request* request);
  void StartInLine(Request* request);
  Request* NextInLine(const std::string& key);
  void Submit(Request* request);
  void Count(Request* request, uint64_t rows, uint64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The request is over, with the result of its works if `status` is OK; sends what may leave its line.
  void Complete(Request* request, const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Leave(Request* request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Erase(Requests* from, Requests::iterator request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Ending() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return broken_ || error_.has_value(); }

  void Advance();
  void AdvanceBusy();
  bool MayRead() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MayFinish() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Break() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CancelWorks() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Context& context_;
  OipStats* const stats_;
  const bool end_at_error_;

  Mutex mutex_;
  Requests reading_request_ ABSL_GUARDED_BY(mutex_);  // one or none: read into, or being processed
  Requests active_ ABSL_GUARDED_BY(mutex_);           // on their way
  Requests replies_ ABSL_GUARDED_BY(mutex_);          // to be written; the front one is, while writing_
  absl::flat_hash_map<std::string, Line> lines_ ABSL_GUARDED_BY(mutex_);
  uint64_t in_flight_rows_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t in_flight_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  OpenBatches open_batches_ ABSL_GUARDED_BY(mutex_);
  size_t jobs_ ABSL_GUARDED_BY(mutex_) = 0;  // in the pool
  int busy_ ABSL_GUARDED_BY(mutex_) = 0;     // threads in AdvanceBusy
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool processing_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool reads_done_ ABSL_GUARDED_BY(mutex_) = false;  // the client has half-closed
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;    // the server drains, or an error ended the stream
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;      // the client is gone
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> error_ ABSL_GUARDED_BY(mutex_);  // that ended the stream
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_OIP_STREAM_H_
