// SPDX-License-Identifier: Apache-2.0
//
// lstmctl bench: what a server does under load.
#include <atomic>
#include <csignal>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/lstmctl/command.h"
#include "client/lstmctl/load.h"
#include "client/lstmctl/print.h"

namespace lstmd::client {
namespace {

// Set by Ctrl-C: the load ends early, and its sessions are deleted all the same.
std::atomic<bool> g_stop{false};
static_assert(std::atomic<bool>::is_always_lock_free, "set in a signal handler");

double Millis(uint64_t nanos) { return static_cast<double>(nanos) * 1e-6; }

const char* Mode(const LoadOptions& options) {
  return options.sequence > 0 ? "sequence" : options.unary ? "unary" : "stream";
}

absl::Status Bench(const Context& context, const LoadOptions& options) {
  std::signal(SIGINT, [](int) { g_stop = true; });
  std::signal(SIGTERM, [](int) { g_stop = true; });
  absl::StatusOr<LoadReport> report = RunLoad(context.server, context.Options(), options, g_stop);
  if (!report.ok()) return report.status();
  const double rate = report->seconds > 0 ? static_cast<double>(report->steps) / report->seconds : 0;
  const double batch =
      report->batches > 0 ? static_cast<double>(report->batched_rows) / static_cast<double>(report->batches) : 0;
  const Histogram& latency = report->latency;
  absl::Status status;
  if (context.json) {
    status = PrintJson(Json{{"model", absl::StrJoin(options.models, ",")},
                            {"mode", Mode(options)},
                            {"sessions", options.sessions},
                            {"streams", options.streams},
                            {"handles", options.handles},
                            {"in_flight", options.in_flight},
                            {"rate", options.rate},
                            {"sequence", options.sequence},
                            {"seconds", report->seconds},
                            {"steps", report->steps},
                            {"steps_per_second", rate},
                            {"messages", report->messages},
                            {"unsent", report->unsent},
                            {"latency_ms",
                             {{"p50", Millis(latency.Quantile(0.5))},
                              {"p90", Millis(latency.Quantile(0.9))},
                              {"p99", Millis(latency.Quantile(0.99))},
                              {"max", Millis(latency.max())}}},
                            {"mean_batch", batch},
                            {"requests", report->requests},
                            {"replies", report->replies},
                            {"errors", report->errors},
                            {"reconnects", report->reconnects},
                            {"resends", report->resends},
                            {"first_error", report->first_error}});
  } else {
    std::string text = absl::StrFormat(
        "model        %s\n"
        "load         %u sessions, %u %s, %u step%s a message, %.1f s%s\n"
        "steps/s      %s\n"
        "latency ms   p50 %.3f   p90 %.3f   p99 %.3f   max %.3f\n"
        "mean batch   %.1f\n"
        "requests     %s sent, %s answered, %s errors\n",
        absl::StrJoin(options.models, ","), options.sessions, options.streams,
        options.unary || options.sequence > 0 ? "callers" : "streams", options.handles, options.handles == 1 ? "" : "s",
        report->seconds,
        options.rate > 0 ? absl::StrFormat(", %.0f steps/s wanted, %u messages not sent", options.rate, report->unsent)
                         : "",
        Thousands(static_cast<uint64_t>(rate)), Millis(latency.Quantile(0.5)), Millis(latency.Quantile(0.9)),
        Millis(latency.Quantile(0.99)), Millis(latency.max()), batch, Thousands(report->requests),
        Thousands(report->replies), Thousands(report->errors));
    if (options.resume) {
      absl::StrAppendFormat(&text, "recovered    %s reconnects, %s steps sent again\n", Thousands(report->reconnects),
                            Thousands(report->resends));
    }
    status = Print(text);
  }
  if (!status.ok()) return status;
  if (report->errors > 0) {
    return absl::AbortedError(absl::StrCat(report->errors, " errors, the first: ", report->first_error));
  }
  if (report->replies != report->requests) {
    return absl::DataLossError(
        absl::StrCat(report->requests, " steps were sent and ", report->replies, " were answered"));
  }
  return absl::OkStatus();
}

}  // namespace

void AddBenchCommand(CLI::App* app, Context* context) {
  auto options = std::make_shared<LoadOptions>();
  CLI::App* bench =
      app->add_subcommand("bench", "Load a server as fast as it answers or at a given rate, and say how fast that is");
  bench->add_option("--model", options->models, "The model to step; several with commas share the sessions")
      ->required()
      ->delimiter(',')
      ->type_name("MODEL");
  bench->add_option("--sessions", options->sessions, "Sessions, each stepped in turn")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));
  bench->add_option("--streams", options->streams, "Streams that share the sessions (with --unary: callers)")
      ->capture_default_str()
      ->check(CLI::Range(1, 10'000));
  bench->add_option("--handles", options->handles, "Steps of different sessions in one message")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  bench
      ->add_option("--in-flight", options->in_flight, "Messages in flight on each stream; 0: one step of every session")
      ->capture_default_str()
      ->check(CLI::Range(0, 1'000'000));
  bench->add_option("--connections", options->connections, "Connections that the streams share")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  bench->add_option("--seconds", options->seconds, "How long to measure")
      ->capture_default_str()
      ->check(CLI::Range(0.01, 1e6));
  bench->add_option("--warmup", options->warmup_seconds, "How long to run before that")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1e6));
  bench
      ->add_option(
          "--rate", options->rate,
          "Steps a second to ask for, whatever the server does; latency then counts from the time a message was "
          "due. 0: as fast as it answers")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1e9));
  bench
      ->add_option("--sequence", options->sequence,
                   "Run stateless sequences of so many time steps instead of stepping sessions; each counts as so many "
                   "steps")
      ->capture_default_str()
      ->check(CLI::Range(0, 1'000'000));
  CLI::Option* resume = bench->add_flag(
      "--resume", options->resume, "Numbered steps that survive broken connections, restarts and drains of the server");
  bench->add_flag("--unary", options->unary, "One call for each message instead of streams")->excludes(resume);
  bench->add_flag(
      "--keep-going", options->keep_going,
      "Go on where a step failed, for example above a quota; otherwise its session is not stepped any more");
  bench->add_flag("--coalesce", options->coalesce, "Merge messages that wait, as the client library does by default");
  bench->footer(
      "Examples:\n"
      "  lstmctl bench --model sunspots --sessions 64\n"
      "  lstmctl bench --model sunspots --sessions 1 --streams 1       the latency of one session\n"
      "  lstmctl bench --model sunspots --sessions 256 --handles 64    many sessions in one message\n"
      "  lstmctl bench --model sunspots --sessions 256 --rate 10000     the latency at that load\n"
      "  lstmctl bench --model sunspots --sequence 500 --sessions 4    long sequences, four at a time\n"
      "  lstmctl --server a:8001,b:8001 bench --model sunspots --resume   while one of two replicas drains\n"
      "Exits with 1 when a step failed or was not answered. Latency is that of a message, until its last reply.");
  bench->callback([=] { context->run = [=] { return Bench(*context, *options); }; });
}

}  // namespace lstmd::client
