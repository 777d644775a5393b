// SPDX-License-Identifier: Apache-2.0
//
// Servers of lstmd.v1 that do as a test says: sessions that count, shared by several servers as over one store, and a
// script for what goes wrong.
#ifndef LSTMD_TESTS_CLIENT_FAKE_LSTMD_H_
#define LSTMD_TESTS_CLIENT_FAKE_LSTMD_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/grpcpp.h"
#include "lstmd/v1/inference_service.grpc.pb.h"
#include "lstmd/v1/model_service.grpc.pb.h"
#include "lstmd/v1/session_service.grpc.pb.h"

namespace lstmd {

// An error as servers make it.
google::rpc::Status FakeError(absl::StatusCode code, const std::string& reason,
                              const std::map<std::string, std::string>& metadata = {},
                              absl::Duration retry_after = absl::ZeroDuration());

// state' = state / 2 + input; the output is the new state. Numbers as the contract has them.
struct FakeSession {
  std::string uid;
  uint64_t epoch = 1;
  uint64_t last_seq = 0;
  uint64_t durable_seq = 0;
  float state = 0;
  v1::Session::Durability durability = v1::Session::NONE;
  std::map<uint64_t, float> outputs;  // of every step ever applied
  uint64_t applied = 0;               // times that a step was applied
};

// What the servers share. The lock is for scripts too, which are called with it.
struct FakeStore {
  std::mutex mutex;
  std::map<std::string, FakeSession> sessions;
  int next_uid = 0;

  FakeSession& Create(const std::string& name, v1::Session::Durability durability = v1::Session::NONE);
  // Back to an earlier step, as after a crash: next epoch.
  void Restore(FakeSession* session, uint64_t seq);
};

// What becomes of one step.
enum class Fault {
  kNone,
  kDropReply,       // applied, not answered
  kDuplicateReply,  // answered twice
  kBreakBefore,     // the stream ends, the step was not applied
  kBreakAfter,      // the stream ends, the step was applied
};

class FakeLstmd final : public v1::InferenceService::Service {
 public:
  explicit FakeLstmd(std::shared_ptr<FakeStore> store);
  ~FakeLstmd() override;

  const std::string& address() const { return address_; }
  std::shared_ptr<FakeStore> store() const { return store_; }

  // Scripts, set before they can be called or, those of Binds, under the store's mutex. `seq` is the number as the step
  // comes in.
  std::function<Fault(const std::string& session, uint64_t seq)> fault;
  // A status with a code refuses the step or bind; the step was not applied.
  std::function<google::rpc::Status(const std::string& session, uint64_t seq)> refuse_step;
  std::function<google::rpc::Status(const v1::Bind&)> refuse_bind;
  // False: the bind is not answered.
  std::function<bool(const v1::Bind&)> answer_bind;
  // May change what a Bound says.
  std::function<void(v1::Session*)> spoil_bound;
  std::function<grpc::Status(const std::string& session)> checkpoint;
  // What is sent before anything else of a new stream.
  std::function<v1::StreamStepsResponse()> greeting;
  // After the answers to each frame; may add to what is sent.
  std::function<void(v1::StreamStepsResponse*)> after_frame;

  using ServerStream = grpc::ServerReaderWriter<v1::StreamStepsResponse, v1::StreamStepsRequest>;
  grpc::Status StreamSteps(grpc::ServerContext* context, ServerStream* stream) override;
  grpc::Status Step(grpc::ServerContext* context, const v1::StepRequest* request, v1::StepResponse* response) override;

 private:
  class Models final : public v1::ModelService::Service {
    grpc::Status GetServerInfo(grpc::ServerContext*, const v1::GetServerInfoRequest*, v1::ServerInfo*) override {
      return grpc::Status::OK;
    }
  };

  class Sessions final : public v1::SessionService::Service {
   public:
    explicit Sessions(FakeLstmd* server) : server_(server) {}
    grpc::Status CheckpointSession(grpc::ServerContext*, const v1::CheckpointSessionRequest* request,
                                   v1::Session*) override {
      std::lock_guard<std::mutex> lock(server_->store_->mutex);
      return server_->checkpoint ? server_->checkpoint(request->name()) : grpc::Status::OK;
    }

   private:
    FakeLstmd* const server_;
  };

  // The rules of sequence numbers. OK: *output is that of the step, *replayed whether it was applied before.
  google::rpc::Status Apply(const std::string& name, uint64_t seq, uint64_t epoch, float input, float* output,
                            bool* replayed);

  const std::shared_ptr<FakeStore> store_;
  Models models_;
  Sessions session_service_{this};
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

}  // namespace lstmd

#endif  // LSTMD_TESTS_CLIENT_FAKE_LSTMD_H_
