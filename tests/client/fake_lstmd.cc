// SPDX-License-Identifier: Apache-2.0
#include "tests/client/fake_lstmd.h"

#include <cstring>

#include "google/rpc/error_details.pb.h"

namespace lstmd {
namespace {

float InputOf(const v1::Tensor& tensor, size_t index) {
  float value = 0;
  std::memcpy(&value, tensor.data().data() + index * sizeof value, sizeof value);
  return value;
}

void SetOutput(float value, std::vector<int64_t> shape, v1::Tensor* tensor) {
  tensor->set_dtype(v1::DATA_TYPE_F32);
  for (const int64_t size : shape) tensor->add_shape(size);
  tensor->mutable_data()->assign(reinterpret_cast<const char*>(&value), sizeof value);
}

grpc::Status ToGrpc(const google::rpc::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), status.message(), status.SerializeAsString());
}

}  // namespace

google::rpc::Status FakeError(absl::StatusCode code, const std::string& reason,
                              const std::map<std::string, std::string>& metadata, absl::Duration retry_after) {
  google::rpc::Status status;
  status.set_code(static_cast<int>(code));
  status.set_message("made by a test: " + reason);
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("lstmd");
  info.mutable_metadata()->insert(metadata.begin(), metadata.end());
  status.add_details()->PackFrom(info);
  if (retry_after > absl::ZeroDuration()) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(retry_after)));
    status.add_details()->PackFrom(retry);
  }
  return status;
}

FakeSession& FakeStore::Create(const std::string& name, v1::Session::Durability durability) {
  FakeSession& session = sessions[name];
  session = FakeSession();
  session.uid = "uid-" + std::to_string(++next_uid);
  session.durability = durability;
  return session;
}

void FakeStore::Restore(FakeSession* session, uint64_t seq) {
  session->last_seq = seq;
  session->state = seq == 0 ? 0 : session->outputs[seq];
  ++session->epoch;
}

FakeLstmd::FakeLstmd(std::shared_ptr<FakeStore> store) : store_(std::move(store)) {
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(this);
  builder.RegisterService(&models_);
  builder.RegisterService(&session_service_);
  server_ = builder.BuildAndStart();
  address_ = "127.0.0.1:" + std::to_string(port);
}

FakeLstmd::~FakeLstmd() { server_->Shutdown(std::chrono::system_clock::now()); }

google::rpc::Status FakeLstmd::Apply(const std::string& name, uint64_t seq, uint64_t epoch, float input, float* output,
                                     bool* replayed) {
  if (refuse_step) {
    google::rpc::Status refused = refuse_step(name, seq);
    if (refused.code() != 0) return refused;
  }
  const auto found = store_->sessions.find(name);
  if (found == store_->sessions.end()) return FakeError(absl::StatusCode::kNotFound, "SESSION_NOT_FOUND");
  FakeSession& session = found->second;
  if (epoch != 0 && epoch != session.epoch) return FakeError(absl::StatusCode::kAborted, "SESSION_FENCED");
  if (seq > session.last_seq + 1) {
    return FakeError(absl::StatusCode::kOutOfRange, "STEP_GAP",
                     {{"expected_seq", std::to_string(session.last_seq + 1)}});
  }
  *replayed = seq <= session.last_seq;
  if (!*replayed) {
    session.state = session.state / 2 + input;
    session.last_seq = seq;
    session.outputs[seq] = session.state;
    ++session.applied;
    if (session.durability == v1::Session::EVERY_STEP) session.durable_seq = seq;
  }
  *output = session.outputs[seq];
  return google::rpc::Status();
}

grpc::Status FakeLstmd::StreamSteps(grpc::ServerContext*, ServerStream* stream) {
  std::map<uint32_t, std::pair<std::string, uint64_t>> bound;  // name, epoch
  if (greeting) stream->Write(greeting());
  v1::StreamStepsRequest request;
  while (stream->Read(&request)) {
    v1::StreamStepsResponse response;
    std::unique_lock<std::mutex> lock(store_->mutex);
    for (const v1::Bind& bind : request.binds()) {
      google::rpc::Status error;
      if (refuse_bind) error = refuse_bind(bind);
      const bool exists = store_->sessions.count(bind.session()) != 0;
      if (error.code() == 0 && !exists) {
        if (bind.create_if_missing()) {
          store_->Create(bind.session());
        } else {
          error = FakeError(absl::StatusCode::kNotFound, "SESSION_NOT_FOUND");
        }
      }
      const FakeSession* session = error.code() == 0 ? &store_->sessions[bind.session()] : nullptr;
      if (session != nullptr && bind.epoch() != 0 && bind.epoch() != session->epoch) {
        error = FakeError(absl::StatusCode::kAborted, "SESSION_FENCED");
      }
      if (error.code() != 0) {
        v1::StepFailure* failure = response.add_failures();
        failure->set_handle(bind.handle());
        *failure->mutable_error() = error;
        continue;
      }
      bound[bind.handle()] = {bind.session(), bind.epoch()};
      if (answer_bind && !answer_bind(bind)) continue;
      v1::Bound* answer = response.add_bound();
      answer->set_handle(bind.handle());
      answer->set_input_size(1);
      answer->set_output_size(1);
      v1::Session* proto = answer->mutable_session();
      proto->set_name(bind.session());
      proto->set_uid(session->uid);
      proto->set_epoch(session->epoch);
      proto->set_last_seq(session->last_seq);
      proto->set_durability(session->durability);
      proto->set_durable_seq(session->durable_seq);
      if (spoil_bound) spoil_bound(proto);
    }
    for (const v1::StepBlock& block : request.steps()) {
      for (int k = 0; k < block.handles_size(); ++k) {
        const auto& [name, epoch] = bound[block.handles(k)];
        const Fault what = fault ? fault(name, block.seqs(k)) : Fault::kNone;
        if (what == Fault::kBreakBefore) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "broken by a test");
        float output = 0;
        bool replayed = false;
        const google::rpc::Status error =
            Apply(name, block.seqs(k), epoch, InputOf(block.input(), static_cast<size_t>(k)), &output, &replayed);
        if (what == Fault::kBreakAfter) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "broken by a test");
        if (what == Fault::kDropReply) continue;
        if (error.code() != 0) {
          v1::StepFailure* failure = response.add_failures();
          failure->set_handle(block.handles(k));
          failure->set_steps_id(block.id());
          failure->set_seq(block.seqs(k));
          *failure->mutable_error() = error;
          continue;
        }
        for (int copy = 0; copy < (what == Fault::kDuplicateReply ? 2 : 1); ++copy) {
          v1::ResultBlock* result = response.add_results();
          result->add_ids(block.id());
          result->add_handles(block.handles(k));
          result->add_seqs(block.seqs(k));
          result->add_replayed(replayed);
          result->add_durable_seqs(store_->sessions[name].durable_seq);
          SetOutput(output, {1, 1}, result->mutable_output());
        }
      }
    }
    for (const v1::Unbind& unbind : request.unbinds()) {
      const std::string name = bound[unbind.handle()].first;
      bound.erase(unbind.handle());
      if (!unbind.delete_session()) continue;
      if (store_->sessions.erase(name) != 0) {
        v1::SessionEvent* event = response.add_events();
        event->set_session(name);
        event->set_kind(v1::SessionEvent::DELETED);
      } else {
        v1::StepFailure* failure = response.add_failures();
        failure->set_handle(unbind.handle());
        *failure->mutable_error() = FakeError(absl::StatusCode::kNotFound, "SESSION_NOT_FOUND");
      }
    }
    if (after_frame) after_frame(&response);
    lock.unlock();
    stream->Write(response);
  }
  return grpc::Status::OK;
}

grpc::Status FakeLstmd::Step(grpc::ServerContext*, const v1::StepRequest* request, v1::StepResponse* response) {
  std::lock_guard<std::mutex> lock(store_->mutex);
  const v1::StepItem& item = request->items(0);
  const Fault what = fault ? fault(item.session(), item.seq()) : Fault::kNone;
  const grpc::Status broken(grpc::StatusCode::UNAVAILABLE, "broken by a test");
  if (what == Fault::kBreakBefore) return broken;
  float output = 0;
  bool replayed = false;
  const google::rpc::Status error =
      Apply(item.session(), item.seq(), item.epoch(), InputOf(item.input(), 0), &output, &replayed);
  if (what == Fault::kBreakAfter) return broken;
  if (error.code() != 0) return ToGrpc(error);
  v1::StepResult* result = response->add_results();
  SetOutput(output, {1}, result->mutable_output());
  result->set_seq(item.seq());
  result->set_replayed(replayed);
  return grpc::Status::OK;
}

}  // namespace lstmd
