// SPDX-License-Identifier: Apache-2.0
//
// Sessions of the engine: create, look up, list, end.
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/engine_impl.h"
#include "engine/errors.h"
#include "engine/names.h"
#include "engine/page_token.h"
#include "engine/random_bits.h"

namespace lstmd {
namespace {

constexpr size_t kMaxLabels = 64;
// What a session takes beside its state, about.
constexpr uint64_t kSessionBytes = 1024;
constexpr size_t kMaxLabelKey = 63;
constexpr size_t kMaxLabelValue = 255;

// Sessions that one call of a list with labels looks at.
constexpr size_t kLabelScan = 10'000;

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

bool HasLabels(const Labels& labels, const Labels& wanted) {
  for (const auto& [key, value] : wanted) {
    const auto it = labels.find(key);
    if (it == labels.end() || it->second != value) return false;
  }
  return true;
}

std::string RandomId() { return absl::StrFormat("s-%016x", RandomBits()); }

absl::Status CheckLabels(const Labels& labels) {
  if (labels.size() > kMaxLabels) {
    return InvalidArgument("LABELS", absl::StrCat("labels: got ", labels.size(), ", want at most ", kMaxLabels))
        .Field("session.labels");
  }
  for (const auto& [key, value] : labels) {
    if (key.empty() || key.size() > kMaxLabelKey || value.size() > kMaxLabelValue) {
      return InvalidArgument("LABELS",
                             absl::StrCat("labels: got a key of ", key.size(), " bytes with a value of ", value.size(),
                                          ", want 1 to ", kMaxLabelKey, " and at most ", kMaxLabelValue))
          .Field("session.labels");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckLife(const std::optional<absl::Duration>& idle_ttl, absl::Time expire_time, absl::Time now) {
  if (idle_ttl && *idle_ttl < absl::ZeroDuration()) {
    return InvalidArgument("IDLE_TTL",
                           absl::StrCat("idle_ttl: got ", absl::FormatDuration(*idle_ttl), ", want 0 (never) or more"))
        .Field("session.idle_ttl");
  }
  if (expire_time <= now) {
    return InvalidArgument(
               "EXPIRE_TIME",
               absl::StrCat("expire_time: ", absl::FormatTime(expire_time, absl::UTCTimeZone()), " has passed"))
        .Field("session.expire_time");
  }
  return absl::OkStatus();
}

// `field`: path of the state in the request.
absl::Status CheckState(const ModelSpec& spec, const StateValues& state, std::string_view field) {
  const auto check = [&](const char* name, size_t got, size_t want) -> absl::Status {
    if (got == want) return absl::OkStatus();
    return InvalidArgument("TENSOR_SHAPE", absl::StrCat(View(field), ".", name, ": got ", got, " values, want ", want))
        .Field(absl::StrCat(View(field), ".", name));
  };
  absl::Status status = check("h", state.h.size(), spec.h_size());
  if (status.ok()) status = check("c", state.c.size(), spec.c_size());
  return status;
}

}  // namespace

absl::Status EngineImpl::CheckSettings(const UpdateSessionParams& settings) const {
  absl::Status status = settings.labels ? CheckLabels(*settings.labels) : absl::OkStatus();
  if (!status.ok()) return status;
  status = CheckLife(settings.idle_ttl, settings.expire_time.value_or(absl::InfiniteFuture()), options_.clock->Now());
  if (!status.ok() || !settings.durability) return status;
  return CheckDurability(*settings.durability);
}

absl::StatusOr<std::shared_ptr<Session>> EngineImpl::Living(std::string_view model, std::string_view id) {
  if (std::shared_ptr<Session> session = store_.Find(model, id)) return session;
  return RestoreSession(model, id, false);
}

absl::StatusOr<std::shared_ptr<Session>> EngineImpl::NewSession(const CreateSessionParams& params,
                                                                std::shared_ptr<Model> model, std::string id) const {
  if (absl::Status status = model->scheduler().MakeRoom(); !status.ok()) return status;
  const absl::StatusOr<Slot> slot = model->AllocateSlot(*model->current());
  if (!slot.ok()) return slot.status();
  Scheduler& scheduler = model->scheduler();
  auto session = std::make_shared<Session>(std::move(model), std::move(id), *slot, options_.clock->Now());
  if (params.initial_state) {
    const StateValues& state = *params.initial_state;
    if (absl::Status status = session->model()->pool().Write(*slot, state.h, state.c); !status.ok()) return status;
  }
  UpdateSessionParams settings;
  settings.idle_ttl = params.idle_ttl.value_or(options_.sessions.idle_ttl);
  settings.expire_time = params.expire_time;
  settings.labels = params.labels;
  settings.pinned = params.pinned;
  scheduler.Configure(*session, settings);
  return session;
}

absl::Status EngineImpl::CheckSessionId(const std::string& id) {
  if (id.empty() || IsValidSessionId(id)) return absl::OkStatus();
  return InvalidArgument("SESSION_ID", absl::StrCat("session_id: got '", id,
                                                    "', want 1 to 128 of A-Z a-z 0-9 . "
                                                    "_ ~ -, the first a letter or digit"))
      .Field("session_id");
}

absl::Status EngineImpl::SessionExists(std::string_view model, std::string_view id) {
  const std::string name = SessionResource(model, id);
  return AlreadyExists("SESSION_EXISTS", absl::StrCat("there is a session '", name, "'")).Resource(name);
}

absl::StatusOr<std::shared_ptr<Session>> EngineImpl::AddSession(
    const std::shared_ptr<Model>& model, const std::string& owner, const std::string& id,
    absl::FunctionRef<absl::StatusOr<std::shared_ptr<Session>>(const std::string& id)> make,
    absl::FunctionRef<absl::StatusOr<std::shared_ptr<Session>>(std::shared_ptr<Session>)> living,
    SessionOrigin origin) {
  const Arrivals::Pass pass(&arrivals_);
  if (!pass.granted()) return Unavailable("DRAINING", "the server is stopping and takes no new sessions");
  const std::string key = OwnedId(owner, id.empty() ? RandomId() : id);
  if (!id.empty()) {
    if (std::shared_ptr<Session> session = store_.Find(model->name(), key)) return living(std::move(session));
  }
  const SessionShare share = {model->name(), owner, model->pool().slot_bytes()};
  if (absl::Status status = memory_.Admit(share.state_bytes + kSessionBytes, "a session"); !status.ok()) return status;
  if (absl::Status status = ReserveSession(share); !status.ok()) return status;
  if (!model->AddSession(/*retired_too=*/origin != SessionOrigin::kNew)) {
    store_.Unreserve(share);
    return NotFound("MODEL_NOT_FOUND", absl::StrCat("'", ModelResource(model->name()), "' is being unloaded"))
        .Resource(ModelResource(model->name()));
  }
  absl::StatusOr<std::shared_ptr<Session>> session = make(key);
  std::shared_ptr<Session> inserted;
  if (session.ok()) {
    inserted = store_.Insert(*session, origin);
    if (inserted == *session) {
      // An unload by force that did not see it in the store leaves it to us.
      if (model->closed()) EndSessionsOf(*model);
      model->scheduler().Track(*session);
      return session;
    }
  }
  store_.Unreserve(share);
  model->RemoveSession();
  if (inserted != nullptr) return living(std::move(inserted));
  return session;
}

absl::StatusOr<std::shared_ptr<Session>> EngineImpl::MakeSession(const CreateSessionParams& params) {
  if (absl::Status status = CheckSessionId(params.id); !status.ok()) return status;
  absl::StatusOr<std::shared_ptr<Model>> model = FindModel(params.model, params.model_version);
  if (!model.ok()) return model.status();
  if (!(*model)->spec().steppable()) {
    return FailedPrecondition("NOT_STEPPABLE", absl::StrCat("'", ModelResource(params.model), "' reads ",
                                                            View(Name((*model)->spec().direction)),
                                                            " and needs the whole sequence: use RunSequences"))
        .Resource(ModelResource(params.model));
  }
  if (absl::Status status = CheckLabels(params.labels); !status.ok()) return status;
  const absl::Time now = options_.clock->Now();
  if (absl::Status status = CheckLife(params.idle_ttl, params.expire_time, now); !status.ok()) return status;
  if (params.initial_state) {
    absl::Status status = CheckState((*model)->spec(), *params.initial_state, "initial_state");
    if (!status.ok()) return status;
  }
  const Durability durability = params.durability.value_or(options_.durability.durability);
  if (absl::Status status = CheckDurability(durability); !status.ok()) return status;
  absl::StatusOr<std::shared_ptr<Session>> session = AddSession(
      *model, params.owner, params.id,
      [&](const std::string& id) -> absl::StatusOr<std::shared_ptr<Session>> {
        absl::StatusOr<std::shared_ptr<Session>> session = NewSession(params, *model, id);
        if (!session.ok() || durability == Durability::kNone) return session;
        if (absl::Status status = CreateInStore(**session, durability); !status.ok()) return status;
        return session;
      },
      [&](std::shared_ptr<Session> session) -> absl::StatusOr<std::shared_ptr<Session>> {
        if (params.exists_ok) return session;
        return SessionExists(params.model, params.id);
      });
  if (!session.ok() && params.model_version == 0 && (*model)->retired()) {
    // An update has put another version in its place meanwhile.
    if (const auto now = FindModel(params.model, 0); now.ok() && *now != *model) return MakeSession(params);
  }
  return session;
}

absl::Status EngineImpl::ReserveSession(const SessionShare& share) {
  std::string full;
  absl::Status status = store_.Reserve(share, &full);
  while (!status.ok() && !full.empty() && options_.sessions.evict_least_recently_used) {
    const std::shared_ptr<Session> oldest = evictions_.Next(store_, full, share.owner);
    if (oldest == nullptr) return status;
    store_.Erase(*oldest, SessionEnd::kEvicted, options_.clock->Now(),
                 absl::StrCat("least recently used, when ", full == "-" ? "the server" : "the model",
                              " had as many sessions as it may"));
    status = store_.Reserve(share, &full);
  }
  return status;
}

absl::StatusOr<SessionInfo> EngineImpl::CreateSession(const CreateSessionParams& params) {
  const bool may_be_stored = has_store() && !params.id.empty() && IsValidSessionId(params.id);
  const absl::StatusOr<std::shared_ptr<Session>> session =
      may_be_stored ? CreateWithStore(params) : MakeSession(params);
  if (!session.ok()) return session.status();
  return Describe(**session);
}

absl::StatusOr<std::shared_ptr<Session>> EngineImpl::FindSession(std::string_view model, std::string_view id,
                                                                 bool create_if_missing) {
  return FindOrMake(model, id, create_if_missing && !may_block());
}

absl::StatusOr<std::shared_ptr<Session>> EngineImpl::FindOrMake(std::string_view model, std::string_view id,
                                                                bool create_if_missing) {
  if (std::shared_ptr<Session> session = store_.Find(model, id)) return session;
  if (!create_if_missing) return store_.NotFound(model, id, options_.clock->Now());
  if (id.empty()) {
    return InvalidArgument("SESSION_ID", "session: got an empty name, want models/{model}/sessions/{session}")
        .Field("session");
  }
  CreateSessionParams params;
  params.model = model;
  params.owner = OwnerOf(id);
  params.id = BareId(id);
  params.exists_ok = true;
  return MakeSession(params);
}

absl::StatusOr<SessionInfo> EngineImpl::GetSession(std::string_view model, std::string_view id, bool include_state) {
  const std::shared_ptr<Session> session = store_.Find(model, id);
  if (session == nullptr) return GetStored(model, id, include_state);
  if (!include_state) return Describe(*session);
  SessionInfo info;
  StateValues state;
  if (absl::Status status = session->model()->scheduler().Read(*session, &state, &info); !status.ok()) return status;
  info.state = std::move(state);
  return info;
}

absl::StatusOr<Page<SessionInfo>> EngineImpl::ListSessions(const ListSessionsParams& params) const {
  const absl::StatusOr<int> page_size = PageSize(params.page_size);
  if (!page_size.ok()) return page_size.status();
  const auto limit = static_cast<size_t>(*page_size);
  const std::string list = absl::StrCat("sessions of ", params.owner, ":", params.model);
  std::string key;
  SessionStore::Key after;
  if (!params.page_token.empty()) {
    absl::StatusOr<std::string> decoded = DecodePageToken(list, params.page_token);
    if (!decoded.ok()) return decoded.status();
    key = *std::move(decoded);
    const std::string_view text = key;
    const size_t slash = text.find('/');
    after = {text.substr(0, slash), slash == text.npos ? std::string_view() : text.substr(slash + 1)};
  }
  Page<SessionInfo> page;
  // One more than the page tells whether there is another.
  const size_t chunk = params.labels.empty() ? limit + 1 : kLabelScan / 10;
  std::vector<std::shared_ptr<Session>> found;
  for (size_t looked_at = 0;;) {
    std::vector<std::shared_ptr<Session>> next = store_.List(params.model, params.owner, after, chunk);
    found.swap(next);  // `after` points into what is in `next` now
    size_t done = 0;
    for (; done < found.size() && page.items.size() < limit; ++done) {
      SessionInfo info = Describe(*found[done]);
      if (HasLabels(info.labels, params.labels)) page.items.push_back(std::move(info));
    }
    looked_at += done;
    if (done == found.size() && found.size() < chunk) return page;
    const Session& last = *found[done - 1];
    after = {last.model()->name(), last.id()};
    if (page.items.size() < limit && looked_at < kLabelScan) continue;
    page.next_token = EncodePageToken(list, absl::StrCat(last.model()->name(), "/", last.id()));
    return page;
  }
}

absl::StatusOr<SessionInfo> EngineImpl::UpdateSession(std::string_view model, std::string_view id,
                                                      const UpdateSessionParams& params) {
  const absl::StatusOr<std::shared_ptr<Session>> session = Living(model, id);
  if (!session.ok()) return session.status();
  if (absl::Status status = CheckSettings(params); !status.ok()) return status;
  Scheduler& scheduler = (*session)->model()->scheduler();
  if (params.state) {
    absl::Status status = CheckState((*session)->model()->spec(), *params.state, "session.state");
    if (status.ok()) status = scheduler.Write(**session, *params.state);
    if (!status.ok()) return status;
  }
  scheduler.Configure(**session, params);
  absl::Status saved;
  if (params.durability) {
    saved = scheduler.SetDurability(**session, *params.durability);
  } else if (Describe(**session).durability != Durability::kNone) {
    saved = scheduler.Checkpoint(**session);
  }
  if (!saved.ok()) return saved;
  return Describe(**session);
}

absl::Status EngineImpl::DeleteSession(std::string_view model, std::string_view id) {
  const absl::StatusOr<std::shared_ptr<Session>> session = Living(model, id);
  if (!session.ok()) return session.status();
  Scheduler& scheduler = (*session)->model()->scheduler();
  if (scheduler.IsDurable(**session)) {
    // First there: one that is gone here and not there would come back.
    const NameLock lock(this, model, id);
    absl::Status status = scheduler.EraseInStore(**session);
    if (status.ok()) store_.Erase(**session, SessionEnd::kDeleted, options_.clock->Now(), "DeleteSession");
    return status;
  }
  if (absl::Status status = scheduler.Close(**session, SessionEnd::kDeleted); !status.ok()) return status;
  store_.Erase(**session, SessionEnd::kDeleted, options_.clock->Now(), "DeleteSession");
  scheduler.WaitForTurn(**session);
  return absl::OkStatus();
}

absl::StatusOr<SessionInfo> EngineImpl::ResetSession(std::string_view model, std::string_view id,
                                                     const std::optional<StateValues>& initial_state) {
  const absl::StatusOr<std::shared_ptr<Session>> session = Living(model, id);
  if (!session.ok()) return session.status();
  if (initial_state) {
    absl::Status status = CheckState((*session)->model()->spec(), *initial_state, "initial_state");
    if (!status.ok()) return status;
  }
  Scheduler& scheduler = (*session)->model()->scheduler();
  absl::Status status = scheduler.Reset(**session, initial_state ? &*initial_state : nullptr);
  if (!status.ok()) return status;
  return Describe(**session);
}

SessionInfo EngineImpl::Describe(const Session& session) const {
  return session.model()->scheduler().Describe(session);
}

void EngineImpl::ExpireSessions() {
  UnloadRetired();
  const absl::Time now = options_.clock->Now();
  for (const auto& session : store_.Collect([now](const Session& one) { return one.MaybeDue(now); })) {
    if (!session->model()->scheduler().CloseIfDue(*session)) continue;
    session->model()->scheduler().Forget(session);
    const SessionInfo info = Describe(*session);
    store_.Erase(*session, SessionEnd::kExpired, now,
                 info.expire_time <= now ? std::string("its expire_time has come")
                                         : absl::StrCat("no step for ", absl::FormatDuration(info.idle_ttl)));
  }
}

void EngineImpl::EndSessionsOf(const Model& model) {
  const absl::Time now = options_.clock->Now();
  for (const auto& session : store_.Collect([&model](const Session& one) { return one.model().get() == &model; })) {
    // One that ends otherwise at this moment is erased by who ended it.
    if (model.scheduler().Close(*session, SessionEnd::kUnloaded).ok()) {
      store_.Erase(*session, SessionEnd::kUnloaded, now, "its model was unloaded by force");
    }
  }
}

}  // namespace lstmd
