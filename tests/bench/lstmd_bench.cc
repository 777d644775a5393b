// SPDX-License-Identifier: Apache-2.0
//
// Engine steps and sequences, one layer, I = H, in each precision, against oneDNN's LSTM primitive and the machine's
// limits. A row is a benchmark of Google Benchmark with manual time: ours, the peer and the limits are measured in
// turns in one process, because on a shared machine only their ratios mean something.
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "benchmark/benchmark.h"
#include "engine/cpu/cpu_backend.h"
#include "nlohmann/json.hpp"
#include "tests/bench/engine_lstm.h"
#include "tests/bench/limits.h"
#include "tests/bench/onednn_lstm.h"

namespace lstmd::bench {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::vector<int> hidden = {64, 128, 256, 512, 1024};
  std::vector<int> batch = {1, 2, 4, 8, 16, 32, 64};
  std::vector<int> steps = {1};
  std::vector<std::string> precision = {"f32"};
  int threads = 0;
  int rounds = 5;
  double seconds = 0.02;
  std::string instruction_set;
  std::string peer = "f32";
  std::string filter = ".";
  std::string json;
  bool cpu_time = false;
};

const std::map<std::string, Precision> kPrecisions = {{"f32", Precision::kF32},
                                                      {"bf16_weights", Precision::kBf16Weights},
                                                      {"int8_weights", Precision::kInt8Weights},
                                                      {"bf16", Precision::kBf16}};

struct Cell {
  int steps, hidden, batch;
  std::string precision;
};

struct Result {
  Cell cell;
  double us = 1e30, peer_us = 1e30;
  const char* limit = "";
  double fraction = 0;
  double ratio() const { return peer_us / us; }
};

double WeightBytes(const Cell& cell) {
  const double each = cell.precision == "f32" ? 4 : cell.precision == "int8_weights" ? 1 : 2;
  return 8.0 * cell.hidden * cell.hidden * each;
}

class Bench {
 public:
  Bench(const Options& options, Backend& backend)
      : options_(options),
        backend_(backend),
        threads_(options.threads != 0 ? options.threads : static_cast<int>(std::thread::hardware_concurrency())) {}

  double Peak(const std::string& precision) {
    double& peak = peak_[precision];
    return peak = std::max(peak, precision == "bf16" ? Bf16Peak(threads_) : FmaPeak(threads_));
  }

  Result Measure(const Cell& cell) {
    Result result{cell};
    EngineLstm ours(backend_, cell.steps, cell.batch, cell.hidden, kPrecisions.at(cell.precision));
    std::unique_ptr<OneDnnLstm> peer;
    if (options_.peer != "none") {
      peer = std::make_unique<OneDnnLstm>(cell.steps, cell.batch, cell.hidden, options_.peer == "bf16");
    }
    double bandwidth = 0;
    for (int round = 0; round < options_.rounds; ++round) {
      result.us = std::min(result.us, BestMicroseconds([&] { ours.Run(); }));
      if (peer != nullptr) result.peer_us = std::min(result.peer_us, BestMicroseconds([&] { peer->Run(); }));
      // Not right after ours: the peer's threads spin on for a while.
      bandwidth = std::max(bandwidth, ReadBandwidth(static_cast<size_t>(WeightBytes(cell)), threads_));
    }
    if (peer == nullptr) result.peer_us = result.us;
    const double flops = 16.0 * cell.steps * cell.batch * cell.hidden * cell.hidden;
    const double fma_us = flops / Peak(cell.precision) * 1e6;
    const double read_us = cell.steps * WeightBytes(cell) / bandwidth * 1e6;
    result.limit = fma_us > read_us ? "fma" : "bandwidth";
    result.fraction = std::max(fma_us, read_us) / result.us;
    return result;
  }

 private:
  double NowMicroseconds() const {
    timespec now;
    clock_gettime(options_.cpu_time ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
    return 1e6 * static_cast<double>(now.tv_sec) + 1e-3 * static_cast<double>(now.tv_nsec);
  }

  // The shortest of all calls in about options_.seconds.
  double BestMicroseconds(const std::function<void()>& call) const {
    double best = 1e30;
    const auto turn = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options_.seconds));
    const Clock::time_point end = Clock::now() + turn;
    for (int i = 0; i < 5 || Clock::now() < end; ++i) {
      const double start = NowMicroseconds();
      call();
      best = std::min(best, NowMicroseconds() - start);
    }
    return best;
  }

  const Options options_;
  Backend& backend_;
  const int threads_;
  std::map<std::string, double> peak_;  // the best so far
};

// One line for each row, as measured.
class Table : public benchmark::BenchmarkReporter {
 public:
  explicit Table(const std::vector<Result>& results) : results_(results) {}
  bool ReportContext(const Context&) override {
    std::printf("%5s %5s %5s  %-12s %10s %10s %7s  %-9s %8s\n", "T", "H", "N", "precision", "us", "peer us", "ratio",
                "limit", "fraction");
    return true;
  }
  void ReportRuns(const std::vector<Run>&) override {
    for (; printed_ < results_.size(); ++printed_) {
      const Result& r = results_[printed_];
      std::printf("%5d %5d %5d  %-12s %10.2f %10.2f %7.2f  %-9s %7.0f%%\n", r.cell.steps, r.cell.hidden, r.cell.batch,
                  r.cell.precision.c_str(), r.us, r.peer_us, r.ratio(), r.limit, 100 * r.fraction);
    }
    std::fflush(stdout);
  }

 private:
  const std::vector<Result>& results_;
  size_t printed_ = 0;
};

std::string PeerName(const Options& options) {
  return options.peer == "none" ? "none" : OneDnnLstm::Version() + " " + options.peer;
}

bool WriteJson(const Options& options, const std::vector<Result>& results) {
  nlohmann::json rows = nlohmann::json::array();
  for (const Result& r : results) {
    rows.push_back({{"bench", r.cell.steps == 1 ? "step" : "sequence"},
                    {"T", r.cell.steps},
                    {"N", r.cell.batch},
                    {"H", r.cell.hidden},
                    {"precision", r.cell.precision},
                    {"us", r.us},
                    {"peer", PeerName(options)},
                    {"peer_us", r.peer_us},
                    {"ratio", r.ratio()},
                    {"limit", r.limit},
                    {"fraction", r.fraction}});
  }
  std::ofstream file(options.json);
  file << rows.dump(1) << "\n";
  file.close();
  if (!file) std::cerr << "lstmd_bench: cannot write " << options.json << "\n";
  return static_cast<bool>(file);
}

int Main(const Options& options) {
  auto backend = CreateCpuBackend({options.threads, options.instruction_set});
  if (!backend.ok()) {
    std::cerr << "lstmd_bench: " << backend.status().message() << "\n";
    return 2;
  }
  Bench bench(options, **backend);
  std::printf("%s; peer %s; peak %.0f GFLOP/s\n", (*backend)->description().c_str(), PeerName(options).c_str(),
              bench.Peak("f32") / 1e9);
  std::vector<Result> results;
  for (int steps : options.steps) {
    for (int hidden : options.hidden) {
      for (int batch : options.batch) {
        for (const std::string& precision : options.precision) {
          const Cell cell{steps, hidden, batch, precision};
          const std::string name = std::string(steps == 1 ? "step" : "sequence") + "/T:" + std::to_string(steps) +
                                   "/H:" + std::to_string(hidden) + "/N:" + std::to_string(batch) + "/" + precision;
          const auto measure = [&, cell](benchmark::State& state) {
            for (auto _ : state) {
              results.push_back(bench.Measure(cell));
              state.SetIterationTime(1e-6 * results.back().us);
            }
          };
          benchmark::RegisterBenchmark(name.c_str(), measure)->Iterations(1)->UseManualTime();
        }
      }
    }
  }
  Table table(results);
  if (benchmark::RunSpecifiedBenchmarks(&table, nullptr, options.filter) == 0) {
    std::cerr << "lstmd_bench: no row matches " << options.filter << "\n";
    return 2;
  }
  double log_sum = 0, worst = 1e30;
  for (const Result& r : results) {
    log_sum += std::log(r.ratio());
    worst = std::min(worst, r.ratio());
  }
  std::printf("ratio: geometric mean %.2f, worst %.2f over %zu rows\n",
              std::exp(log_sum / static_cast<double>(results.size())), worst, results.size());
  return options.json.empty() || WriteJson(options, results) ? 0 : 1;
}

}  // namespace
}  // namespace lstmd::bench

int main(int argc, char** argv) {
  lstmd::bench::Options options;
  CLI::App app("Times the CPU backend against oneDNN's LSTM primitive and the machine's limits.");
  app.add_option("--hidden", options.hidden, "Hidden (and input) sizes")->delimiter(',')->check(CLI::Range(1, 16384));
  app.add_option("--batch", options.batch, "Batch sizes")->delimiter(',')->check(CLI::Range(1, 4096));
  app.add_option("--steps", options.steps, "Time steps; 1 is a step")->delimiter(',')->check(CLI::Range(1, 100000));
  app.add_option("--precision", options.precision, "Of our model: f32, bf16_weights, int8_weights, bf16")
      ->delimiter(',')
      ->check(CLI::IsMember(lstmd::bench::kPrecisions));
  app.add_option("--threads", options.threads, "Threads, 0: one per core. The peer's are OMP_NUM_THREADS")
      ->check(CLI::Range(0, 1024));
  app.add_option("--rounds", options.rounds, "Turns of ours and the peer")->check(CLI::Range(1, 1000));
  app.add_option("--seconds", options.seconds, "Seconds of one turn")->check(CLI::Range(0.001, 10.0));
  app.add_option("--instruction-set", options.instruction_set, "Of our kernels; default: the best");
  app.add_option("--peer", options.peer, "Precision of the peer, or none")
      ->check(CLI::IsMember({"f32", "bf16", "none"}));
  app.add_option("--filter", options.filter, "Only the rows whose names (step/T:1/H:64/N:1/f32) match this expression");
  app.add_option("--json", options.json, "Write the rows to this file");
  app.add_flag("--cpu-time", options.cpu_time,
               "Time the calling thread's CPU time: where others use the cores. Means something with --threads 1 and "
               "OMP_NUM_THREADS=1 only");
  CLI11_PARSE(app, argc, argv);
  return lstmd::bench::Main(options);
}
