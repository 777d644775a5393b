// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/echo/echo_server.h"

#include <deque>
#include <mutex>
#include <utility>

#include "echo.grpc.pb.h"
#include "grpcpp/server_builder.h"

namespace lstmd::bench {
namespace {

// Reads on while it writes, as a server with many steps in flight on one stream does; messages keep their memory.
class EchoStream final : public grpc::ServerBidiReactor<Message, Message> {
 public:
  EchoStream() { StartRead(&in_); }

  void OnReadDone(bool ok) override {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!ok) {
        reads_done_ = true;
        if (writing_) return;
      } else {
        waiting_.emplace_back(std::move(spare_));
        waiting_.back().Swap(&in_);
        spare_ = Message();
      }
    }
    if (!ok) {
      Finish(grpc::Status::OK);
      return;
    }
    Write();
    StartRead(&in_);
  }
  void OnWriteDone(bool) override {
    bool finish = false;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      writing_ = false;
      spare_.Swap(&out_);
      finish = reads_done_ && waiting_.empty();
    }
    if (finish) {
      Finish(grpc::Status::OK);
    } else {
      Write();
    }
  }
  void OnDone() override { delete this; }

 private:
  void Write() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (writing_ || waiting_.empty()) return;
      writing_ = true;
      out_.Swap(&waiting_.front());
      waiting_.pop_front();
    }
    StartWrite(&out_);
  }

  Message in_, out_;
  std::mutex mutex_;
  std::deque<Message> waiting_;
  Message spare_;
  bool writing_ = false;
  bool reads_done_ = false;
};

class EchoService final : public Echo::CallbackService {
  grpc::ServerUnaryReactor* Unary(grpc::CallbackServerContext* context, const Message* in, Message* out) override {
    *out = *in;
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  grpc::ServerBidiReactor<Message, Message>* Stream(grpc::CallbackServerContext*) override { return new EchoStream; }
};

}  // namespace

std::unique_ptr<grpc::Server> StartEchoServer(const std::string& address, int* port) {
  static auto* service = new EchoService;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), port);
  builder.RegisterService(service);
  return builder.BuildAndStart();
}

}  // namespace lstmd::bench
