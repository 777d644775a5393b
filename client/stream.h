// SPDX-License-Identifier: Apache-2.0
//
// StreamSteps from the caller's side: many sessions, bound to handles, stepped in frames; replies come back in whatever
// order the sessions finish, each to the callback given with its steps.
//
//   auto stream = client->OpenStream();
//   Binding alice = *stream->Bind(SessionName("sunspots", "alice"));
//   absl::StatusOr<std::vector<float>> output = stream->Step(alice.handle, input);
#ifndef LSTMD_CLIENT_STREAM_H_
#define LSTMD_CLIENT_STREAM_H_

#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "lstmd/v1/inference_service.grpc.pb.h"

namespace grpc {
class ClientContext;
}

namespace lstmd::client {

struct StreamOptions {
  // Steps sent and not answered; above that Send waits. The server's own bound is kept to as well. More: more
  // throughput from a far server, more memory.
  uint32_t max_in_flight = 4096;
  // While one message is on its way, later sends gather in the next. false: each Send is a message of its own.
  bool coalesce = true;
  // What happens to bound sessions otherwise than by this stream, and the server's announcement that it is about to
  // stop. Called as step callbacks are.
  std::function<void(const v1::SessionEvent&)> on_event;
  std::function<void(const v1::GoAway&)> on_go_away;
  // A failure that belongs to no step and no bind: an Unbind that could not delete its session.
  std::function<void(uint32_t handle, const absl::Status&)> on_failure;
};

// A session that can be stepped by its handle.
struct Binding {
  uint32_t handle = 0;
  v1::Session session;       // as it was when it was bound
  uint32_t input_size = 0;   // I
  uint32_t output_size = 0;  // O
};

struct BindOptions {
  // If not 0: ABORTED / SESSION_FENCED when the session is in another epoch.
  uint64_t epoch = 0;
  // Create the session when there is none.
  bool create_if_missing = false;
};

// The answer to one step of one handle. What it points to lives as long as the callback runs.
struct StepResult {
  absl::Status status;  // the fields below `index` are empty when it is not OK
  uint32_t handle = 0;
  uint32_t index = 0;                    // which of Steps.handles this is
  uint64_t seq = 0;                      // of the session after the step, 0 when unsequenced
  uint64_t durable_seq = 0;              // steps up to this one are safe in the server's store
  bool replayed = false;                 // the answer to an earlier step with this number, given again
  absl::Span<const float> output;        // [O], or [T, O]
  const v1::LstmState* state = nullptr;  // where asked for
  const v1::Timing* timing = nullptr;    // of the device call
};

// Called once for each handle of a Send, in order for each session; see Stream for what it may do.
using StepCallback = std::function<void(const StepResult&)>;
using BindCallback = std::function<void(absl::StatusOr<Binding>)>;

// What one Send carries: a step of each of K handles with inputs of one shape.
struct Steps {
  absl::Span<const uint32_t> handles;  // [K]; a handle may stand more than once, its steps run in order
  absl::Span<const float> input;       // [K, I], or [K, T, I]
  uint32_t time_steps = 0;             // T; 0: one time step each, and outputs are [O]
  absl::Span<const uint64_t> seqs;     // [K], or empty: unsequenced
  bool return_state = false;
};

// Thread-safe. Callbacks run on a thread of gRPC, one at a time for a stream; they must not block, and may call all of
// Stream but Bind, BindAll, Step, Finish and the destructor. Send from a callback fails with RESOURCE_EXHAUSTED where
// it would have to wait. What callbacks send goes out together once all replies of a message have been handed out.
//
// Errors of one step or bind are that item's; the stream goes on. When the stream itself breaks, everything in flight
// fails with its status, and so does every later call. It is not opened again: that is the caller's to decide, from
// `session.last_seq` of a new Bind.
class Stream {
 public:
  // REQUIRES: `stub` and `context` are set, no call was made with `context`.
  Stream(std::shared_ptr<v1::InferenceService::Stub> stub, std::unique_ptr<grpc::ClientContext> context,
         StreamOptions options);
  // Cancels what is in flight and waits for the callbacks.
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Binds `session` ("models/{model}/sessions/{session}") to a handle of the stream's choice.
  absl::StatusOr<Binding> Bind(const std::string& session, const BindOptions& options = {});
  void Bind(const std::string& session, const BindOptions& options, BindCallback done);
  // In the order of `sessions`; the first error of any is the answer, and the others stay bound.
  absl::StatusOr<std::vector<Binding>> BindAll(absl::Span<const std::string> sessions, const BindOptions& options = {});
  // Gives the handle back after the steps it has in flight. INVALID_ARGUMENT when it is not bound.
  absl::Status Unbind(uint32_t handle, bool delete_session = false);

  // Sends a frame's worth of steps; waits while too many are in flight. OK: `done` is called once for each handle, with
  // its answer or with the stream's error. Not OK: `done` is never called. Copies what `steps` points to.
  absl::Status Send(const Steps& steps, StepCallback done);
  // The same without waiting: RESOURCE_EXHAUSTED when too many are in flight.
  absl::Status TrySend(const Steps& steps, StepCallback done);

  // One time step [I] of one handle, answered [O].
  absl::StatusOr<std::vector<float>> Step(uint32_t handle, absl::Span<const float> input);
  std::future<absl::StatusOr<std::vector<float>>> StepAsync(uint32_t handle, absl::Span<const float> input);

  // No more sends; waits until all that was sent is answered. The status of the stream.
  absl::Status Finish();
  // Breaks the stream: what is in flight fails with CANCELLED.
  void Cancel();

 private:
  class Core;
  const std::unique_ptr<Core> core_;
};

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_STREAM_H_
