// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/oip_checker.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/grpcpp.h"

namespace lstmd {
namespace {

using inference::ModelInferRequest;
using inference::ModelInferResponse;

constexpr auto kPatience = std::chrono::seconds(60);

std::unique_ptr<grpc::ClientContext> Context() {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + kPatience);
  return context;
}

// Of the ErrorInfo, "" if there is none.
std::string ReasonOf(const grpc::Status& status) {
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) return "";
  for (const google::protobuf::Any& detail : details.details()) {
    google::rpc::ErrorInfo info;
    if (detail.UnpackTo(&info) && info.domain() == "lstmd") return info.reason();
  }
  return "";
}

std::string CheckRefusal(const grpc::Status& status, const std::string& reason) {
  if (reason.empty()) {
    return absl::StrCat("refused without a reason: ", status.error_code(), " ", status.error_message());
  }
  // Nothing in a request is the server's fault.
  for (const grpc::StatusCode code : {grpc::StatusCode::INTERNAL, grpc::StatusCode::UNKNOWN,
                                      grpc::StatusCode::UNAVAILABLE, grpc::StatusCode::DATA_LOSS}) {
    if (status.error_code() == code) return absl::StrCat(reason, " with code ", code, ": ", status.error_message());
  }
  if (status.error_message().size() < 10 || status.error_message().size() > 2048) {
    return absl::StrCat("a message of ", status.error_message().size(), " bytes: ", status.error_message());
  }
  return "";
}

std::string CheckResponse(const ModelInferRequest& request, const ModelInferResponse& response) {
  if (response.id() != request.id()) return "another id";
  if (response.model_name() != request.model_name() || response.model_version() != "1") return "another model";
  const int outputs = std::max(1, request.outputs_size());
  if (response.outputs_size() != outputs || response.raw_output_contents_size() != outputs) {
    return absl::StrCat("got ", response.outputs_size(), " outputs with ", response.raw_output_contents_size(),
                        " contents, want ", outputs);
  }
  for (int i = 0; i < outputs; ++i) {
    const auto& output = response.outputs(i);
    if (request.outputs_size() != 0 && output.name() != request.outputs(i).name()) return "another output";
    uint64_t bytes = output.datatype() == "FP32" ? 4 : 2;
    for (const int64_t dim : output.shape()) bytes *= static_cast<uint64_t>(dim);
    if (bytes != response.raw_output_contents(i).size()) {
      return absl::StrCat(output.name(), ": got ", response.raw_output_contents(i).size(), " bytes, want ", bytes);
    }
  }
  return "";
}

ModelInferRequest GoodStep(bool start) {
  ModelInferRequest request;
  request.set_model_name("m");
  (*request.mutable_parameters())["sequence_id"].set_int64_param(1);
  (*request.mutable_parameters())["sequence_start"].set_bool_param(start);
  auto& input = *request.add_inputs();
  input.set_name("INPUT");
  input.set_datatype("FP32");
  input.add_shape(1);
  input.add_shape(3);
  request.add_raw_input_contents(std::string(12, '\0'));
  return request;
}

}  // namespace

OipChecker::OipChecker(const std::string& address) {
  const std::shared_ptr<grpc::Channel> channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  stub_ = inference::GRPCInferenceService::NewStub(channel);
  sessions_ = v1::SessionService::NewStub(channel);
}

std::optional<v1::Session> OipChecker::First() {
  v1::GetSessionRequest request;
  request.set_name("models/m/sessions/seq-1");
  v1::Session session;
  if (!sessions_->GetSession(Context().get(), request, &session).ok()) return std::nullopt;
  return session;
}

void OipChecker::Restart() {
  v1::ListSessionsRequest list;
  list.set_parent("models/-");
  v1::ListSessionsResponse sessions;
  if (!sessions_->ListSessions(Context().get(), list, &sessions).ok()) std::abort();
  for (const v1::Session& session : sessions.sessions()) {
    v1::DeleteSessionRequest request;
    request.set_name(session.name());
    google::protobuf::Empty none;
    if (!sessions_->DeleteSession(Context().get(), request, &none).ok()) std::abort();
  }
  ModelInferResponse response;
  if (!stub_->ModelInfer(Context().get(), GoodStep(true), &response).ok()) std::abort();
  epoch_ = First()->epoch();
}

std::string OipChecker::Check(const ModelInferRequest& request) {
  Restart();
  Outcome alone = Alone(request);
  if (alone.problem.empty()) alone.problem = CheckSequence(alone, request);
  if (!alone.problem.empty()) return absl::StrCat("alone: ", alone.problem);
  Restart();
  Outcome streamed = InStream(request);
  if (streamed.problem.empty()) streamed.problem = CheckSequence(streamed, request);
  if (!streamed.problem.empty()) return absl::StrCat("in a stream: ", streamed.problem);
  // One of the two may have met its timeout.
  const bool late = alone.reason == "DEADLINE" || streamed.reason == "DEADLINE";
  if (!late && alone.reason != streamed.reason)
    return absl::StrCat("alone ", alone.reason, ", in a stream ", streamed.reason);
  for (int i = 0; !late && i < alone.response.raw_output_contents_size(); ++i) {
    if (alone.response.raw_output_contents(i) != streamed.response.raw_output_contents(i)) return "two results";
  }
  ++(alone.reason.empty() ? answered_ : refused_);
  return "";
}

OipChecker::Outcome OipChecker::Alone(const ModelInferRequest& request) {
  Outcome outcome;
  const grpc::Status status = stub_->ModelInfer(Context().get(), request, &outcome.response);
  if (status.ok()) {
    outcome.problem = CheckResponse(request, outcome.response);
  } else {
    outcome.reason = ReasonOf(status);
    outcome.problem = CheckRefusal(status, outcome.reason);
  }
  return outcome;
}

// With a good step behind it: the stream goes on.
OipChecker::Outcome OipChecker::InStream(const ModelInferRequest& request) {
  Outcome outcome;
  const std::unique_ptr<grpc::ClientContext> context = Context();
  const auto stream = stub_->ModelStreamInfer(context.get());
  ModelInferRequest next = GoodStep(true);
  next.set_id("next");
  (*next.mutable_parameters())["sequence_id"].set_int64_param(2);
  stream->Write(request);
  stream->Write(next);
  stream->WritesDone();
  int replies = 0;
  inference::ModelStreamInferResponse reply;
  for (bool first = true; stream->Read(&reply); ++replies) {
    const std::string& error = reply.error_message();
    // The two may come in any order, and have one id.
    if (reply.infer_response().id() == "next" && (request.id() != "next" || !first)) {
      if (!error.empty()) outcome.problem = absl::StrCat("the next one: ", error);
      continue;
    }
    first = false;
    if (error.empty()) {
      outcome.problem = CheckResponse(request, reply.infer_response());
      outcome.response = reply.infer_response();
      continue;
    }
    const size_t end = error.find("] ");
    if (error[0] != '[' || end == std::string::npos) {
      outcome.problem = absl::StrCat("an error without a reason: ", error);
    } else {
      outcome.reason = error.substr(1, end - 1);
    }
    if (reply.infer_response().id() != request.id()) outcome.problem = "an error with another id";
  }
  const grpc::Status status = stream->Finish();
  if (!status.ok()) outcome.problem = absl::StrCat("the stream ended: ", status.error_message());
  if (status.ok() && replies != 2) outcome.problem = absl::StrCat("got ", replies, " replies to 2 requests");
  return outcome;
}

std::string OipChecker::CheckSequence(const Outcome& outcome, const ModelInferRequest& request) {
  if (outcome.reason.empty()) return "";
  const std::optional<v1::Session> session = First();
  if (!session) return absl::StrCat(outcome.reason, " has ended the sequence");
  const auto start = request.parameters().find("sequence_start");
  const bool may_restart = start != request.parameters().end() && start->second.bool_param();
  if (session->steps() == 1 && session->epoch() == epoch_) return "";
  // It starts before its step is judged: a number that is not the first, or no time left.
  if (may_restart && session->steps() == 0) return "";
  return absl::StrCat(outcome.reason, " has changed the sequence: ", session->steps(), " steps");
}

}  // namespace lstmd
