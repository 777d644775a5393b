// SPDX-License-Identifier: Apache-2.0
#include "server/session_service.h"

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "engine/names.h"
#include "server/convert_session.h"
#include "server/errors.h"
#include "server/names.h"
#include "server/rpc.h"
#include "server/watch_call.h"

namespace lstmd::server {
namespace {

// Which fields of a session an update is about.
struct UpdatePaths {
  bool labels = false;
  bool idle_ttl = false;
  bool expire_time = false;
  bool durability = false;
  bool pinned = false;
  bool state = false;
};

absl::StatusOr<UpdatePaths> ReadMask(const v1::UpdateSessionRequest& request) {
  UpdatePaths paths;
  if (request.update_mask().paths().empty()) {
    const v1::Session& session = request.session();
    paths.labels = !session.labels().empty();
    paths.idle_ttl = session.has_idle_ttl();
    paths.expire_time = session.has_expire_time();
    paths.durability = session.durability() != v1::Session::DURABILITY_UNSPECIFIED;
    paths.pinned = session.pinned();
    paths.state = session.has_state();
    return paths;
  }
  for (int i = 0; i < request.update_mask().paths_size(); ++i) {
    const std::string& path = request.update_mask().paths(i);
    if (path == "labels") {
      paths.labels = true;
    } else if (path == "idle_ttl") {
      paths.idle_ttl = true;
    } else if (path == "expire_time") {
      paths.expire_time = true;
    } else if (path == "durability") {
      paths.durability = true;
    } else if (path == "pinned") {
      paths.pinned = true;
    } else if (path == "state") {
      paths.state = true;
    } else {
      return InvalidArgument("FIELD_MASK",
                             absl::StrCat("got the path '", Printable(path),
                                          "', want labels, idle_ttl, expire_time, durability, pinned or state"))
          .Field(absl::StrCat("update_mask.paths[", i, "]"))
          .With("path", Printable(path));
    }
  }
  return paths;
}

std::map<std::string, std::string> Labels(const v1::Session& session) {
  return {session.labels().begin(), session.labels().end()};
}

absl::StatusOr<SessionName> ReadName(std::string_view name, std::string_view field, const Caller& caller) {
  absl::StatusOr<SessionName> parsed = ParseSessionName(name, caller);
  if (!parsed.ok()) return PrefixField(parsed.status(), field);
  return parsed;
}

using WatchFilter = std::function<bool(const Session&, SessionEventKind)>;

absl::StatusOr<WatchFilter> ReadFilter(const v1::WatchSessionsRequest& request, const Caller& caller) {
  absl::StatusOr<std::string_view> model = ParseModelNameOrAll(request.parent(), caller);
  if (!model.ok()) return PrefixField(model.status(), "parent");
  std::array<bool, v1::SessionEvent::Kind_ARRAYSIZE> wanted;
  wanted.fill(request.kinds().empty());
  for (int i = 0; i < request.kinds_size(); ++i) {
    const int kind = request.kinds(i);
    if (kind <= 0 || !v1::SessionEvent::Kind_IsValid(kind)) {
      return InvalidArgument("EVENT_KIND", absl::StrCat("got ", kind, ", want a SessionEvent.Kind"))
          .Field(absl::StrCat("kinds[", i, "]"));
    }
    wanted[static_cast<size_t>(kind)] = true;
  }
  return [model = std::string(*model), owner = std::string(caller.owner()), wanted](const Session& session,
                                                                                    SessionEventKind kind) {
    return wanted[static_cast<size_t>(KindOf(kind))] && (model == "-" || NameOf(ModelOf(session)) == model) &&
           OwnerOf(IdOf(session)) == owner;
  };
}

absl::StatusOr<std::optional<Durability>> ReadDurability(const v1::Session& session) {
  switch (session.durability()) {
    case v1::Session::DURABILITY_UNSPECIFIED:
      return std::optional<Durability>();
    case v1::Session::NONE:
      return std::optional<Durability>(Durability::kNone);
    case v1::Session::PERIODIC:
      return std::optional<Durability>(Durability::kPeriodic);
    case v1::Session::EVERY_STEP:
      return std::optional<Durability>(Durability::kEveryStep);
    default:
      return InvalidArgument("DURABILITY", absl::StrCat("got ", static_cast<int>(session.durability()),
                                                        ", want NONE, PERIODIC or EVERY_STEP"))
          .Field("session.durability");
  }
}

}  // namespace

absl::Status SessionService::Create(const Caller& caller, const v1::CreateSessionRequest& request,
                                    v1::Session* response) {
  absl::StatusOr<std::string_view> model = ParseModelName(request.parent(), caller);
  if (!model.ok()) return PrefixField(model.status(), "parent");
  absl::StatusOr<std::optional<Durability>> durability = ReadDurability(request.session());
  if (!durability.ok()) return durability.status();
  CreateSessionParams params;
  params.durability = *durability;
  params.pinned = request.session().pinned();
  params.model = *model;
  params.owner = caller.owner();
  params.id = request.session_id();
  params.exists_ok = request.exists_ok();
  params.model_version = request.session().model_version();
  params.labels = Labels(request.session());
  if (params.model_version < 0) {
    return InvalidArgument("MODEL_VERSION", absl::StrCat("got version ", params.model_version, ", want 0 or more"))
        .Field("session.model_version");
  }
  if (request.session().has_idle_ttl()) {
    absl::StatusOr<absl::Duration> ttl = FromProto(request.session().idle_ttl());
    if (!ttl.ok()) return PrefixField(ttl.status(), "session.idle_ttl");
    params.idle_ttl = *ttl;
  }
  if (request.session().has_expire_time()) {
    absl::StatusOr<absl::Time> time = FromProto(request.session().expire_time());
    if (!time.ok()) return PrefixField(time.status(), "session.expire_time");
    params.expire_time = *time;
  }
  if (request.has_initial_state()) {
    absl::StatusOr<std::shared_ptr<Model>> found = context_.engine->FindModel(params.model, params.model_version);
    if (!found.ok()) return found.status();
    absl::StatusOr<StateValues> state = FromProto(request.initial_state(), SpecOf(**found));
    if (!state.ok()) return PrefixField(state.status(), "initial_state.");
    params.initial_state = *std::move(state);
  }
  absl::StatusOr<SessionInfo> info = context_.engine->CreateSession(params);
  if (!info.ok()) return info.status();
  ToProto(*info, nullptr, response);
  return absl::OkStatus();
}

absl::Status SessionService::Get(const Caller& caller, const v1::GetSessionRequest& request, v1::Session* response) {
  absl::StatusOr<SessionName> name = ReadName(request.name(), "name", caller);
  if (!name.ok()) return name.status();
  absl::StatusOr<SessionInfo> info = context_.engine->GetSession(name->model, name->key, request.include_state());
  if (!info.ok()) return info.status();
  if (!info->state) {
    ToProto(*info, nullptr, response);
    return absl::OkStatus();
  }
  absl::StatusOr<std::shared_ptr<Model>> model = context_.engine->FindModel(name->model, info->model_version);
  if (!model.ok()) return model.status();
  ToProto(*info, &SpecOf(**model), response);
  return absl::OkStatus();
}

absl::Status SessionService::List(const Caller& caller, const v1::ListSessionsRequest& request,
                                  v1::ListSessionsResponse* response) {
  absl::StatusOr<std::string_view> model = ParseModelNameOrAll(request.parent(), caller);
  if (!model.ok()) return PrefixField(model.status(), "parent");
  ListSessionsParams params;
  params.model = *model;
  params.owner = caller.owner();
  params.labels = {request.labels().begin(), request.labels().end()};
  params.page_size = request.page_size();
  params.page_token = request.page_token();
  absl::StatusOr<Page<SessionInfo>> page = context_.engine->ListSessions(params);
  if (!page.ok()) return page.status();
  for (const SessionInfo& info : page->items) ToProto(info, nullptr, response->add_sessions());
  response->set_next_page_token(page->next_token);
  return absl::OkStatus();
}

absl::Status SessionService::Update(const Caller& caller, const v1::UpdateSessionRequest& request,
                                    v1::Session* response) {
  absl::StatusOr<SessionName> name = ReadName(request.session().name(), "session.name", caller);
  if (!name.ok()) return name.status();
  absl::StatusOr<UpdatePaths> paths = ReadMask(request);
  if (!paths.ok()) return paths.status();
  UpdateSessionParams params;
  if (paths->labels) params.labels = Labels(request.session());
  if (paths->idle_ttl) {
    absl::StatusOr<absl::Duration> ttl = context_.idle_ttl;
    if (request.session().has_idle_ttl()) ttl = FromProto(request.session().idle_ttl());
    if (!ttl.ok()) return PrefixField(ttl.status(), "session.idle_ttl");
    params.idle_ttl = *ttl;
  }
  if (paths->expire_time) {
    absl::StatusOr<absl::Time> time = absl::InfiniteFuture();
    if (request.session().has_expire_time()) time = FromProto(request.session().expire_time());
    if (!time.ok()) return PrefixField(time.status(), "session.expire_time");
    params.expire_time = *time;
  }
  if (paths->pinned) params.pinned = request.session().pinned();
  if (paths->durability) {
    absl::StatusOr<std::optional<Durability>> durability = ReadDurability(request.session());
    if (!durability.ok()) return durability.status();
    params.durability = durability->value_or(context_.durability);
  }
  if (paths->state) {
    absl::StatusOr<std::shared_ptr<Session>> session = context_.engine->RestoreSession(name->model, name->key, false);
    if (!session.ok()) return session.status();
    absl::StatusOr<StateValues> state = FromProto(request.session().state(), SpecOf(ModelOf(**session)));
    if (!state.ok()) return PrefixField(state.status(), "session.state.");
    params.state = *std::move(state);
  }
  absl::StatusOr<SessionInfo> info = context_.engine->UpdateSession(name->model, name->key, params);
  if (!info.ok()) return info.status();
  ToProto(*info, nullptr, response);
  return absl::OkStatus();
}

absl::Status SessionService::Delete(const Caller& caller, const v1::DeleteSessionRequest& request) {
  absl::StatusOr<SessionName> name = ReadName(request.name(), "name", caller);
  if (!name.ok()) return name.status();
  const absl::Status status = context_.engine->DeleteSession(name->model, name->key);
  return request.allow_missing() && absl::IsNotFound(status) ? absl::OkStatus() : status;
}

absl::Status SessionService::Reset(const Caller& caller, const v1::ResetSessionRequest& request,
                                   v1::Session* response) {
  absl::StatusOr<SessionName> name = ReadName(request.name(), "name", caller);
  if (!name.ok()) return name.status();
  std::optional<StateValues> initial;
  if (request.has_initial_state()) {
    absl::StatusOr<std::shared_ptr<Session>> session = context_.engine->RestoreSession(name->model, name->key, false);
    if (!session.ok()) return session.status();
    absl::StatusOr<StateValues> state = FromProto(request.initial_state(), SpecOf(ModelOf(**session)));
    if (!state.ok()) return PrefixField(state.status(), "initial_state.");
    initial = *std::move(state);
  }
  absl::StatusOr<SessionInfo> info = context_.engine->ResetSession(name->model, name->key, initial);
  if (!info.ok()) return info.status();
  ToProto(*info, nullptr, response);
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* SessionService::CreateSession(grpc::CallbackServerContext* call,
                                                        const v1::CreateSessionRequest* request,
                                                        v1::Session* response) {
  return AnswerFromPool(context_, context_.session_pool, call, "CreateSession", Right::kUse,
                        [=](const Caller& caller) { return Create(caller, *request, response); });
}

grpc::ServerUnaryReactor* SessionService::GetSession(grpc::CallbackServerContext* call,
                                                     const v1::GetSessionRequest* request, v1::Session* response) {
  // With a store it may have to be looked up there.
  if (!request->include_state() && !context_.engine->has_store()) {
    return Answer(context_, call, "GetSession", Right::kUse,
                  [&](const Caller& caller) { return Get(caller, *request, response); });
  }
  return AnswerFromPool(context_, context_.session_pool, call, "GetSession", Right::kUse,
                        [=](const Caller& caller) { return Get(caller, *request, response); });
}

grpc::ServerUnaryReactor* SessionService::ListSessions(grpc::CallbackServerContext* call,
                                                       const v1::ListSessionsRequest* request,
                                                       v1::ListSessionsResponse* response) {
  return AnswerFromPool(context_, context_.session_pool, call, "ListSessions", Right::kUse,
                        [=](const Caller& caller) { return List(caller, *request, response); });
}

grpc::ServerUnaryReactor* SessionService::UpdateSession(grpc::CallbackServerContext* call,
                                                        const v1::UpdateSessionRequest* request,
                                                        v1::Session* response) {
  return AnswerFromPool(context_, context_.session_pool, call, "UpdateSession", Right::kUse,
                        [=](const Caller& caller) { return Update(caller, *request, response); });
}

grpc::ServerUnaryReactor* SessionService::DeleteSession(grpc::CallbackServerContext* call,
                                                        const v1::DeleteSessionRequest* request,
                                                        google::protobuf::Empty* /*response*/) {
  return AnswerFromPool(context_, context_.session_pool, call, "DeleteSession", Right::kUse,
                        [=](const Caller& caller) { return Delete(caller, *request); });
}

grpc::ServerUnaryReactor* SessionService::ResetSession(grpc::CallbackServerContext* call,
                                                       const v1::ResetSessionRequest* request, v1::Session* response) {
  return AnswerFromPool(context_, context_.session_pool, call, "ResetSession", Right::kUse,
                        [=](const Caller& caller) { return Reset(caller, *request, response); });
}

grpc::ServerUnaryReactor* SessionService::CheckpointSession(grpc::CallbackServerContext* call,
                                                            const v1::CheckpointSessionRequest* request,
                                                            v1::Session* response) {
  return AnswerFromPool(context_, context_.session_pool, call, "CheckpointSession", Right::kUse,
                        [=](const Caller& caller) -> absl::Status {
                          absl::StatusOr<SessionName> name = ReadName(request->name(), "name", caller);
                          if (!name.ok()) return name.status();
                          absl::StatusOr<SessionInfo> info = context_.engine->CheckpointSession(name->model, name->key);
                          if (!info.ok()) return info.status();
                          ToProto(*info, nullptr, response);
                          return absl::OkStatus();
                        });
}

grpc::ServerWriteReactor<v1::SessionEvent>* SessionService::WatchSessions(grpc::CallbackServerContext* call,
                                                                          const v1::WatchSessionsRequest* request) {
  const absl::StatusOr<Caller> caller = Admit(context_, *call, "WatchSessions", Right::kUse);
  if (!caller.ok())
    return RefuseStream<grpc::ServerWriteReactor<v1::SessionEvent>>(*call, "WatchSessions", caller.status());
  absl::StatusOr<WatchFilter> filter = ReadFilter(*request, *caller);
  if (!filter.ok())
    return RefuseStream<grpc::ServerWriteReactor<v1::SessionEvent>>(*call, "WatchSessions", filter.status());
  auto* const watch = new WatchCall(context_);
  watch->Start(*std::move(filter));
  return watch;
}

}  // namespace lstmd::server
