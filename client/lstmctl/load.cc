// SPDX-License-Identifier: Apache-2.0
#include "client/lstmctl/load.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/error.h"
#include "client/lstmctl/lane.h"
#include "client/lstmctl/pacer.h"
#include "client/lstmctl/progress.h"

namespace lstmd::client {
namespace {

// How long after its end a load waits for what is still on its way.
constexpr double kGraceSeconds = 30;

absl::Status CheckModel(const LoadOptions& options, const std::string& name, const v1::Model& model,
                        const v1::Model& first) {
  if (!model.steppable() && options.sequence == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("model ", name, " cannot be stepped; bench needs one, or --sequence"));
  }
  if (model.spec().input_size() != first.spec().input_size() || model.output_size() != first.output_size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--model: ", options.models.front(), " and ", name, " differ in input or output size"));
  }
  return absl::OkStatus();
}

absl::Status Check(const LoadOptions& options) {
  if (options.rate > 0 && options.in_flight > 0) {
    return absl::InvalidArgumentError("--rate and --in-flight: want one of them; with a rate, time says when to send");
  }
  if (options.sequence > 0 && options.unary) {
    return absl::InvalidArgumentError(
        "--sequence and --unary: sequences are unary calls as they are; leave --unary out");
  }
  if (options.sessions < options.streams) {
    return absl::InvalidArgumentError(
        absl::StrCat("--sessions ", options.sessions, " are fewer than --streams ", options.streams));
  }
  if (options.sessions / options.streams < options.handles) {
    return absl::InvalidArgumentError(absl::StrCat("--handles ", options.handles, ": each stream has only ",
                                                   options.sessions / options.streams,
                                                   " sessions; ask for more --sessions or fewer --streams"));
  }
  return absl::OkStatus();
}

void Sleep(int64_t until_nanos, int64_t begin_nanos, Progress* progress, const std::atomic<bool>& stop) {
  while (!stop && NowNanos() < until_nanos) {
    const int64_t left = until_nanos - NowNanos();
    absl::SleepFor(absl::Nanoseconds(std::min<int64_t>(left, 50'000'000)));
    progress->Set(static_cast<uint64_t>(NowNanos() - begin_nanos));
  }
}

}  // namespace

absl::StatusOr<LoadReport> RunLoad(const std::string& address, const ClientOptions& client_options,
                                   const LoadOptions& options, const std::atomic<bool>& stop) {
  std::vector<std::unique_ptr<Client>> clients;
  for (uint32_t i = 0; i < std::max(1u, options.connections); ++i) {
    absl::StatusOr<std::unique_ptr<Client>> client = Client::Connect(address, client_options);
    if (!client.ok()) return client.status();
    clients.push_back(*std::move(client));
  }
  std::vector<v1::Model> models;
  for (const std::string& name : options.models) {
    absl::StatusOr<v1::Model> model = clients[0]->GetModel(name);
    if (!model.ok()) return model.status();
    models.push_back(*std::move(model));
    if (absl::Status status = CheckModel(options, name, models.back(), models.front()); !status.ok()) return status;
  }
  if (absl::Status status = Check(options); !status.ok()) return status;

  LoadClock clock;
  clock.measure_from = INT64_MAX;
  std::vector<std::unique_ptr<Lane>> lanes;
  const std::string prefix = absl::StrFormat("bench-%08x-", std::random_device()());
  for (uint32_t lane = 0; lane < options.streams; ++lane) {
    std::vector<std::string> sessions;
    for (uint32_t i = lane; i < options.sessions; i += options.streams) {
      sessions.push_back(SessionName(options.models[i % options.models.size()], absl::StrCat(prefix, i)));
    }
    const auto make = options.sequence > 0 ? MakeSequenceLane : options.unary ? MakeUnaryLane : MakeStreamLane;
    lanes.push_back(make(clients[lane % clients.size()].get(), options, clock, std::move(sessions),
                         models.front().spec().input_size(), models.front().output_size()));
  }
  for (const auto& lane : lanes) {
    if (absl::Status status = lane->Open(); !status.ok()) {
      for (const auto& opened : lanes) opened->Close();
      return status;
    }
  }

  LoadReport report;
  const int64_t begin = NowNanos();
  const int64_t measure = begin + static_cast<int64_t>(options.warmup_seconds * 1e9);
  const int64_t end = measure + static_cast<int64_t>(options.seconds * 1e9);
  clock.measure_from = measure;
  clock.send_until = end;
  {
    Progress progress("load", static_cast<uint64_t>(end - begin));
    for (const auto& lane : lanes) lane->Start();
    std::optional<Pacer> pacer;
    if (options.rate > 0) pacer.emplace(lanes, clock, 1e9 * options.handles / options.rate);
    Sleep(measure, begin, &progress, stop);
    const absl::StatusOr<v1::ServerInfo> before = clients[0]->GetServerInfo();
    Sleep(end, begin, &progress, stop);
    const int64_t now = NowNanos();
    if (now < end) clock.send_until = now;
    report.seconds = static_cast<double>(std::min(now, end) - measure) * 1e-9;
    const absl::StatusOr<v1::ServerInfo> after = clients[0]->GetServerInfo();
    if (before.ok() && after.ok()) {
      report.batches = after->batches() - before->batches();
      report.batched_rows = after->batched_rows() - before->batched_rows();
    }
  }
  const int64_t last = NowNanos() + static_cast<int64_t>(kGraceSeconds * 1e9);
  for (const auto& lane : lanes) lane->WaitIdle(last);
  for (const auto& lane : lanes) lane->Close();
  for (const auto& lane : lanes) {
    const LaneCounts counts = lane->TakeCounts();
    report.requests += counts.requests;
    report.replies += counts.replies;
    report.errors += counts.errors;
    report.reconnects += counts.reconnects;
    report.resends += counts.resends;
    report.steps += counts.steps;
    report.messages += counts.messages;
    report.unsent += counts.unsent;
    report.latency.Merge(counts.latency);
    if (report.first_error.empty() && !counts.first_error.ok()) report.first_error = Describe(counts.first_error);
  }
  return report;
}

}  // namespace lstmd::client
