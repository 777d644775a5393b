// SPDX-License-Identifier: Apache-2.0
//
// The ceiling that gRPC sets: `lstmd_echo serve` in one process, `lstmd_echo load` in another, with the message sizes
// and numbers in flight of the server that is compared with it. Closed loop: a reply sends the next message.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "echo.grpc.pb.h"
#include "grpcpp/create_channel.h"
#include "nlohmann/json.hpp"
#include "tests/bench/echo/echo_server.h"

namespace lstmd::bench {
namespace {

using Clock = std::chrono::steady_clock;

struct Load {
  std::string address;
  bool unary = false;
  size_t bytes = 512;
  int streams = 1;    // or callers
  int in_flight = 1;  // on each
  double seconds = 2;
};

constexpr auto kWarmUp = std::chrono::milliseconds(200);

// When to count and when to stop, and how many calls have not stopped yet.
class Course {
 public:
  Course(const Load& load, int calls)
      : from_(Clock::now() + kWarmUp),
        until_(from_ + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(load.seconds))),
        open_(calls) {}

  bool Counts(Clock::time_point sent, Clock::time_point received) const { return sent >= from_ && received < until_; }
  bool IsOver(Clock::time_point now) const { return now >= until_; }
  void Stopped() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (--open_ == 0) over_.notify_all();
  }
  void Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    over_.wait(lock, [this] { return open_ == 0; });
  }

 private:
  const Clock::time_point from_, until_;
  std::mutex mutex_;
  std::condition_variable over_;
  int open_;
};

float Micros(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<float, std::micro>(to - from).count();
}

// Messages come back in order, so the times of sending are a ring.
class StreamCall final : public grpc::ClientBidiReactor<Message, Message> {
 public:
  StreamCall(Echo::Stub* stub, const Load& load, Course* course)
      : course_(course), sent_(load.in_flight), to_send_(load.in_flight) {
    out_.set_payload(std::string(load.bytes, 'x'));
    stub->async()->Stream(&context_, this);
    StartRead(&in_);
    AddHold();
    Write();
    StartCall();
  }
  void OnReadDone(bool ok) override {
    if (!ok) return End();
    const Clock::time_point now = Clock::now();
    bool end = false;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      const Clock::time_point sent = sent_[received_++ % sent_.size()];
      if (course_->Counts(sent, now)) micros_.push_back(Micros(sent, now));
      if (!course_->IsOver(now)) ++to_send_;
      end = received_ == written_ && to_send_ == 0;
    }
    if (end) return End();
    Write();
    StartRead(&in_);
  }
  void OnWriteDone(bool ok) override {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      writing_ = false;
      if (!ok) return;
    }
    Write();
  }
  std::vector<float> TakeMicros() {
    std::lock_guard<std::mutex> lock(mutex_);
    return std::move(micros_);
  }

 private:
  void Write() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (writing_ || to_send_ == 0) return;
      writing_ = true;
      --to_send_;
      sent_[written_++ % sent_.size()] = Clock::now();
    }
    StartWrite(&out_);
  }
  void End() {
    course_->Stopped();
    context_.TryCancel();
    RemoveHold();
  }

  Course* const course_;
  grpc::ClientContext context_;
  Message in_, out_;
  std::mutex mutex_;
  std::vector<Clock::time_point> sent_;
  size_t written_ = 0, received_ = 0;
  int to_send_;
  bool writing_ = false;
  std::vector<float> micros_;
};

class UnaryCall {
 public:
  UnaryCall(Echo::Stub* stub, const Load& load, Course* course) : stub_(stub), course_(course) {
    out_.set_payload(std::string(load.bytes, 'x'));
    Send();
  }
  std::vector<float> TakeMicros() {
    std::lock_guard<std::mutex> lock(mutex_);
    return std::move(micros_);
  }

 private:
  void Send() {
    context_ = std::make_unique<grpc::ClientContext>();
    sent_ = Clock::now();
    stub_->async()->Unary(context_.get(), &out_, &in_, [this](const grpc::Status& status) {
      const Clock::time_point now = Clock::now();
      if (status.ok() && course_->Counts(sent_, now)) {
        std::lock_guard<std::mutex> lock(mutex_);
        micros_.push_back(Micros(sent_, now));
      }
      if (!status.ok() || course_->IsOver(now)) return course_->Stopped();
      Send();
    });
  }

  Echo::Stub* const stub_;
  Course* const course_;
  std::unique_ptr<grpc::ClientContext> context_;
  Message in_, out_;
  Clock::time_point sent_;
  std::mutex mutex_;
  std::vector<float> micros_;
};

template <typename Call>
std::vector<float> Measure(Echo::Stub* stub, const Load& load, int calls) {
  Course* const course = new Course(load, calls);
  std::vector<Call*> running;  // with the course left to the end of the process: gRPC still has them
  for (int k = 0; k < calls; ++k) running.push_back(new Call(stub, load, course));
  course->Wait();
  std::vector<float> micros;
  for (Call* call : running) {
    const std::vector<float> some = call->TakeMicros();
    micros.insert(micros.end(), some.begin(), some.end());
  }
  std::sort(micros.begin(), micros.end());
  return micros;
}

int RunLoad(const Load& load) {
  const auto stub = Echo::NewStub(grpc::CreateChannel(load.address, grpc::InsecureChannelCredentials()));
  const std::vector<float> micros = load.unary ? Measure<UnaryCall>(stub.get(), load, load.streams * load.in_flight)
                                               : Measure<StreamCall>(stub.get(), load, load.streams);
  if (micros.empty()) {
    std::cerr << "lstmd_echo: no replies from " << load.address << "\n";
    return 1;
  }
  const auto at = [&](double quantile) { return micros[static_cast<size_t>(quantile * (micros.size() - 1))]; };
  std::cout << nlohmann::json{{"mode", load.unary ? "unary" : "stream"},
                              {"bytes", load.bytes},
                              {"streams", load.streams},
                              {"in_flight", load.in_flight},
                              {"messages_per_second", static_cast<double>(micros.size()) / load.seconds},
                              {"latency_us", {{"p50", at(0.5)}, {"p90", at(0.9)}, {"p99", at(0.99)}}}}
                   .dump()
            << std::endl;
  std::_Exit(0);
}

int Serve(const std::string& address) {
  int port = 0;
  const std::unique_ptr<grpc::Server> server = StartEchoServer(address, &port);
  if (server == nullptr) {
    std::cerr << "lstmd_echo: cannot listen on " << address << "\n";
    return 1;
  }
  std::cout << "listening on port " << port << std::endl;
  server->Wait();
  return 0;
}

}  // namespace
}  // namespace lstmd::bench

int main(int argc, char** argv) {
  CLI::App app("A gRPC service that computes nothing, and its load generator.");
  app.require_subcommand(1);
  std::string address = "127.0.0.1:0";
  CLI::App* serve = app.add_subcommand("serve", "Echo messages; says its port");
  serve->add_option("--listen", address, "Address")->capture_default_str();
  lstmd::bench::Load load;
  CLI::App* client = app.add_subcommand("load", "Load an echo server, and print messages/s and latency as JSON");
  client->add_option("address", load.address, "Of the server")->required();
  client->add_flag("--unary", load.unary, "Calls instead of streams");
  client->add_option("--bytes", load.bytes, "Of a message's payload")->capture_default_str();
  client->add_option("--streams", load.streams, "Streams, or callers")
      ->capture_default_str()
      ->check(CLI::Range(1, 10000));
  client->add_option("--in-flight", load.in_flight, "On each stream")
      ->capture_default_str()
      ->check(CLI::Range(1, 10000));
  client->add_option("--seconds", load.seconds, "To measure")->capture_default_str()->check(CLI::Range(0.01, 1000.0));
  CLI11_PARSE(app, argc, argv);
  return *serve ? lstmd::bench::Serve(address) : lstmd::bench::RunLoad(load);
}
