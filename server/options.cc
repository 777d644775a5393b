// SPDX-License-Identifier: Apache-2.0
#include "server/options.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <set>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "server/flags.h"
#include "server/version.h"

namespace lstmd::server {
namespace {

constexpr char kDescription[] =
    "lstmd serves LSTM models: sessions keep their state on the server, steps of many sessions run in one batch.";

constexpr char kFooter[] =
    "Every flag can also stand in the file of --config (\"threads = 2\", one per line) or in the environment\n"
    "(LSTMD_THREADS=2). A flag goes before the file, the file before the environment.\n\n"
    "Durations are written 250ms, 30s, 5m, 1h30m; sizes 65536, 64KiB, 64MiB, 1GiB.\n\n"
    "Examples:\n"
    "  lstmd --repository models\n"
    "  lstmd --repository models --listen 0.0.0.0:8001 --tls-cert server.pem --tls-key server.key --auth-file tokens\n"
    "  lstmd --repository models --listen unix:/run/lstmd.sock --log-format json\n\n"
    "A repository is a folder NAME/VERSION/ with model.safetensors or model.onnx, and lstm.json where the file does\n"
    "not say everything. Signals: SIGTERM or SIGINT ends well: what is in flight is answered first; a second one ends\n"
    "at once.\n\n"
    "Exit codes: 0 ended well, 1 could not serve, 2 bad flag or repository, 3 no such device in this build or "
    "machine,\n"
    "4 a device was lost while serving; a new process can use it again.";

constexpr char kMetricsListen[] = "127.0.0.1:8002";

std::string CheckListen(const std::string& address) {
  if (address.rfind("unix:", 0) == 0) return address.size() > 5 ? "" : "want a path after unix:";
  const size_t colon = address.rfind(':');
  int port = -1;
  if (colon == std::string::npos || colon == 0 || !absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 0 ||
      port > 65535) {
    return "got '" + address + "', want HOST:PORT with a port from 0 to 65535, or unix:PATH";
  }
  return "";
}

std::string CheckMetricsListen(const std::string& address) {
  if (address.empty()) return "";
  return address.rfind("unix:", 0) == 0 ? "got '" + address + "', want HOST:PORT" : CheckListen(address);
}

std::string CheckDevice(const std::string& devices) {
  if (devices == "auto") return "";
  std::set<std::string> seen;
  for (const std::string& device : std::vector<std::string>(absl::StrSplit(devices, ','))) {
    int index = 0;
    const bool cuda = device.rfind("cuda:", 0) == 0 && absl::SimpleAtoi(device.substr(5), &index) && index >= 0;
    // "emulated" is the GPU backend over an emulation, for tests.
    if (!cuda && device != "cpu" && device != "emulated") return "got '" + device + "', want auto, cpu or cuda:N";
    if (!seen.insert(device).second) return "got '" + device + "' twice";
  }
  return "";
}

void AddFlags(CLI::App* app, ServerOptions* options) {
  Flags serving(app, "Serving");
  serving.Add("--repository", &options->engine.repository, "Folder of the models; empty: none is loaded at the start")
      ->type_name("DIR");
  serving.AddDuration("--watch-repository", &options->watch_repository,
                      "Look at the repository this often, and serve new versions; 0: never");
  serving.AddChoice(
      "--update-policy", {"pin", "follow"},
      [options](const std::string& text) {
        options->engine.update_policy = text == "pin" ? UpdatePolicy::kPin : UpdatePolicy::kFollow;
      },
      "What becomes of sessions when a new version takes the place of theirs: pin, they stay on it until they "
      "end; follow, their next step runs on the new weights");
  serving
      .Add("--listen", &options->listen,
           "Where to serve, repeatable: HOST:PORT or unix:PATH. Port 0 takes a free one and prints it")
      ->check(CLI::Validator(CheckListen, "", ""))
      ->type_name("ADDRESS")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  serving.AddDuration("--drain-timeout", &options->drain_timeout,
                      "On SIGTERM, how long work in flight and open streams may take to end");
  serving.AddSize("--max-message-size", &options->limits.max_message_bytes,
                  "Largest request, and largest reply that is made");
  serving
      .Add("--max-in-flight-per-stream", &options->limits.max_in_flight_per_stream,
           "Steps of one stream that may be in flight; above it the stream is not read")
      ->check(CLI::Range(1, 1 << 24));
  serving.AddDuration("--keepalive-time", &options->keepalive_time, "Ping a silent connection after this long");
  serving.AddDuration("--keepalive-timeout", &options->keepalive_timeout,
                      "Drop it when the ping has no answer for so long");

  Flags bounds(app, "Bounds");
  bounds.Add("--max-items-per-call", &options->limits.max_items, "Items of one Step or RunSequences call")
      ->check(CLI::Range(1, 1 << 20));
  bounds
      .Add("--max-rows-per-call", &options->limits.max_rows,
           "Sequences in all batches of a call; binds, steps and unbinds of one frame")
      ->check(CLI::Range(1, 1 << 24));
  bounds
      .Add("--max-sequence-length", &options->limits.max_sequence_length,
           "Time steps of one sequence, or of one message for a session")
      ->check(CLI::Range(1, std::numeric_limits<int>::max()));
  bounds
      .Add("--max-streams", &options->limits.max_streams,
           "Streams open at a time; above it RESOURCE_EXHAUSTED. 0: what fits into half of --memory-limit, at most "
           "20,000")
      ->check(CLI::NonNegativeNumber);
  bounds
      .Add("--max-streams-per-connection", &options->connections.max_streams_per_connection,
           "Calls and streams open at a time on one connection; more wait at the client, and one that does not wait is "
           "cut")
      ->check(CLI::Range(1, 1 << 20));
  bounds
      .Add("--max-connections", &options->connections.max_connections,
           "Connections over TCP at a time; above it the newest of the address that has the most are cut within a "
           "second")
      ->check(CLI::Range(1, 1 << 24));
  bounds
      .Add("--max-calls", &options->connections.max_calls,
           "Calls and streams open at a time on all connections, whether or not their message has come; above it the "
           "connections with the most are cut. 0: what fits into a quarter of --memory-limit")
      ->check(CLI::Range(0, 1 << 24));
  bounds
      .Add("--max-unfinished-bytes", &options->connections.max_unfinished_bytes,
           "Bytes of messages that have not come whole, on all connections; above it the connections with the most are "
           "cut. 0: a quarter of --memory-limit, and at least one message of --max-message-size")
      ->check(CLI::NonNegativeNumber);
  bounds.AddDuration("--max-connection-idle", &options->max_connection_idle,
                     "Close a connection without a call for this long; 0: never");
  bounds.AddDuration("--max-connection-age", &options->max_connection_age,
                     "Ask a connection that is older to end when its calls have, so that its client connects anew, "
                     "perhaps to another replica; it is closed --drain-timeout later. 0: never");
  bounds.AddDuration("--max-queue-age", &options->limits.max_queue_age,
                     "Drop a step that is not done so long after it came (DEADLINE_EXCEEDED); 0: never");
  bounds.AddMemory("--memory-limit", &options->engine.memory_limit,
                   "Memory of the process above which models, sessions, streams and steps are refused "
                   "(RESOURCE_EXHAUSTED) before the kernel kills it; auto: 85 % of the control group's limit or of the "
                   "machine's memory; 0: none");

  Flags security(app, "Security");
  TransportOptions& transport = options->transport;
  security
      .Add("--tls-cert", &transport.tls_cert, "Certificate chain of the server (PEM); TCP is then served with TLS only")
      ->type_name("FILE");
  security.Add("--tls-key", &transport.tls_key, "Its private key (PEM)")->type_name("FILE");
  security
      .Add("--tls-client-ca", &transport.tls_client_ca,
           "Clients must present a certificate of one of these authorities (PEM)")
      ->type_name("FILE");
  security.AddFlag("--allow-plaintext", &transport.allow_plaintext,
                   "Serve plain text on addresses that other machines can reach. Without it only on loopback and unix "
                   "sockets");
  security
      .Add("--auth-file", &options->access.auth_file,
           "Who may call: a line TENANT ROLE sha256:HASH or cert:NAME for each token (lstmctl token new) or client "
           "certificate. Sessions are their tenant's own. Empty: everyone may do all")
      ->type_name("FILE");
  security
      .Add("--quota-file", &options->access.quota_file,
           "What tenants may use (JSON): requests_per_second, steps_per_second, sessions, state_bytes, in_flight, "
           "models")
      ->type_name("FILE");
  security.AddDuration("--reload-interval", &options->access.reload_interval,
                       "How often these files are looked at for changes");

  Flags computing(app, "Computing");
  computing
      .Add("--device", &options->device,
           "auto, cpu, cuda:N or several with commas (cuda:0,cuda:1); auto takes all GPUs and falls back to the CPU")
      ->check(CLI::Validator(CheckDevice, "", ""));
  computing.Add("--threads", &options->threads, "Threads that compute on the CPU; 0: one for each core")
      ->check(CLI::Range(0, 1024));
  computing
      .Add("--instruction-set", &options->instruction_set,
           "Kernels of the CPU, a name that the log shows at the start (AVX3_BF16, AVX3, AVX2, NEON …); empty: the "
           "best. "
           "One name on all machines gives one set of numbers, bit for bit")
      ->type_name("NAME");
  SchedulerOptions& scheduler = options->engine.scheduler;
  computing
      .Add("--max-batch-size", &scheduler.max_batch_size,
           "Rows in one device call. More: more throughput under load, longer calls")
      ->check(CLI::Range(1, 65536));
  computing
      .Add("--slice-units", &scheduler.slice_units,
           "Time steps of a long sequence between two chances for others. More: less overhead, longer waits")
      ->check(CLI::Range(1, 1 << 20));
  computing.AddDuration("--slice-time", &scheduler.slice_time,
                        "What a device call of such slices is to take where steps are about. More: less overhead for "
                        "sequences, longer waits for steps");
  computing.AddDuration("--max-inline-time", &scheduler.max_inline_time,
                        "A batch that is expected to take no longer runs on the thread that received it while nothing "
                        "else goes on; 0 never. More: lower latency at low load, and that thread is busy so long");
  computing.AddDuration("--max-queue-delay", &scheduler.max_queue_delay,
                        "Wait so long for more rows before a device call; 0 never waits");
  computing
      .Add("--max-queued-per-model", &scheduler.max_queued_per_model,
           "Work waiting for one model; above it RESOURCE_EXHAUSTED")
      ->check(CLI::Range(1, std::numeric_limits<int>::max()));
  computing
      .Add("--max-queued-per-session", &scheduler.max_queued_per_session,
           "Work waiting in one session; above it RESOURCE_EXHAUSTED")
      ->check(CLI::Range(1, std::numeric_limits<int>::max()));

  AddSessionFlags(app, options);

  Flags watching(app, "Watching");
  watching
      .Add("--metrics-listen", &options->metrics_listen,
           "Where to serve /metrics, /healthz, /readyz and the status page, in plain text and to whoever asks, also "
           "where "
           "--tls-cert is given: keep it on loopback or a network of your own. HOST:PORT; "
           "empty: "
           "nowhere. Port 0 takes a free one and prints it")
      ->check(CLI::Validator(CheckMetricsListen, "", ""))
      ->type_name("ADDRESS")
      ->default_str(kMetricsListen);
  watching.AddDuration("--slow-request", &options->slow_request,
                       "Log each request that takes so long, with the time of each part; 0: none");

  Flags logging(app, "Logging");
  logging
      .Add("--log-level", &options->log_level, "trace, debug, info, warn, error or off; lstmctl log-level changes it")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}))
      ->type_name("LEVEL");
  logging.Add("--log-format", &options->log_format, "text, or json: one object per line; to stderr")
      ->check(CLI::IsMember({"text", "json"}))
      ->type_name("FORMAT");
}

// One line, whatever the library made of it.
std::string OneLine(std::string text) {
  for (char& c : text) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  return text;
}

}  // namespace

std::optional<ServerOptions> ParseOptions(int argc, const char* const* argv, std::ostream& out, std::ostream& err,
                                          int* exit_code) {
  ServerOptions options;
  CLI::App app(kDescription, "lstmd");
  app.footer(kFooter);
  app.set_version_flag("--version", std::string("lstmd ") + kVersion);
  app.set_config("--config", "", "File with flags, one \"name = value\" per line", false)
      ->type_name("FILE")
      ->envname("LSTMD_CONFIG");
  app.allow_config_extras(CLI::config_extras_mode::error);
  AddFlags(&app, &options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    *exit_code = app.exit(success, out, err);
    return std::nullopt;
  } catch (const std::exception& error) {
    err << "lstmd: " << OneLine(error.what()) << " (see lstmd --help)" << std::endl;
    *exit_code = 2;
    return std::nullopt;
  }
  for (const Durability one : {Durability::kNone, Durability::kPeriodic, Durability::kEveryStep}) {
    if (options.durability == Name(one)) options.engine.durability.durability = one;
  }
  if (!options.advertise.empty()) options.engine.durability.owner = options.advertise;
  if (options.durability != "none" && options.store == "none") {
    err << "lstmd: --durability " << options.durability << " needs a --store (see lstmd --help)" << std::endl;
    *exit_code = 2;
    return std::nullopt;
  }
  if (app.get_option("--metrics-listen")->empty()) {
    options.metrics_listen = kMetricsListen;
    options.metrics_optional = true;
  }
  constexpr uint64_t kMinMessage = 1024;
  constexpr uint64_t kMaxMessage = std::numeric_limits<int>::max();  // gRPC's own limit
  if (options.limits.max_message_bytes < kMinMessage || options.limits.max_message_bytes > kMaxMessage) {
    err << "lstmd: --max-message-size: got " << options.limits.max_message_bytes << ", want " << kMinMessage << " to "
        << kMaxMessage << " (see lstmd --help)" << std::endl;
    *exit_code = 2;
    return std::nullopt;
  }
  options.transport.reload_interval = options.access.reload_interval;
  return options;
}

}  // namespace lstmd::server
