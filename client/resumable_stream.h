// SPDX-License-Identifier: Apache-2.0
//
// A stream that survives: what Stream does, over as many calls and servers as it takes. Connections that break, servers
// that restart, drain or hand a session over, replies that are lost or come twice, stores that are away for a while:
// the caller of ResumableStream sees each step's result exactly once, in the order of its session, or one error.
//
//   auto client = Client::Connect("10.0.0.1:8001,10.0.0.2:8001");
//   auto stream = (*client)->OpenResumableStream();
//   Binding alice = *stream->Bind(SessionName("sunspots", "alice"));
//   absl::StatusOr<std::vector<float>> output = stream->Step(alice.handle, input);
//
// It numbers the steps itself, from the session's last_seq on. After a fault it binds the session again, here or at the
// next address, learns from the answer what the server has applied, and sends the rest again; the server gives the same
// bytes for what it had applied. What a server may lose in a crash is the session's durability:
//   every step  nothing that was answered
//   periodic    the steps since durable_seq: their inputs are kept here, sent again, and not answered a second time
//   none        the session: SESSION_NOT_FOUND (a broken connection to a server that lives loses nothing)
#ifndef LSTMD_CLIENT_RESUMABLE_STREAM_H_
#define LSTMD_CLIENT_RESUMABLE_STREAM_H_

#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/backoff.h"
#include "client/stream.h"

namespace grpc {
class ClientContext;
}

namespace lstmd::client {

class Endpoints;

struct ResumeOptions {
  // Steps taken in and not answered; above that Send waits.
  uint32_t max_in_flight = 4096;
  // Of one session, sent and not answered; others wait here. At most the server's --replay-ring, or a reply that was
  // lost cannot be given again (STEP_REPLAY_EXPIRED).
  uint32_t max_in_flight_per_session = 16;
  // Longest time from Send or Bind to the answer, whatever happens in between; then DEADLINE_EXCEEDED.
  absl::Duration timeout = absl::Minutes(2);
  // Failures in a row of one session without an answer between them; then the last of them is the error. With the
  // default backoff `timeout` comes first.
  int max_attempts = 200;
  // A step or bind without an answer for so long is sent again; after twice as long once more, and a connection that
  // said nothing at all meanwhile is given up. Shorter: lost replies hurt less, slow servers answer more repeats.
  absl::Duration resend_after = absl::Seconds(2);
  BackoffOptions backoff;
  // Of a session with periodic durability: delivered steps whose inputs are kept for a restart. At least the
  // session's checkpoint interval in steps; a server that lost more is DATA_LOSS.
  size_t max_replay = 4096;
  // What happens to bound sessions otherwise than by this stream. Called as step callbacks are.
  std::function<void(const v1::SessionEvent&)> on_event;
  // An Unbind that could not delete its session.
  std::function<void(uint32_t handle, const absl::Status&)> on_failure;
};

// What a stream went through.
struct ResumeStats {
  uint64_t connects = 0;    // streams opened
  uint64_t breaks = 0;      // streams that ended with sessions on them
  uint64_t go_aways = 0;    // servers that said they go
  uint64_t binds = 0;       // sessions bound, the first time included
  uint64_t resends = 0;     // steps sent again that were not answered
  uint64_t replays = 0;     // steps sent again that had been answered: the server had lost them
  uint64_t duplicates = 0;  // answers dropped because they had been given
  uint64_t max_replay = 0;  // most steps of one session that one restart had lost
};

// Thread-safe. Callbacks run one at a time, on a thread of gRPC or of this stream; they must not block, and may call
// all of ResumableStream but Bind, BindAll, Step, Finish and the destructor. Send from a callback fails with
// RESOURCE_EXHAUSTED where it would have to wait.
//
// Errors end one session of the stream: the step that failed and all after it are answered with the error, later sends
// too, until the session is bound again. Whether the step that failed was applied is then not known here; a new Bind
// says it (Binding::session.last_seq).
//
// Only one stream may step a session: ABORTED when it finds that somebody else did, or that the session was reset.
class ResumableStream {
 public:
  using NewContext = std::function<std::unique_ptr<grpc::ClientContext>()>;

  ResumableStream(std::shared_ptr<Endpoints> endpoints, NewContext new_context, ResumeOptions options);
  // Breaks off what is in flight, CANCELLED, and waits for the callbacks.
  ~ResumableStream();
  ResumableStream(const ResumableStream&) = delete;
  ResumableStream& operator=(const ResumableStream&) = delete;

  // Binds `session` ("models/{model}/sessions/{session}") to a handle that stays when connections do not. With an epoch
  // in `options` a session that was restored or moved is SESSION_FENCED; without, it goes on. A session is created at
  // most by the first bind, never again after a fault.
  absl::StatusOr<Binding> Bind(const std::string& session, const BindOptions& options = {});
  void Bind(const std::string& session, const BindOptions& options, BindCallback done);
  // In the order of `sessions`; the first error of any is the answer, and the others stay bound.
  absl::StatusOr<std::vector<Binding>> BindAll(absl::Span<const std::string> sessions, const BindOptions& options = {});
  // Gives the handle back after the steps it has in flight. INVALID_ARGUMENT when it is not bound.
  absl::Status Unbind(uint32_t handle, bool delete_session = false);

  // As Stream::Send and TrySend; `seqs` must be empty, for the stream numbers the steps. Inputs are kept as long as
  // they may have to be sent again. INVALID_ARGUMENT, and nothing is sent, when a handle is not bound or its session
  // wants another input size.
  absl::Status Send(const Steps& steps, StepCallback done);
  absl::Status TrySend(const Steps& steps, StepCallback done);

  // One time step [I] of one handle, answered [O].
  absl::StatusOr<std::vector<float>> Step(uint32_t handle, absl::Span<const float> input);
  std::future<absl::StatusOr<std::vector<float>>> StepAsync(uint32_t handle, absl::Span<const float> input);

  // No more sends; waits until all that was sent is answered and all that was unbound is gone. The first error that
  // ended a session, or OK.
  absl::Status Finish();
  // Breaks off what is in flight: CANCELLED.
  void Cancel();

  ResumeStats stats() const;

 private:
  class Core;
  const std::unique_ptr<Core> core_;
};

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_RESUMABLE_STREAM_H_
