// SPDX-License-Identifier: Apache-2.0
#include "client/session.h"

#include "client/client.h"
#include "client/error.h"

namespace lstmd::client {

absl::StatusOr<std::vector<float>> Session::Step(absl::Span<const float> input) {
  v1::StepRequest request;
  v1::StepItem* item = request.add_items();
  item->set_session(name_);
  const int64_t shape[] = {static_cast<int64_t>(input.size())};
  ToTensor(input, shape, item->mutable_input());
  absl::StatusOr<v1::StepResponse> response = client_->Step(request);
  if (!response.ok()) return response.status();
  std::vector<float> output;
  if (absl::Status status = ReadTensor(response->results(0).output(), &output); !status.ok()) return status;
  return output;
}

absl::StatusOr<StepOutput> Session::Step(const Array& input, const StepOptions& options) {
  v1::StepRequest request;
  v1::StepItem* item = request.add_items();
  item->set_session(name_);
  item->set_seq(options.seq);
  item->set_epoch(options.epoch);
  item->set_return_state(options.return_state);
  item->set_create_if_missing(options.create_if_missing);
  item->set_end_session(options.end_session);
  ToTensor(input, item->mutable_input());
  absl::StatusOr<v1::StepResponse> response = client_->Step(request);
  if (!response.ok()) return response.status();
  const v1::StepResult& result = response->results(0);
  StepOutput output;
  output.seq = result.seq();
  output.epoch = result.epoch();
  output.durable_seq = result.durable_seq();
  output.replayed = result.replayed();
  absl::StatusOr<Array> values = FromTensor(result.output());
  if (!values.ok()) return values.status();
  output.output = *std::move(values);
  if (result.has_state()) {
    absl::StatusOr<State> state = FromProto(result.state());
    if (!state.ok()) return state.status();
    output.state = *std::move(state);
  }
  return output;
}

absl::StatusOr<v1::Session> Session::Get() {
  v1::GetSessionRequest request;
  request.set_name(name_);
  v1::Session session;
  absl::Status status = client_->Call(Safety::kRead, [&](Endpoint* endpoint, grpc::ClientContext* context) {
    return endpoint->sessions->GetSession(context, request, &session);
  });
  if (!status.ok()) return status;
  return session;
}

absl::StatusOr<State> Session::GetState() {
  v1::GetSessionRequest request;
  request.set_name(name_);
  request.set_include_state(true);
  v1::Session session;
  absl::Status status = client_->Call(Safety::kRead, [&](Endpoint* endpoint, grpc::ClientContext* context) {
    return endpoint->sessions->GetSession(context, request, &session);
  });
  if (!status.ok()) return status;
  return FromProto(session.state());
}

absl::Status Session::SetState(const State& state) {
  v1::UpdateSessionRequest request;
  request.mutable_session()->set_name(name_);
  ToProto(state, request.mutable_session()->mutable_state());
  request.mutable_update_mask()->add_paths("state");
  v1::Session session;
  const auto context = client_->NewContext();
  return FromGrpc(client_->sessions()->UpdateSession(context.get(), request, &session));
}

absl::StatusOr<v1::Session> Session::Checkpoint() {
  v1::CheckpointSessionRequest request;
  request.set_name(name_);
  v1::Session session;
  const auto context = client_->NewContext();
  absl::Status status = FromGrpc(client_->sessions()->CheckpointSession(context.get(), request, &session));
  if (!status.ok()) return status;
  return session;
}

absl::StatusOr<v1::Session> Session::Reset(const std::optional<State>& initial_state) {
  v1::ResetSessionRequest request;
  request.set_name(name_);
  if (initial_state) ToProto(*initial_state, request.mutable_initial_state());
  v1::Session session;
  const auto context = client_->NewContext();
  absl::Status status = FromGrpc(client_->sessions()->ResetSession(context.get(), request, &session));
  if (!status.ok()) return status;
  return session;
}

absl::StatusOr<Session> Session::Fork(const std::string& id) {
  v1::ForkSessionRequest request;
  request.set_name(name_);
  request.set_session_id(id);
  v1::Session session;
  const auto context = client_->NewContext();
  absl::Status status = FromGrpc(client_->sessions()->ForkSession(context.get(), request, &session));
  if (!status.ok()) return status;
  return Session(client_, session.name());
}

absl::StatusOr<v1::SessionSnapshot> Session::Export() {
  v1::ExportSessionRequest request;
  request.set_name(name_);
  v1::SessionSnapshot snapshot;
  const auto context = client_->NewContext();
  absl::Status status = FromGrpc(client_->sessions()->ExportSession(context.get(), request, &snapshot));
  if (!status.ok()) return status;
  return snapshot;
}

absl::Status Session::Delete(bool allow_missing) {
  v1::DeleteSessionRequest request;
  request.set_name(name_);
  request.set_allow_missing(allow_missing);
  google::protobuf::Empty empty;
  const auto context = client_->NewContext();
  return FromGrpc(client_->sessions()->DeleteSession(context.get(), request, &empty));
}

}  // namespace lstmd::client
