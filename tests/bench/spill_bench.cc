// SPDX-License-Identifier: Apache-2.0
//
// lstmd_spill_bench: more sessions than there is room for. Creates and steps each, then steps idle ones again, and says
// what memory that took and how long one waits for a session to come back. Exits with 1 when the memory is above the
// budget, which is: what is resident, the host memory for spilled states, 600 bytes and the name for each session, and
// 256 MiB for the program, its disk cache and its model.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/cpu/cpu_backend.h"
#include "engine/engine.h"
#include "engine/mutex.h"
#include "tests/support/models.h"

namespace lstmd {
namespace {

class Waiter final : public WorkSink {
 public:
  void OnDone(Work*, const absl::Status& status) override {
    MutexLock lock(&mutex_);
    status_ = status;
  }
  void OnBatchEnd() override {
    MutexLock lock(&mutex_);
    done_ = true;
    changed_.Signal();
  }
  absl::Status Wait() {
    MutexLock lock(&mutex_);
    while (!done_) changed_.Wait(&mutex_);
    done_ = false;
    return status_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
};

int64_t ResidentBytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmRSS:", 0) == 0) return std::stoll(line.substr(6)) * 1024;
  }
  return 0;
}

double Quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(q * static_cast<double>(values.size())))];
}

struct Options {
  uint64_t sessions = 1'000'000;
  uint64_t resident = 10'000;
  uint64_t host_mib = 64;
  uint64_t samples = 20'000;
  uint32_t hidden = 64;
  std::string folder = std::filesystem::temp_directory_path() / "lstmd_spill_bench";
};

int Run(const Options& options) {
  EngineOptions engine_options;
  engine_options.sessions.max_sessions = options.sessions;
  engine_options.sessions.idle_ttl = absl::ZeroDuration();
  engine_options.spill.max_resident_sessions = options.resident;
  engine_options.spill.host_bytes = options.host_mib << 20;
  engine_options.spill.folder = options.folder;
  std::vector<std::unique_ptr<Backend>> backends;
  CpuOptions cpu;
  cpu.threads = 1;
  auto backend = CreateCpuBackend(cpu);
  if (!backend.ok()) return 1;
  backends.push_back(*std::move(backend));
  auto engine = Engine::Create(engine_options, std::move(backends));
  if (!engine.ok()) {
    std::fprintf(stderr, "%s\n", std::string(engine.status().message()).c_str());
    return 1;
  }
  ModelSpec spec;
  spec.input_size = 1;
  spec.hidden_size = options.hidden;
  spec.head.emplace();
  spec.head->output_size = 1;
  if (!(*engine)->AddModel("m", 1, spec, test::SeededWeights(spec, 1)).ok()) return 1;

  Waiter waiter;
  float input = 0.5f, output = 0;
  const auto step = [&](uint64_t session, uint64_t seq) {
    auto found = (*engine)->FindSession("m", absl::StrCat("s", session), false);
    if (!found.ok()) return found.status();
    Work work;
    work.session = *std::move(found);
    work.seq = seq;
    work.steps = 1;
    work.input = &input;
    work.output = &output;
    work.sink = &waiter;
    (*engine)->Submit(&work);
    return waiter.Wait();
  };

  int64_t peak = 0;
  const absl::Time start = absl::Now();
  for (uint64_t i = 0; i < options.sessions; ++i) {
    CreateSessionParams params;
    params.model = "m";
    params.id = absl::StrCat("s", i);
    absl::Status status = (*engine)->CreateSession(params).status();
    if (status.ok()) status = step(i, 1);
    if (!status.ok()) {
      std::fprintf(stderr, "session %llu: %s\n", static_cast<unsigned long long>(i),
                   std::string(status.message()).c_str());
      return 1;
    }
    if (i % 10'000 == 0) peak = std::max(peak, ResidentBytes());
  }
  const double create_seconds = absl::ToDoubleSeconds(absl::Now() - start);
  const EngineStats stats = (*engine)->Stats();

  // Sessions at random; by where each was. Those that were resident say what a step costs without a restore.
  std::vector<double> times[3];
  std::mt19937_64 random(1);
  std::vector<uint32_t> seqs(options.sessions, 1);
  for (uint64_t i = 0; i < options.samples; ++i) {
    const uint64_t session = random() % options.sessions;
    const Residency where = (*engine)->GetSession("m", absl::StrCat("s", session), false)->residency;
    const absl::Time before = absl::Now();
    if (!step(session, ++seqs[session]).ok()) return 1;
    times[static_cast<int>(where)].push_back(absl::ToDoubleMicroseconds(absl::Now() - before));
  }
  peak = std::max(peak, ResidentBytes());

  const ModelInfo model = *(*engine)->GetModel("m", 1);
  const auto names = static_cast<int64_t>(options.sessions * absl::StrCat("s", options.sessions).size());
  const int64_t budget = static_cast<int64_t>(options.resident * (model.state_bytes_per_session + 600)) +
                         static_cast<int64_t>(options.host_mib << 20) + static_cast<int64_t>(options.sessions) * 600 +
                         names + (int64_t{256} << 20);
  std::printf(
      "{\"sessions\": %llu, \"resident\": %llu, \"on_host\": %llu, \"on_disk\": %llu, "
      "\"created_and_stepped_per_second\": "
      "%.0f,\n \"memory_bytes\": %lld, \"budget_bytes\": %lld, \"samples\": {\"device\": %zu, \"host\": %zu, \"disk\": "
      "%zu},\n"
      " \"step_us\": {\"device_p50\": %.1f, \"device_p99\": %.1f, \"host_p50\": %.1f, \"host_p99\": %.1f, "
      "\"disk_p50\": %.1f, "
      "\"disk_p99\": %.1f}}\n",
      static_cast<unsigned long long>(options.sessions), static_cast<unsigned long long>(stats.sessions_resident),
      static_cast<unsigned long long>(stats.sessions_on_host), static_cast<unsigned long long>(stats.sessions_on_disk),
      static_cast<double>(options.sessions) / create_seconds, static_cast<long long>(peak),
      static_cast<long long>(budget), times[0].size(), times[1].size(), times[2].size(), Quantile(times[0], 0.5),
      Quantile(times[0], 0.99), Quantile(times[1], 0.5), Quantile(times[1], 0.99), Quantile(times[2], 0.5),
      Quantile(times[2], 0.99));
  return peak <= budget && stats.sessions_resident <= options.resident ? 0 : 1;
}

}  // namespace
}  // namespace lstmd

int main(int argc, char** argv) {
  lstmd::Options options;
  CLI::App app("More sessions than there is room for: what memory they take, and how long one takes to come back.");
  app.add_option("--sessions", options.sessions, "How many are created, and stepped once")->capture_default_str();
  app.add_option("--resident", options.resident, "How many may be on the device")->capture_default_str();
  app.add_option("--host-mib", options.host_mib, "Host memory for those that are not; the rest goes to disk")
      ->capture_default_str();
  app.add_option("--samples", options.samples, "Steps that are measured")->capture_default_str();
  app.add_option("--hidden", options.hidden, "Hidden size of the model")->capture_default_str();
  app.add_option("--folder", options.folder, "Folder for the disk; wiped")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return lstmd::Run(options);
}
