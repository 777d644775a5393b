// SPDX-License-Identifier: Apache-2.0
#include "server/step_item.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/errors.h"
#include "server/rpc.h"

namespace lstmd::server {
namespace {

absl::Status NotSteppable(const SessionName& name, const ModelSpec& spec) {
  return FailedPrecondition(
             "NOT_STEPPABLE",
             absl::StrCat("model '", std::string(name.model), "' has ", std::string(Name(spec.direction)),
                          " and needs the whole sequence: it has no sessions, use RunSequences"))
      .Resource(FormatModelName(name.model))
      .With("model", name.model)
      .With("direction", Name(spec.direction));
}

// Whether a SESSION_NOT_FOUND is about one that there was.
bool WasLost(const absl::Status& status) {
  for (const auto& [key, value] : GetCause(status).metadata) {
    if (key == "last_event") return true;
  }
  return false;
}

}  // namespace

const ModelSpec& StepTarget::spec() const { return SpecOf(session ? ModelOf(*session) : std::as_const(*model)); }

bool IsInMemory(Engine* engine, const Caller& caller, std::string_view session) {
  if (!engine->may_block()) return true;
  const absl::StatusOr<SessionName> name = ParseSessionName(session, caller);
  return !name.ok() || engine->FindSession(name->model, name->key, false).ok();
}

absl::StatusOr<StepTarget> FindTarget(Engine* engine, const Caller& caller, std::string_view session,
                                      bool create_if_missing, Lookup lookup) {
  absl::StatusOr<SessionName> name = ParseSessionName(session, caller);
  if (!name.ok()) return PrefixField(name.status(), "session");
  StepTarget target;
  target.name = *name;
  absl::StatusOr<std::shared_ptr<Session>> found = engine->FindSession(name->model, name->key, false);
  if (!found.ok() && engine->may_block()) {
    // It went between IsInMemory and now, or there is no thread that may block.
    if (lookup == Lookup::kMemory) return PoolFull();
    found = engine->RestoreSession(name->model, name->key, false);
  }
  if (found.ok()) {
    target.session = *std::move(found);
    return target;
  }
  if (!absl::IsNotFound(found.status())) return found.status();
  absl::StatusOr<std::shared_ptr<Model>> model = engine->FindModel(name->model, 0);
  // A session that went with its model is still known to have been.
  if (!model.ok()) return WasLost(found.status()) ? found.status() : model.status();
  if (!SpecOf(**model).steppable()) return NotSteppable(*name, SpecOf(**model));
  if (!create_if_missing) return found.status();
  target.model = *std::move(model);
  return target;
}

absl::Status EnsureSession(Engine* engine, StepTarget* target, Lookup lookup) {
  if (target->session) return absl::OkStatus();
  absl::StatusOr<std::shared_ptr<Session>> made =
      lookup == Lookup::kStore ? engine->RestoreSession(target->name.model, target->name.key, true)
                               : engine->FindSession(target->name.model, target->name.key, true);
  if (!made.ok()) return made.status();
  target->session = *std::move(made);
  return absl::OkStatus();
}

absl::StatusOr<uint32_t> CheckStepInput(const TensorView& input, const ModelSpec& spec, const Limits& limits) {
  const size_t rank = input.shape.size();
  const std::string size = std::to_string(spec.input_size);
  if ((rank != 1 && rank != 2) || input.shape[rank - 1] != spec.input_size) {
    return ShapeError("the input", input.shape, absl::StrCat("[", size, "] or [T, ", size, "]"));
  }
  if (rank == 1) return 1;
  if (input.shape[0] < 1) return ShapeError("the input", input.shape, absl::StrCat("[T, ", size, "] with T >= 1"));
  if (input.shape[0] > limits.max_sequence_length) return TooLong(input.shape[0], limits);
  return static_cast<uint32_t>(input.shape[0]);
}

absl::Status TooLong(int64_t steps, const Limits& limits) {
  return InvalidArgument("SEQUENCE_LENGTH",
                         absl::StrCat("got ", steps, " time steps, want at most ", limits.max_sequence_length,
                                      " in one piece: a session goes on where the last piece ended"))
      .Field("shape")
      .With("limit", std::to_string(limits.max_sequence_length));
}

absl::Time LatestEnd(const Limits& limits) {
  return limits.max_queue_age > absl::ZeroDuration() ? absl::Now() + limits.max_queue_age : absl::InfiniteFuture();
}

absl::Status InItem(const absl::Status& status, std::string_view parent, size_t index) {
  if (GetCause(status).field.empty()) return status;
  return PrefixField(status, absl::StrCat(std::string(parent), "[", index, "]."));
}

absl::Status ReplyBudget::Take(uint64_t count, uint64_t size) {
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(count, size, &bytes) || bytes > left_) {
    return InvalidArgument("REPLY_TOO_LARGE",
                           absl::StrCat("the reply would take more than the ", limit_,
                                        " bytes that a message may have: ask for less at once, or for the last output"))
        .With("max_message_bytes", std::to_string(limit_));
  }
  left_ -= bytes;
  return absl::OkStatus();
}

}  // namespace lstmd::server
