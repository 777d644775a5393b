// SPDX-License-Identifier: Apache-2.0
//
// Sessions of the engine from others: snapshots out and in, forks.
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/engine_impl.h"
#include "engine/errors.h"
#include "engine/names.h"
#include "engine/random_bits.h"

namespace lstmd {
namespace {

absl::Status WrongSize(const Snapshot& snapshot, const Model& model, std::string_view what, size_t got, size_t want) {
  return InvalidArgument("SNAPSHOT_FORMAT",
                         absl::StrCat("snapshot of '", snapshot.id, "': ", std::string(what), " has ", got,
                                      " values, '", ModelResource(model.name()), "' needs ", want));
}

// Whether what stands in `snapshot` may be put into a session of `model`; its weights are those of the snapshot.
absl::Status CheckFits(const Snapshot& snapshot, const Model& model) {
  const ModelSpec& spec = model.spec();
  if (!spec.steppable()) {
    return FailedPrecondition("NOT_STEPPABLE", absl::StrCat("'", ModelResource(model.name()),
                                                            "' needs the whole sequence: it has no sessions"))
        .Resource(ModelResource(model.name()));
  }
  if (snapshot.h.size() != spec.h_size()) return WrongSize(snapshot, model, "h", snapshot.h.size(), spec.h_size());
  if (snapshot.c.size() != spec.c_size()) return WrongSize(snapshot, model, "c", snapshot.c.size(), spec.c_size());
  uint64_t next = 0;
  for (const Reply& reply : snapshot.replies) {
    const size_t c_size = reply.values.size() - reply.output_size - reply.h_size;
    if (reply.has_state() && (reply.h_size != spec.h_size() || c_size != spec.c_size())) {
      return WrongSize(snapshot, model, "the state of a reply", reply.h_size + c_size, spec.h_size() + spec.c_size());
    }
    if (next != 0 && reply.seq != next) {
      return InvalidArgument("SNAPSHOT_FORMAT", absl::StrCat("snapshot of '", snapshot.id,
                                                             "': its replies have a gap before ", reply.seq));
    }
    next = reply.seq + 1;
  }
  if (next != 0 && next != snapshot.last_seq + 1) {
    return InvalidArgument("SNAPSHOT_FORMAT", absl::StrCat("snapshot of '", snapshot.id, "': its last reply is ",
                                                           next - 1, ", its last step ", snapshot.last_seq));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<Model>> EngineImpl::ModelFor(std::string_view name, const Snapshot& snapshot,
                                                            bool any_weights) const {
  absl::StatusOr<std::shared_ptr<Model>> model = FindModel(name, snapshot.model_version);
  // The same weights may stand under another number elsewhere.
  if (!model.ok() || (*model)->current()->parts().weights_sha256 != snapshot.weights_sha256) model = FindModel(name, 0);
  if (!model.ok()) return model.status();
  const bool any = any_weights || options_.update_policy == UpdatePolicy::kFollow;
  if (!any && (*model)->current()->parts().weights_sha256 != snapshot.weights_sha256) {
    return FailedPrecondition("WEIGHTS_MISMATCH",
                              absl::StrCat("the snapshot is of version ", snapshot.model_version, " of '",
                                           snapshot.model, "'; neither that version nor the default one of '",
                                           ModelResource(name), "' has its weights here"))
        .Resource(ModelResource(name))
        .With("weights_sha256", snapshot.weights_sha256)
        .With("model_version", absl::StrCat(snapshot.model_version));
  }
  if (absl::Status status = CheckFits(snapshot, **model); !status.ok()) return status;
  return model;
}

absl::StatusOr<std::shared_ptr<Session>> EngineImpl::SessionFrom(const Snapshot& snapshot, std::shared_ptr<Model> model,
                                                                 std::string id, uint64_t epoch) const {
  if (absl::Status status = model->scheduler().MakeRoom(); !status.ok()) return status;
  const absl::StatusOr<Slot> slot = model->pool().Allocate();
  if (!slot.ok()) return slot.status();
  Scheduler& scheduler = model->scheduler();
  auto session = std::make_shared<Session>(std::move(model), std::move(id), *slot, snapshot);
  if (absl::Status status = scheduler.Adopt(*session, snapshot, epoch); !status.ok()) return status;
  return session;
}

absl::StatusOr<Snapshot> EngineImpl::ExportSession(std::string_view model, std::string_view id) {
  const std::shared_ptr<Session> session = store_.Find(model, id);
  if (session == nullptr) return Peek(model, id);
  Snapshot snapshot;
  absl::Status status = session->model()->scheduler().TakeSnapshot(*session, &snapshot);
  if (!status.ok()) return status;
  return snapshot;
}

absl::StatusOr<SessionInfo> EngineImpl::ImportSession(const ImportSessionParams& params) {
  if (absl::Status status = CheckSessionId(params.id); !status.ok()) return status;
  const absl::StatusOr<std::shared_ptr<Model>> model = ModelFor(params.model, params.snapshot, params.any_weights);
  if (!model.ok()) return model.status();
  Snapshot snapshot = params.snapshot;
  const UpdateSessionParams& settings = params.settings;
  if (settings.idle_ttl) snapshot.idle_ttl = *settings.idle_ttl;
  if (settings.expire_time) snapshot.expire_time = *settings.expire_time;
  if (settings.labels) snapshot.labels = *settings.labels;
  UpdateSessionParams as_set;
  as_set.idle_ttl = snapshot.idle_ttl;
  as_set.expire_time = snapshot.expire_time;
  as_set.labels = snapshot.labels;
  if (absl::Status status = CheckSettings(as_set); !status.ok()) return status;
  const auto living = [&](std::shared_ptr<Session> session) -> absl::StatusOr<std::shared_ptr<Session>> {
    if (!params.replace) return SessionExists(params.model, params.id);
    // Its handles on streams stay good: it becomes what the snapshot says, rather than another session.
    if (session->model() != *model) {
      return FailedPrecondition("WEIGHTS_MISMATCH", absl::StrCat("'", SessionResource(params.model, params.id),
                                                                 "' runs on other weights than those of the snapshot"))
          .Resource(SessionResource(params.model, params.id));
    }
    absl::Status status = session->model()->scheduler().Replace(*session, snapshot);
    if (!status.ok()) return status;
    return session;
  };
  const auto make = [&](const std::string& id) -> absl::StatusOr<std::shared_ptr<Session>> {
    // A session of its own, also beside the one that the snapshot is of.
    snapshot.uid = {RandomBits(), RandomBits()};
    absl::StatusOr<std::shared_ptr<Session>> session = SessionFrom(snapshot, *model, id, snapshot.epoch + 1);
    if (!session.ok() || snapshot.durability == Durability::kNone || !has_store()) return session;
    if (absl::Status status = CreateInStore(**session, snapshot.durability); !status.ok()) return status;
    return session;
  };
  const absl::StatusOr<std::shared_ptr<Session>> session =
      AddSession(*model, params.owner, params.id, make, living, SessionOrigin::kCopy);
  if (!session.ok()) return session.status();
  return Describe(**session);
}

absl::StatusOr<SessionInfo> EngineImpl::ForkSession(const ForkSessionParams& params) {
  if (absl::Status status = CheckSessionId(params.new_id); !status.ok()) return status;
  if (absl::Status status = CheckSettings(params.settings); !status.ok()) return status;
  const absl::StatusOr<std::shared_ptr<Session>> source = Living(params.model, params.id);
  if (!source.ok()) return source.status();
  const std::shared_ptr<Model>& model = (*source)->model();
  const auto living = [&](std::shared_ptr<Session> /*session*/) -> absl::StatusOr<std::shared_ptr<Session>> {
    return SessionExists(params.model, params.new_id);
  };
  const auto make = [&](const std::string& id) -> absl::StatusOr<std::shared_ptr<Session>> {
    if (absl::Status status = model->scheduler().MakeRoom(); !status.ok()) return status;
    const absl::StatusOr<Slot> slot = model->pool().Allocate();
    if (!slot.ok()) return slot.status();
    auto fork = std::make_shared<Session>(model, id, *slot, options_.clock->Now());
    if (absl::Status status = model->scheduler().Fork(**source, *fork); !status.ok()) return status;
    model->scheduler().Configure(*fork, params.settings);
    const Durability durability = params.settings.durability.value_or(Describe(**source).durability);
    if (durability == Durability::kNone || !has_store()) return fork;
    if (absl::Status status = CreateInStore(*fork, durability); !status.ok()) return status;
    return fork;
  };
  std::optional<NameLock> lock;
  if (has_store() && !params.new_id.empty()) {
    const std::string key = OwnedId(params.owner, params.new_id);
    lock.emplace(this, params.model, key);
    // One that is in the store alone stays there.
    const absl::Status stored = Peek(params.model, key).status();
    if (stored.ok()) return SessionExists(params.model, params.new_id);
    if (!absl::IsNotFound(stored)) return stored;
  }
  const absl::StatusOr<std::shared_ptr<Session>> session =
      AddSession(model, params.owner, params.new_id, make, living, SessionOrigin::kCopy);
  if (!session.ok()) return session.status();
  return Describe(**session);
}

}  // namespace lstmd
