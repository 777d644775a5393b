// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_TESTS_FAULTS_FAULTS_FIXTURE_H_
#define LSTMD_TESTS_FAULTS_FAULTS_FIXTURE_H_

#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>
#include <string>

#include "gtest/gtest.h"
#include "tests/faults/fault_proxy.h"
#include "tests/faults/load.h"
#include "tests/faults/programs.h"

namespace lstmd {

// The parts of tests/faults/run.sh. LSTMD_FAULTS=full is the whole measure; otherwise each is small enough for the
// suite. LSTMD_TEST_SEED repeats the random choices (not the timing of the machine).
class FaultsTest : public testing::Test {
 protected:
  FaultsTest() {
    const char* const size = std::getenv("LSTMD_FAULTS");
    full_ = size != nullptr && std::strcmp(size, "full") == 0;
    const char* const seed = std::getenv("LSTMD_TEST_SEED");
    seed_ = seed != nullptr ? static_cast<uint32_t>(std::strtoul(seed, nullptr, 10)) : std::random_device()();
    random_.seed(seed_);
    load_.sessions = full_ ? 200 : 32;
    std::cout << "seed " << seed_ << ", " << load_.sessions << " sessions" << std::endl;
  }

  int Times(int full, int quick) const { return full_ ? full : quick; }
  uint64_t Random(uint64_t from, uint64_t to) { return std::uniform_int_distribution<uint64_t>(from, to)(random_); }
  // How many results may pass until the next fault: at random, a few steps of each session.
  uint64_t Pause() { return Random(load_.sessions / 4, load_.sessions * 20); }

  void Report(FaultLoad* load, const FaultProxy* proxy, const std::string& more) {
    const client::ResumeStats stats = load->stats();
    std::cout << load->results() << " steps; " << more;
    if (proxy != nullptr) {
      const FaultCounts& counts = proxy->counts();
      std::cout << ", " << counts.cuts << " cuts, " << counts.drops << " replies dropped, " << counts.duplicates
                << " duplicated of " << counts.replies;
    }
    std::cout << "; client: " << stats.connects << " connects, " << stats.breaks << " breaks, " << stats.binds
              << " binds, " << stats.resends << " resends, " << stats.replays << " replays (at most "
              << stats.max_replay << " of a session at once), " << stats.duplicates << " duplicates dropped"
              << std::endl;
  }
  // After `load` was stopped: against a server that nothing happens to.
  void ExpectUndisturbed(FaultLoad* load) {
    if (HasFatalFailure()) return;
    ServerProgram quiet({});
    load->ExpectUndisturbed(quiet.address());
    if (!HasFailure()) std::cout << "all outputs are bit-identical to an undisturbed run" << std::endl;
  }

  bool full_ = false;
  uint32_t seed_ = 0;
  std::mt19937 random_;
  FaultLoadOptions load_;
};

#define SKIP_WITHOUT(flag) \
  if (!ServerHasFlag(flag)) GTEST_SKIP() << "this build of lstmd has no " << (flag)

}  // namespace lstmd

#endif  // LSTMD_TESTS_FAULTS_FAULTS_FIXTURE_H_
