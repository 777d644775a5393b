// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/error.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/support/channel_arguments.h"

namespace lstmd::client {
namespace {

constexpr int kPageSize = 1000;

void SetDeadline(grpc::ClientContext* context, absl::Duration timeout) {
  if (timeout < absl::Hours(24 * 365)) {
    context->set_deadline(std::chrono::system_clock::now() + absl::ToChronoMicroseconds(timeout));
  }
}

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address, const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(options.max_message_bytes);
  arguments.SetMaxSendMessageSize(options.max_message_bytes);
  // One connection for each Client, not one for each process.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (options.keepalive > absl::ZeroDuration()) {
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, static_cast<int>(absl::ToInt64Milliseconds(options.keepalive)));
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  }
  return grpc::CreateCustomChannel(
      address, options.credentials ? options.credentials : grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

std::string ModelName(absl::string_view model) {
  return absl::StartsWith(model, "models/") ? std::string(model) : absl::StrCat("models/", model);
}

std::string SessionName(absl::string_view model, absl::string_view id) {
  return absl::StrCat(ModelName(model), "/sessions/", id);
}

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(const std::string& address, ClientOptions options) {
  const std::vector<std::string> addresses = ParseAddresses(address);
  if (addresses.empty()) return absl::InvalidArgumentError(absl::StrCat("'", address, "' names no server"));
  const auto make_channel = [options](const std::string& one) { return MakeChannel(one, options); };
  std::unique_ptr<Client> client(new Client(std::make_shared<Endpoints>(addresses, make_channel), options));
  absl::Status first;
  for (const std::string& one : addresses) {
    absl::Status status = client->Greet(one);
    if (status.ok()) {
      client->endpoints_->Prefer(one);
      return client;
    }
    if (first.ok()) first = std::move(status);
  }
  return first;
}

absl::Status Client::Greet(const std::string& address) {
  grpc::ClientContext context;
  Prepare(&context);
  SetDeadline(&context, options_.connect_timeout);
  // With several, the next is tried rather than this one waited for.
  const bool wait = options_.wait_for_server && endpoints_->size() == 1;
  context.set_wait_for_ready(wait);
  Endpoint* const endpoint = endpoints_->At(address);
  if (!wait) TryToConnect(endpoint->channel.get(), context.deadline());
  v1::ServerInfo info;
  const grpc::Status answer = endpoint->models->GetServerInfo(&context, v1::GetServerInfoRequest(), &info);
  if (answer.ok()) return absl::OkStatus();
  absl::Status status = FromGrpc(answer);
  if (!GetDetails(status).reason.empty()) return status;  // a server of this project answered, and refused
  if (status.code() == absl::StatusCode::kUnimplemented) {
    return absl::FailedPreconditionError(absl::StrCat("the server at ", address, " does not serve lstmd.v1"));
  }
  return absl::Status(absl::StatusCode::kUnavailable,
                      absl::StrCat("cannot reach an lstmd server at ", address, ": ", status.message()));
}

Client::Client(std::shared_ptr<grpc::Channel> channel, ClientOptions options)
    : Client(std::make_shared<Endpoints>(std::move(channel),
                                         [options](const std::string& one) { return MakeChannel(one, options); }),
             options) {}

Client::Client(std::shared_ptr<Endpoints> endpoints, ClientOptions options)
    : options_(std::move(options)), endpoints_(std::move(endpoints)) {}

absl::Status Client::Call(Safety safety, absl::FunctionRef<grpc::Status(Endpoint*, grpc::ClientContext*)> call) {
  const absl::Time deadline = absl::Now() + options_.timeout;
  return CallWithRetries(endpoints_.get(), options_.retry, safety, deadline, [&](Endpoint* endpoint, absl::Time until) {
    grpc::ClientContext context;
    Prepare(&context);
    if (until < deadline) context.set_deadline(absl::ToChronoTime(until));
    return FromGrpc(call(endpoint, &context));
  });
}

void Client::Prepare(grpc::ClientContext* context) const {
  SetDeadline(context, options_.timeout);
  for (const auto& [key, value] : options_.metadata) context->AddMetadata(key, value);
}

std::unique_ptr<grpc::ClientContext> Client::NewContext() const {
  auto context = std::make_unique<grpc::ClientContext>();
  Prepare(context.get());
  return context;
}

absl::StatusOr<v1::ServerInfo> Client::GetServerInfo() {
  v1::ServerInfo info;
  absl::Status status = Call(Safety::kRead, [&](Endpoint* endpoint, grpc::ClientContext* context) {
    return endpoint->models->GetServerInfo(context, v1::GetServerInfoRequest(), &info);
  });
  if (!status.ok()) return status;
  return info;
}

absl::StatusOr<std::vector<v1::Model>> Client::ListModels() {
  std::vector<v1::Model> models;
  v1::ListModelsRequest request;
  request.set_page_size(kPageSize);
  do {
    v1::ListModelsResponse page;
    absl::Status status = Call(Safety::kRead, [&](Endpoint* endpoint, grpc::ClientContext* context) {
      return endpoint->models->ListModels(context, request, &page);
    });
    if (!status.ok()) return status;
    for (v1::Model& model : *page.mutable_models()) models.push_back(std::move(model));
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return models;
}

absl::StatusOr<v1::Model> Client::GetModel(absl::string_view name, int64_t version) {
  v1::GetModelRequest request;
  request.set_name(ModelName(name));
  request.set_version(version);
  v1::Model model;
  absl::Status status = Call(Safety::kRead, [&](Endpoint* endpoint, grpc::ClientContext* context) {
    return endpoint->models->GetModel(context, request, &model);
  });
  if (!status.ok()) return status;
  return model;
}

absl::StatusOr<v1::Model> Client::LoadModel(absl::string_view name, int64_t version, absl::string_view device) {
  v1::LoadModelRequest request;
  request.set_name(ModelName(name));
  request.set_version(version);
  request.set_device(std::string(device));
  v1::Model model;
  const auto context = NewContext();
  absl::Status status = FromGrpc(models()->LoadModel(context.get(), request, &model));
  if (!status.ok()) return status;
  return model;
}

absl::StatusOr<v1::Model> Client::UpdateWeights(absl::string_view model, int64_t version, v1::UpdatePolicy policy) {
  v1::UpdateWeightsRequest request;
  request.set_name(ModelName(model));
  request.set_version(version);
  request.set_policy(policy);
  v1::Model updated;
  const auto context = NewContext();
  absl::Status status = FromGrpc(models()->UpdateWeights(context.get(), request, &updated));
  if (!status.ok()) return status;
  return updated;
}

absl::Status Client::UnloadModel(absl::string_view model, int64_t version, bool force) {
  v1::UnloadModelRequest request;
  request.set_name(ModelName(model));
  request.set_version(version);
  request.set_force(force);
  google::protobuf::Empty empty;
  const auto context = NewContext();
  return FromGrpc(models()->UnloadModel(context.get(), request, &empty));
}

absl::StatusOr<v1::ServerStats> Client::GetStats(const v1::GetStatsRequest& request) {
  v1::ServerStats stats;
  const auto context = NewContext();
  absl::Status status = FromGrpc(admin()->GetStats(context.get(), request, &stats));
  if (!status.ok()) return status;
  return stats;
}

absl::StatusOr<std::string> Client::GetLogLevel() {
  v1::LogLevel level;
  const auto context = NewContext();
  absl::Status status = FromGrpc(admin()->GetLogLevel(context.get(), v1::GetLogLevelRequest(), &level));
  if (!status.ok()) return status;
  return level.level();
}

absl::StatusOr<std::string> Client::SetLogLevel(absl::string_view name) {
  v1::SetLogLevelRequest request;
  request.set_level(std::string(name));
  v1::LogLevel level;
  const auto context = NewContext();
  absl::Status status = FromGrpc(admin()->SetLogLevel(context.get(), request, &level));
  if (!status.ok()) return status;
  return level.level();
}

absl::StatusOr<v1::DrainResponse> Client::Drain(std::optional<absl::Duration> timeout, absl::string_view new_address) {
  v1::DrainRequest request;
  request.set_new_address(std::string(new_address));
  if (timeout) {
    request.mutable_timeout()->set_seconds(absl::ToInt64Seconds(*timeout));
    request.mutable_timeout()->set_nanos(
        static_cast<int32_t>(absl::ToInt64Nanoseconds(*timeout - absl::Trunc(*timeout, absl::Seconds(1)))));
  }
  v1::DrainResponse response;
  const auto context = NewContext();
  absl::Status status = FromGrpc(models()->Drain(context.get(), request, &response));
  if (!status.ok()) return status;
  return response;
}

absl::StatusOr<Session> Client::CreateSession(absl::string_view model, const CreateSessionOptions& options) {
  v1::CreateSessionRequest request;
  request.set_parent(ModelName(model));
  request.set_session_id(options.id);
  request.set_exists_ok(options.exists_ok);
  v1::Session* session = request.mutable_session();
  session->set_model_version(options.model_version);
  session->set_durability(options.durability);
  session->set_pinned(options.pinned);
  session->mutable_labels()->insert(options.labels.begin(), options.labels.end());
  if (options.idle_ttl) {
    absl::Duration rest;
    session->mutable_idle_ttl()->set_seconds(absl::IDivDuration(*options.idle_ttl, absl::Seconds(1), &rest));
    session->mutable_idle_ttl()->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  }
  if (options.expire_time) {
    absl::Duration rest;
    const absl::Duration since = *options.expire_time - absl::UnixEpoch();
    session->mutable_expire_time()->set_seconds(absl::IDivDuration(since, absl::Seconds(1), &rest));
    session->mutable_expire_time()->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  }
  if (options.initial_state) ToProto(*options.initial_state, request.mutable_initial_state());
  v1::Session created;
  absl::Status status = Call(options.exists_ok && !options.id.empty() ? Safety::kRead : Safety::kOnce,
                             [&](Endpoint* endpoint, grpc::ClientContext* context) {
                               return endpoint->sessions->CreateSession(context, request, &created);
                             });
  if (!status.ok()) return status;
  return OpenSession(created.name());
}

absl::StatusOr<Session> Client::ImportSession(absl::string_view model, std::string snapshot,
                                              const ImportSessionOptions& options) {
  v1::ImportSessionRequest request;
  request.set_parent(ModelName(model));
  request.set_session_id(options.id);
  request.mutable_snapshot()->set_data(std::move(snapshot));
  request.set_replace(options.replace);
  request.set_any_weights(options.any_weights);
  v1::Session session;
  const auto context = NewContext();
  absl::Status status = FromGrpc(sessions()->ImportSession(context.get(), request, &session));
  if (!status.ok()) return status;
  return OpenSession(session.name());
}

Session Client::OpenSession(std::string name) { return Session(this, std::move(name)); }

absl::StatusOr<std::vector<v1::Session>> Client::ListSessions(absl::string_view model, size_t limit,
                                                              const std::map<std::string, std::string>& labels) {
  std::vector<v1::Session> sessions;
  v1::ListSessionsRequest request;
  request.set_parent(ModelName(model));
  request.mutable_labels()->insert(labels.begin(), labels.end());
  while (sessions.size() < limit) {
    request.set_page_size(static_cast<int>(std::min<size_t>(kPageSize, limit - sessions.size())));
    v1::ListSessionsResponse page;
    absl::Status status = Call(Safety::kRead, [&](Endpoint* endpoint, grpc::ClientContext* context) {
      return endpoint->sessions->ListSessions(context, request, &page);
    });
    if (!status.ok()) return status;
    for (v1::Session& session : *page.mutable_sessions()) sessions.push_back(std::move(session));
    request.set_page_token(page.next_page_token());
    if (request.page_token().empty()) break;
  }
  return sessions;
}

absl::StatusOr<std::unique_ptr<Watch>> Client::WatchSessions(absl::string_view model,
                                                             const std::vector<v1::SessionEvent::Kind>& kinds) {
  v1::WatchSessionsRequest request;
  request.set_parent(ModelName(model));
  for (const v1::SessionEvent::Kind kind : kinds) request.add_kinds(kind);
  auto context = std::make_unique<grpc::ClientContext>();
  for (const auto& [key, value] : options_.metadata) context->AddMetadata(key, value);
  return Watch::Start(sessions(), std::move(context), request);
}

absl::StatusOr<RunResult> Client::RunSequence(absl::string_view model, const Array& input, const RunOptions& options) {
  v1::RunSequencesRequest request;
  request.set_model(ModelName(model));
  request.set_version(options.model_version);
  v1::Sequence* sequence = request.add_sequences();
  ToTensor(input, sequence->mutable_input());
  sequence->mutable_lengths()->Add(options.lengths.begin(), options.lengths.end());
  sequence->set_time_major(options.time_major);
  sequence->set_output_mode(options.output_mode);
  sequence->set_return_final_state(options.return_final_state);
  if (options.initial_state) ToProto(*options.initial_state, sequence->mutable_initial_state());
  absl::StatusOr<v1::RunSequencesResponse> response = RunSequences(request);
  if (!response.ok()) return response.status();
  const v1::SequenceResult& item = response->results(0);
  if (item.has_error()) return FromProto(item.error());
  absl::StatusOr<Array> output = FromTensor(item.output());
  if (!output.ok()) return output.status();
  RunResult result;
  result.output = *std::move(output);
  result.timing = item.timing();
  result.model_version = response->model_version();
  if (item.has_final_state()) {
    absl::StatusOr<State> state = FromProto(item.final_state());
    if (!state.ok()) return state.status();
    result.final_state = *std::move(state);
  }
  return result;
}

absl::StatusOr<v1::RunSequencesResponse> Client::RunSequences(const v1::RunSequencesRequest& request) {
  v1::RunSequencesResponse response;
  bool stateless = true;
  for (const v1::Sequence& sequence : request.sequences()) stateless &= sequence.session().empty();
  const Safety safety = stateless ? Safety::kRead : Safety::kOnce;
  absl::Status status = Call(safety, [&](Endpoint* endpoint, grpc::ClientContext* context) {
    return endpoint->inference->RunSequences(context, request, &response);
  });
  if (!status.ok()) return status;
  if (response.results_size() != request.sequences_size()) {
    return absl::InternalError(
        absl::StrCat("the server answered ", response.results_size(), " of ", request.sequences_size(), " sequences"));
  }
  return response;
}

absl::StatusOr<v1::StepResponse> Client::Step(const v1::StepRequest& request) {
  v1::StepResponse response;
  // A step that ends its session leaves nobody who would know that it was taken.
  bool numbered = true;
  for (const v1::StepItem& item : request.items()) numbered &= item.seq() != 0 && !item.end_session();
  absl::Status status =
      Call(numbered ? Safety::kNumbered : Safety::kOnce, [&](Endpoint* endpoint, grpc::ClientContext* context) {
        return endpoint->inference->Step(context, request, &response);
      });
  if (!status.ok()) return status;
  if (response.results_size() != request.items_size()) {
    return absl::InternalError(
        absl::StrCat("the server answered ", response.results_size(), " of ", request.items_size(), " steps"));
  }
  return response;
}

void Client::StepAsync(grpc::ClientContext* context, const v1::StepRequest* request, v1::StepResponse* response,
                       std::function<void(absl::Status)> done) {
  inference()->async()->Step(context, request, response,
                             [done = std::move(done)](const grpc::Status& status) { done(FromGrpc(status)); });
}

std::unique_ptr<Stream> Client::OpenStream(StreamOptions options) {
  auto context = std::make_unique<grpc::ClientContext>();
  for (const auto& [key, value] : options_.metadata) context->AddMetadata(key, value);
  return std::make_unique<Stream>(endpoints_->Current()->inference, std::move(context), std::move(options));
}

std::unique_ptr<ResumableStream> Client::OpenResumableStream(ResumeOptions options) {
  const auto new_context = [metadata = options_.metadata] {
    auto context = std::make_unique<grpc::ClientContext>();
    for (const auto& [key, value] : metadata) context->AddMetadata(key, value);
    return context;
  };
  return std::make_unique<ResumableStream>(endpoints_, new_context, std::move(options));
}

}  // namespace lstmd::client
