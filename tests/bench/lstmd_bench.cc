// SPDX-License-Identifier: Apache-2.0
//
// Engine steps and sequences, one layer, I = H, against oneDNN's LSTM primitive and the machine's limits, all measured
// in turns in one process: only the ratios mean something on a shared machine.
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "engine/cpu/cpu_backend.h"
#include "nlohmann/json.hpp"
#include "tests/bench/limits.h"
#include "tests/bench/onednn_lstm.h"

namespace lstmd::bench {
namespace {

using Clock = std::chrono::steady_clock;

bool use_cpu_time = false;

double NowMicroseconds() {
  timespec now;
  clock_gettime(use_cpu_time ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return 1e6 * static_cast<double>(now.tv_sec) + 1e-3 * static_cast<double>(now.tv_nsec);
}

struct Options {
  std::vector<int> hidden = {64, 128, 256, 512, 1024};
  std::vector<int> batch = {1, 2, 4, 8, 16, 32, 64};
  std::vector<int> steps = {1};
  int threads = 0;
  int rounds = 5;
  double seconds = 0.02;
  std::string instruction_set;
  std::string json;
  bool peer = true;
};

// The shortest of all calls in about `seconds`.
double BestMicroseconds(double seconds, const std::function<void()>& call) {
  double best = 1e30;
  const Clock::time_point end =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  for (int i = 0; i < 5 || Clock::now() < end; ++i) {
    const double start = NowMicroseconds();
    call();
    best = std::min(best, NowMicroseconds() - start);
  }
  return best;
}

std::vector<float> Random(size_t size, float scale) {
  static std::mt19937 rng(1);
  std::uniform_real_distribution<float> uniform(-scale, scale);
  std::vector<float> values(size);
  for (float& value : values) value = uniform(rng);
  return values;
}

// Sessions of one model on the CPU backend.
class Ours {
 public:
  Ours(Backend& backend, int steps, int batch, int hidden) : backend_(backend) {
    ModelSpec spec;
    spec.input_size = spec.hidden_size = hidden;
    Weights weights;
    weights.cells.resize(1);
    const size_t size = size_t{4} * hidden * hidden;
    weights.cells[0].w = Random(size, 0.05f);
    weights.cells[0].r = Random(size, 0.05f);
    weights.cells[0].bias = Random(4 * hidden, 0.05f);
    model_ = *backend.Load(spec, weights);
    pool_ = *backend.CreateStatePool(*model_);
    input_ = Random(size_t{1} * batch * steps * hidden, 1);
    output_.resize(input_.size());
    rows_.resize(batch);
    for (int i = 0; i < batch; ++i) {
      rows_[i].slot = *pool_->Allocate();
      rows_[i].input = input_.data() + size_t{1} * i * steps * hidden;
      rows_[i].output = output_.data() + size_t{1} * i * steps * hidden;
      rows_[i].steps = rows_[i].budget = steps;
      pointers_.push_back(&rows_[i]);
    }
  }

  void Run() {
    for (Row& row : rows_) row.position = 0;
    if (!backend_.Run(*model_, *pool_, pointers_).ok()) std::abort();
  }

 private:
  Backend& backend_;
  std::unique_ptr<DeviceModel> model_;
  std::unique_ptr<StatePool> pool_;
  std::vector<float> input_, output_;
  std::vector<Row> rows_;
  std::vector<Row*> pointers_;
};

int Main(const Options& options) {
  auto backend = CreateCpuBackend({options.threads, options.instruction_set});
  if (!backend.ok()) {
    std::cerr << backend.status() << "\n";
    return 2;
  }
  const int threads = options.threads != 0 ? options.threads : static_cast<int>(std::thread::hardware_concurrency());
  double peak = FmaPeak(threads);
  std::printf("%s; peer %s; FMA peak %.0f GFLOP/s\n", (*backend)->description().c_str(), OneDnnLstm::Version().c_str(),
              peak / 1e9);
  std::printf("%5s %5s %5s %10s %10s %7s  %-9s %8s\n", "T", "H", "N", "us", "peer us", "ratio", "limit", "fraction");
  nlohmann::json rows = nlohmann::json::array();
  double log_sum = 0, worst = 1e30;
  for (int steps : options.steps) {
    for (int hidden : options.hidden) {
      for (int batch : options.batch) {
        Ours ours(**backend, steps, batch, hidden);
        OneDnnLstm peer(steps, batch, hidden);
        const double weight_bytes = 8.0 * hidden * hidden * sizeof(float);
        double us = 1e30, peer_us = options.peer ? 1e30 : 0, bandwidth = 0;
        for (int round = 0; round < options.rounds; ++round) {
          us = std::min(us, BestMicroseconds(options.seconds, [&] { ours.Run(); }));
          if (options.peer) peer_us = std::min(peer_us, BestMicroseconds(options.seconds, [&] { peer.Run(); }));
          // Not right after ours: the peer's threads spin on for a while.
          bandwidth = std::max(bandwidth, ReadBandwidth(static_cast<size_t>(weight_bytes), threads));
        }
        peak = std::max(peak, FmaPeak(threads));
        const double fma_us = 16.0 * steps * batch * hidden * hidden / peak * 1e6;
        const double read_us = steps * weight_bytes / bandwidth * 1e6;
        const bool compute = fma_us > read_us;
        const double fraction = std::max(fma_us, read_us) / us;
        const double ratio = options.peer ? peer_us / us : 1;
        log_sum += std::log(ratio);
        worst = std::min(worst, ratio);
        std::printf("%5d %5d %5d %10.2f %10.2f %7.2f  %-9s %7.0f%%\n", steps, hidden, batch, us, peer_us, ratio,
                    compute ? "fma" : "bandwidth", 100 * fraction);
        std::fflush(stdout);
        rows.push_back({{"bench", steps == 1 ? "step" : "sequence"},
                        {"T", steps},
                        {"N", batch},
                        {"H", hidden},
                        {"precision", "f32"},
                        {"us", us},
                        {"peer", OneDnnLstm::Version()},
                        {"peer_us", peer_us},
                        {"ratio", ratio},
                        {"limit", compute ? "fma" : "bandwidth"},
                        {"fraction", fraction}});
      }
    }
  }
  std::printf("ratio: geometric mean %.2f, worst %.2f over %zu rows\n", std::exp(log_sum / rows.size()), worst,
              rows.size());
  if (!options.json.empty()) {
    std::ofstream file(options.json);
    file << rows.dump(1) << "\n";
    if (!file) {
      std::cerr << "cannot write " << options.json << "\n";
      return 1;
    }
  }
  return 0;
}

}  // namespace
}  // namespace lstmd::bench

int main(int argc, char** argv) {
  lstmd::bench::Options options;
  CLI::App app("Times the CPU backend against oneDNN's LSTM primitive and the machine's limits.");
  app.add_option("--hidden", options.hidden, "Hidden (and input) sizes")->delimiter(',')->check(CLI::Range(1, 16384));
  app.add_option("--batch", options.batch, "Batch sizes")->delimiter(',')->check(CLI::Range(1, 4096));
  app.add_option("--steps", options.steps, "Time steps; 1 is a step")->delimiter(',')->check(CLI::Range(1, 100000));
  app.add_option("--threads", options.threads, "Threads, 0: one per core")->check(CLI::Range(0, 1024));
  app.add_option("--rounds", options.rounds, "Turns of ours and the peer")->check(CLI::Range(1, 1000));
  app.add_option("--seconds", options.seconds, "Seconds of one turn")->check(CLI::Range(0.001, 10.0));
  app.add_option("--instruction-set", options.instruction_set, "Of our kernels; default: the best");
  app.add_option("--json", options.json, "Write the rows to this file");
  app.add_flag("--cpu-time", lstmd::bench::use_cpu_time,
               "Time the calling thread's CPU time: where others use the cores. Means something with --threads 1 and "
               "OMP_NUM_THREADS=1 only");
  app.add_flag("!--no-peer", options.peer, "Leave the peer out");
  CLI11_PARSE(app, argc, argv);
  return lstmd::bench::Main(options);
}
