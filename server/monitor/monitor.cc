// SPDX-License-Identifier: Apache-2.0
#include "server/monitor/monitor.h"

#include <sys/socket.h>

#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "engine/errors.h"
#include "google/protobuf/util/json_util.h"
#include "httplib.h"
#include "server/convert_model.h"
#include "server/monitor/exposition.h"
#include "server/monitor/stats.h"
#include "server/monitor/status_files.h"

namespace lstmd::server {
namespace {

// A connection has a thread to itself, so each is for one request only: open pages must not keep the probes out. One
// that says nothing holds its thread for kPatience.
constexpr size_t kThreads = 8;
constexpr time_t kPatience = 2;  // seconds
constexpr size_t kMaxRequestBytes = 16 << 10;

// Another server on the same port is an error, not a silent share of the traffic, which is the library's default.
void SetSocketOptions(int socket) {
  const int yes = 1;
  setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
}

class HttpMonitor final : public Monitor {
 public:
  explicit HttpMonitor(const Context& context) : context_(context) {}
  ~HttpMonitor() override {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Listen(const std::string& address);
  const std::string& address() const override { return address_; }

 private:
  void AddHandlers();
  void Metrics(httplib::Response* response) const;
  void Status(const httplib::Request& request, httplib::Response* response) const;

  const Context& context_;
  httplib::Server server_;
  std::string address_;
  std::thread thread_;
};

absl::Status HttpMonitor::Listen(const std::string& address) {
  const size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  int port = 0;
  const bool numbered = colon != std::string::npos && absl::SimpleAtoi(address.substr(colon + 1), &port);
  server_.set_socket_options(SetSocketOptions);
  server_.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  server_.set_read_timeout(kPatience).set_write_timeout(kPatience);
  server_.set_keep_alive_max_count(1).set_payload_max_length(kMaxRequestBytes);
  server_.set_tcp_nodelay(true);
  AddHandlers();
  if (numbered && port == 0) {
    port = server_.bind_to_any_port(host);
  } else if (!numbered || !server_.bind_to_port(host, port)) {
    port = -1;
  }
  if (port <= 0) {
    return Unavailable("LISTEN",
                       absl::StrCat("cannot listen on ", address,
                                    " for metrics: it is in use, not allowed, or no address of this machine"));
  }
  address_ = absl::StrCat(address.substr(0, colon), ":", port);
  thread_ = std::thread([this] { server_.listen_after_bind(); });
  // What is not running yet cannot be stopped.
  while (!server_.is_running()) std::this_thread::yield();
  return absl::OkStatus();
}

void HttpMonitor::AddHandlers() {
  server_.set_default_headers({{"Cache-Control", "no-store"},
                               {"Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'"},
                               {"Referrer-Policy", "no-referrer"},
                               {"X-Content-Type-Options", "nosniff"}});
  server_.Get("/metrics", [this](const httplib::Request&, httplib::Response& response) { Metrics(&response); });
  server_.Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
    response.set_content("ok\n", "text/plain; charset=utf-8");
  });
  server_.Get("/readyz", [this](const httplib::Request&, httplib::Response& response) {
    const std::vector<std::string> why = NotReady(context_);
    if (!why.empty()) response.status = 503;
    response.set_content(why.empty() ? "ready\n" : absl::StrCat("not ready: ", absl::StrJoin(why, "; "), "\n"),
                         "text/plain; charset=utf-8");
  });
  server_.Get("/status.json",
              [this](const httplib::Request& request, httplib::Response& response) { Status(request, &response); });
  for (const StatusFile& file : StatusFiles()) {
    server_.Get(std::string(file.path), [file](const httplib::Request&, httplib::Response& response) {
      response.set_content(file.content.data(), file.content.size(), std::string(file.type).c_str());
    });
  }
  server_.set_error_handler([](const httplib::Request&, httplib::Response& response) {
    if (!response.body.empty()) return;
    response.set_content(
        absl::StrCat(response.status, "; what there is: /, /status.json, /metrics, /healthz, /readyz\n"),
        "text/plain; charset=utf-8");
  });
}

void HttpMonitor::Metrics(httplib::Response* response) const {
  const absl::Time start = absl::Now();
  const v1::ServerStats stats = CollectStats(context_, true);
  response->set_content(ToPrometheus(stats, absl::Now() - start), "text/plain; version=0.0.4; charset=utf-8");
}

// ?since=SECONDS: only the history after that, Unix time; without: all of it.
void HttpMonitor::Status(const httplib::Request& request, httplib::Response* response) const {
  double since = 0;
  if (request.has_param("since") && !absl::SimpleAtod(request.get_param_value("since"), &since)) {
    response->status = 400;
    response->set_content("since: want seconds of Unix time\n", "text/plain; charset=utf-8");
    return;
  }
  v1::GetStatsRequest stats_request;
  ToProto(absl::UnixEpoch() + absl::Seconds(since), stats_request.mutable_history_since());
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(AnswerStats(context_, stats_request), &json, options);
  if (!status.ok()) {
    response->status = 500;
    json = status.ToString();
  }
  response->set_content(json, status.ok() ? "application/json" : "text/plain; charset=utf-8");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Monitor>> Monitor::Start(const std::string& address, const Context& context) {
  auto monitor = std::make_unique<HttpMonitor>(context);
  if (absl::Status status = monitor->Listen(address); !status.ok()) return status;
  return monitor;
}

}  // namespace lstmd::server
