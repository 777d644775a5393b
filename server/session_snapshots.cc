// SPDX-License-Identifier: Apache-2.0
//
// Sessions made from others: forks, and snapshots out and in.
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "engine/snapshot.h"
#include "server/convert_session.h"
#include "server/names.h"
#include "server/rpc.h"
#include "server/session_service.h"

namespace lstmd::server {
namespace {

// Labels, idle_ttl and expire_time, where they are set. Fields relative to the request.
absl::StatusOr<UpdateSessionParams> ReadSettings(const v1::Session& session) {
  UpdateSessionParams settings;
  if (!session.labels().empty()) settings.labels = {session.labels().begin(), session.labels().end()};
  if (session.has_idle_ttl()) {
    absl::StatusOr<absl::Duration> ttl = FromProto(session.idle_ttl());
    if (!ttl.ok()) return PrefixField(ttl.status(), "session.idle_ttl");
    settings.idle_ttl = *ttl;
  }
  if (session.has_expire_time()) {
    absl::StatusOr<absl::Time> time = FromProto(session.expire_time());
    if (!time.ok()) return PrefixField(time.status(), "session.expire_time");
    settings.expire_time = *time;
  }
  return settings;
}

}  // namespace

absl::Status SessionService::Fork(const Caller& caller, const v1::ForkSessionRequest& request, v1::Session* response) {
  absl::StatusOr<SessionName> name = ParseSessionName(request.name(), caller);
  if (!name.ok()) return PrefixField(name.status(), "name");
  absl::StatusOr<UpdateSessionParams> settings = ReadSettings(request.session());
  if (!settings.ok()) return settings.status();
  ForkSessionParams params;
  params.model = name->model;
  params.id = name->key;
  params.owner = caller.owner();
  params.new_id = request.session_id();
  params.settings = *std::move(settings);
  absl::StatusOr<SessionInfo> info = context_.engine->ForkSession(params);
  if (!info.ok()) return info.status();
  ToProto(*info, nullptr, response);
  return absl::OkStatus();
}

absl::Status SessionService::Export(const Caller& caller, const v1::ExportSessionRequest& request,
                                    v1::SessionSnapshot* response) {
  absl::StatusOr<SessionName> name = ParseSessionName(request.name(), caller);
  if (!name.ok()) return PrefixField(name.status(), "name");
  absl::StatusOr<Snapshot> snapshot = context_.engine->ExportSession(name->model, name->key);
  if (!snapshot.ok()) return snapshot.status();
  response->set_data(EncodeSnapshot(*snapshot));
  response->set_session(FormatSessionName(snapshot->model, snapshot->id));
  response->set_model_version(snapshot->model_version);
  response->set_weights_sha256(snapshot->weights_sha256);
  response->set_epoch(snapshot->epoch);
  response->set_last_seq(snapshot->last_seq);
  response->set_steps(snapshot->steps);
  if (response->ByteSizeLong() <= context_.limits.max_message_bytes) return absl::OkStatus();
  const size_t bytes = response->data().size();
  response->Clear();
  return InvalidArgument("REPLY_TOO_LARGE",
                         absl::StrCat("the snapshot has ", bytes, " bytes, above the largest message of ",
                                      context_.limits.max_message_bytes, " (--max-message-size)"));
}

absl::Status SessionService::Import(const Caller& caller, const v1::ImportSessionRequest& request,
                                    v1::Session* response) {
  absl::StatusOr<std::string_view> model = ParseModelName(request.parent(), caller);
  if (!model.ok()) return PrefixField(model.status(), "parent");
  absl::StatusOr<UpdateSessionParams> settings = ReadSettings(request.session());
  if (!settings.ok()) return settings.status();
  absl::StatusOr<Snapshot> snapshot = DecodeSnapshot(request.snapshot().data());
  if (!snapshot.ok()) return PrefixField(snapshot.status(), "snapshot.data");
  ImportSessionParams params;
  params.model = *model;
  params.owner = caller.owner();
  params.id = request.session_id();
  params.snapshot = *std::move(snapshot);
  params.replace = request.replace();
  params.any_weights = request.any_weights();
  params.settings = *std::move(settings);
  absl::StatusOr<SessionInfo> info = context_.engine->ImportSession(params);
  if (!info.ok()) return info.status();
  ToProto(*info, nullptr, response);
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* SessionService::ForkSession(grpc::CallbackServerContext* call,
                                                      const v1::ForkSessionRequest* request, v1::Session* response) {
  return AnswerFromPool(context_, context_.session_pool, call, "ForkSession", Right::kUse,
                        [=](const Caller& caller) { return Fork(caller, *request, response); });
}

grpc::ServerUnaryReactor* SessionService::ExportSession(grpc::CallbackServerContext* call,
                                                        const v1::ExportSessionRequest* request,
                                                        v1::SessionSnapshot* response) {
  return AnswerFromPool(context_, context_.session_pool, call, "ExportSession", Right::kUse,
                        [=](const Caller& caller) { return Export(caller, *request, response); });
}

grpc::ServerUnaryReactor* SessionService::ImportSession(grpc::CallbackServerContext* call,
                                                        const v1::ImportSessionRequest* request,
                                                        v1::Session* response) {
  return AnswerFromPool(context_, context_.session_pool, call, "ImportSession", Right::kUse,
                        [=](const Caller& caller) { return Import(caller, *request, response); });
}

}  // namespace lstmd::server
