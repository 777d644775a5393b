// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_CLIENT_SESSION_H_
#define LSTMD_CLIENT_SESSION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/array.h"
#include "lstmd/v1/session_service.pb.h"

namespace lstmd::client {

class Client;

struct StepOptions {
  // See lstmd.v1.StepItem.seq; 0: unsequenced. A step with a number is tried again after a failure (RetryOptions), for
  // the server takes it once.
  uint64_t seq = 0;
  uint64_t epoch = 0;  // if not 0: ABORTED / SESSION_FENCED when the session is in another
  bool return_state = false;
  bool create_if_missing = false;
  bool end_session = false;  // delete the session after the step
};

struct StepOutput {
  Array output;  // [O], or [T, O]
  uint64_t seq = 0;
  uint64_t epoch = 0;
  uint64_t durable_seq = 0;  // steps up to this one are safe in the server's store
  bool replayed = false;
  std::optional<State> state;  // where asked for
};

// One session, stepped by unary calls: the simplest way, at the price of one round trip for each step. For throughput
// see Stream. Cheap to copy; its Client must outlive it. Thread-safe, but steps from several threads run in the order
// in which they happen to arrive. Dropping a Session leaves the session on the server as it is.
class Session {
 public:
  Session(Client* client, std::string name) : client_(client), name_(std::move(name)) {}

  // "models/{model}/sessions/{session}".
  const std::string& name() const { return name_; }

  // One time step: [I] in, [O] out.
  absl::StatusOr<std::vector<float>> Step(absl::Span<const float> input);
  // One [I] or several [T, I] time steps.
  absl::StatusOr<StepOutput> Step(const Array& input, const StepOptions& options);

  absl::StatusOr<v1::Session> Get();
  // h and c between two steps.
  absl::StatusOr<State> GetState();
  // Replaces h and c; the epoch rises.
  absl::Status SetState(const State& state);
  // Back to the model's initial state, or the given one; the epoch rises.
  // Saves it in the server's store now.
  absl::StatusOr<v1::Session> Checkpoint();
  absl::StatusOr<v1::Session> Reset(const std::optional<State>& initial_state = std::nullopt);
  // A new session with a copy of this one's state, of the given id or one that the server makes. Step numbers go on.
  absl::StatusOr<Session> Fork(const std::string& id = "");
  // All of it, to be kept, or given to Client::ImportSession of this or another server.
  absl::StatusOr<v1::SessionSnapshot> Export();
  absl::Status Delete(bool allow_missing = false);

 private:
  Client* client_;
  std::string name_;
};

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_SESSION_H_
