// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <iostream>
#include <thread>

#include "absl/time/clock.h"
#include "engine/errors.h"
#include "server/errors.h"
#include "server/logging.h"
#include "server/options.h"
#include "server/server.h"
#include "server/version.h"
#include "spdlog/spdlog.h"

namespace lstmd::server {
namespace {

constexpr int kCannotServe = 1;
constexpr int kBadFlag = 2;
constexpr int kNoDevice = 3;
constexpr int kDeviceLost = 4;

int ExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
      return kBadFlag;
    default:
      return GetCause(status).reason == "DEVICE_UNAVAILABLE" ? kNoDevice : kCannotServe;
  }
}

int Complain(const absl::Status& status) {
  std::cerr << "lstmd: " << Printable({status.message().data(), status.message().size()}, 1024) << std::endl;
  return ExitCode(status);
}

// The signal that ends the server, or 0 when a device is lost.
int WaitForEnd(const sigset_t& signals, Server& server) {
  const timespec second = {1, 0};
  while (true) {
    const int received = sigtimedwait(&signals, nullptr, &second);
    if (received > 0) return received;
    if (!server.healthy()) return 0;
  }
}

int Main(int argc, char** argv) {
  // Blocked before the first thread is made, so that all inherit it and only sigwait takes them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  int exit_code = 0;
  std::optional<ServerOptions> options = ParseOptions(argc, argv, std::cout, std::cerr, &exit_code);
  if (!options) return exit_code;
  if (absl::Status status = SetUpLogging(options->log_level, options->log_format); !status.ok()) {
    return Complain(status);
  }
  options->on_drained = [] { kill(getpid(), SIGTERM); };
  absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(*options);
  if (!server.ok()) return Complain(server.status());
  spdlog::info("lstmd {} serves", kVersion);
  for (const std::string& address : (*server)->addresses()) {
    // Scripts wait for this line.
    std::cout << "listening on " << address << std::endl;
  }
  if (const std::string metrics = (*server)->metrics_address(); !metrics.empty()) {
    std::cout << "metrics on http://" << metrics << std::endl;
  }

  const int received = WaitForEnd(signals, **server);
  if (received == 0) {
    spdlog::critical("a device is lost; only a new process can use it again");
    (*server)->Drain(absl::Now() + absl::Seconds(1));
    // Its libraries may hang on the way out.
    spdlog::shutdown();
    _exit(kDeviceLost);
  }
  spdlog::info("{}: finishing what is in flight, for at most {}", received == SIGTERM ? "SIGTERM" : "SIGINT",
               absl::FormatDuration(options->drain_timeout));
  std::thread([signals] {
    int again = 0;
    sigwait(&signals, &again);
    _exit(kCannotServe);
  }).detach();
  const bool clean = (*server)->Drain(absl::Now() + options->drain_timeout);
  if (!clean) spdlog::warn("the time was over before all was answered");
  server->reset();
  spdlog::info("ended");
  return 0;
}

}  // namespace
}  // namespace lstmd::server

int main(int argc, char** argv) { return lstmd::server::Main(argc, argv); }
