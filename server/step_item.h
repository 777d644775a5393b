// SPDX-License-Identifier: Apache-2.0
//
// Checks that a step, a stream's bind and a sequence in a session share.
#ifndef LSTMD_SERVER_STEP_ITEM_H_
#define LSTMD_SERVER_STEP_ITEM_H_

#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "server/context.h"
#include "server/convert_tensor.h"
#include "server/names.h"

namespace lstmd::server {

// A living session, or, where there is none yet and it is to be created, its model: so that the input can be checked
// before anything is created. Keeps what it points to alive.
struct StepTarget {
  SessionName name;
  std::shared_ptr<Session> session;  // nullptr: not created yet
  std::shared_ptr<Model> model;      // set where session is not

  const ModelSpec& spec() const;
};

// Where a session is looked for. kStore blocks.
enum class Lookup { kMemory, kStore };

// Whether `session` need not be looked for in the store, and with it whether Lookup::kMemory will do.
bool IsInMemory(Engine* engine, const Caller& caller, std::string_view session);

// `session` is a name of the caller's own. Errors of Engine::FindSession, RestoreSession and FindModel,
// FAILED_PRECONDITION / NOT_STEPPABLE for a model that needs the whole sequence, RESOURCE_NAME. Fields relative to the
// message that has `session`.
absl::StatusOr<StepTarget> FindTarget(Engine* engine, const Caller& caller, std::string_view session,
                                      bool create_if_missing, Lookup lookup);

// Creates the session where FindTarget found none.
absl::Status EnsureSession(Engine* engine, StepTarget* target, Lookup lookup);

// Number of time steps T of an input [I] or [T, I], T >= 1. TENSOR_SHAPE or SEQUENCE_LENGTH with field "shape".
absl::StatusOr<uint32_t> CheckStepInput(const TensorView& input, const ModelSpec& spec, const Limits& limits);

// INVALID_ARGUMENT / SEQUENCE_LENGTH with field "shape": more time steps than may be in one piece.
absl::Status TooLong(int64_t steps, const Limits& limits);

// When a step of a session that comes now is too late to be of use.
absl::Time LatestEnd(const Limits& limits);

// `status` with its field, if it has one, below the message `parent`[index].
absl::Status InItem(const absl::Status& status, std::string_view parent, size_t index);

// Bounds what a request can make the server allocate for its reply.
class ReplyBudget {
 public:
  explicit ReplyBudget(uint64_t bytes) : limit_(bytes), left_(bytes) {}
  // Takes count * size bytes. INVALID_ARGUMENT / REPLY_TOO_LARGE.
  absl::Status Take(uint64_t count, uint64_t size);

 private:
  const uint64_t limit_;
  uint64_t left_;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_STEP_ITEM_H_
