// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/fault_proxy.h"

#include <utility>

namespace lstmd {

// One call: a server reactor towards the client, a client reactor towards the server, each of which reads the next
// message when the other has written the last one. Deletes itself when both have ended.
class FaultProxy::Relay {
 public:
  Relay(FaultProxy* proxy, grpc::GenericCallbackServerContext* context) : proxy_(*proxy), down_(this), up_(this) {
    ++proxy_.counts_.calls;
    proxy_.stub_->PrepareBidiStreamingCall(&up_context_, context->method(), grpc::StubOptions(), &up_);
    up_.AddHold();  // for writes from reactions of the other side; removed when nothing can be written any more
    up_.StartRead(&reply_);
    up_.StartCall();
    down_.StartRead(&request_);
  }

  grpc::ServerGenericBidiReactor* reactor() { return &down_; }

 private:
  class Down final : public grpc::ServerGenericBidiReactor {
   public:
    explicit Down(Relay* relay) : relay_(*relay) {}
    void OnReadDone(bool ok) override { relay_.OnRequest(ok); }
    void OnWriteDone(bool ok) override { relay_.OnReplySent(ok); }
    void OnCancel() override { relay_.up_context_.TryCancel(); }
    void OnDone() override { relay_.OnSideDone(); }

   private:
    Relay& relay_;
  };
  class Up final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
   public:
    explicit Up(Relay* relay) : relay_(*relay) {}
    void OnReadDone(bool ok) override { relay_.OnReply(ok); }
    void OnWriteDone(bool ok) override { relay_.OnRequestSent(ok); }
    void OnDone(const grpc::Status& status) override { relay_.OnUpDone(status); }

   private:
    Relay& relay_;
  };

  void OnRequest(bool ok) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (up_closed_) return;
    if (ok) {
      up_.StartWrite(&request_);
    } else {
      up_.StartWritesDone();
    }
  }

  void OnRequestSent(bool ok) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (ok && !finished_) down_.StartRead(&request_);
  }

  void OnReply(bool ok) {
    bool release = false;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!ok) {
        up_closed_ = release = true;
      } else if (!finished_) {
        ++proxy_.counts_.replies;
        switch (proxy_.Judge()) {
          case Verdict::kCut:
            Finish(grpc::Status(grpc::StatusCode::UNAVAILABLE, "cut by the proxy"));
            up_context_.TryCancel();
            break;
          case Verdict::kDrop:
            up_.StartRead(&reply_);
            return;
          case Verdict::kDuplicate:
            again_ = true;
            [[fallthrough]];
          case Verdict::kPass:
            down_.StartWrite(&reply_);
            return;
        }
      }
      // After a cut: reads to the end, which is near.
      if (ok) up_.StartRead(&reply_);
    }
    if (release) up_.RemoveHold();
  }

  void OnReplySent(bool ok) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (ok && !finished_ && std::exchange(again_, false)) {
      down_.StartWrite(&reply_);
    } else {
      up_.StartRead(&reply_);
    }
  }

  void OnUpDone(const grpc::Status& status) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      Finish(status);
    }
    OnSideDone();
  }

  void Finish(const grpc::Status& status) {
    if (!std::exchange(finished_, true)) down_.Finish(status);
  }

  void OnSideDone() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (++sides_done_ < 2) return;
    }
    delete this;
  }

  FaultProxy& proxy_;
  grpc::ClientContext up_context_;
  Down down_;
  Up up_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer reply_;
  std::mutex mutex_;
  bool up_closed_ = false;  // nothing can be written to the server any more
  bool finished_ = false;   // nor to the client
  bool again_ = false;      // the reply is to be given twice
  int sides_done_ = 0;
};

FaultProxy::FaultProxy(const std::string& upstream, uint32_t seed) : random_(seed) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  // A server that restarts is found again at once.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  stub_ = std::make_unique<grpc::GenericStub>(
      grpc::CreateCustomChannel(upstream, grpc::InsecureChannelCredentials(), arguments));
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.SetMaxReceiveMessageSize(-1);
  builder.RegisterCallbackGenericService(&service_);
  server_ = builder.BuildAndStart();
  address_ = "127.0.0.1:" + std::to_string(port);
}

FaultProxy::~FaultProxy() {
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
}

void FaultProxy::SetRates(const FaultRates& rates) {
  std::lock_guard<std::mutex> lock(mutex_);
  rates_ = rates;
}

FaultProxy::Verdict FaultProxy::Judge() {
  std::lock_guard<std::mutex> lock(mutex_);
  const double drawn = std::uniform_real_distribution<double>(0, 1)(random_);
  if (drawn < rates_.cut) {
    ++counts_.cuts;
    return Verdict::kCut;
  }
  if (drawn < rates_.cut + rates_.drop) {
    ++counts_.drops;
    return Verdict::kDrop;
  }
  if (drawn < rates_.cut + rates_.drop + rates_.duplicate) {
    ++counts_.duplicates;
    return Verdict::kDuplicate;
  }
  return Verdict::kPass;
}

grpc::ServerGenericBidiReactor* FaultProxy::Service::CreateReactor(grpc::GenericCallbackServerContext* context) {
  return (new Relay(proxy_, context))->reactor();
}

}  // namespace lstmd
