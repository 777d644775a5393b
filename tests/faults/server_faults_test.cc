// SPDX-License-Identifier: Apache-2.0
//
// One server, and what may happen to it and to the way to it.
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <fstream>

#include "client/error.h"
#include "tests/faults/faults_fixture.h"

namespace lstmd {
namespace {

// One fault for some hundred reply messages, each of which holds results of many sessions.
constexpr FaultRates kBadNetwork = {0.002, 0.005, 0.005};

TEST_F(FaultsTest, Network) {
  ServerProgram server({});
  FaultProxy proxy(server.address(), seed_);
  load_.addresses = proxy.address();
  FaultLoad load(load_);
  const absl::Status started = load.Start();
  ASSERT_TRUE(started.ok()) << started;
  proxy.SetRates({0.01, 0.03, 0.03});
  const absl::Status run = load.WaitForResults(load_.sessions * static_cast<uint64_t>(Times(2000, 500)));
  ASSERT_TRUE(run.ok()) << run;
  const absl::Status stopped = load.Stop();
  ASSERT_TRUE(stopped.ok()) << stopped;
  EXPECT_GT(proxy.counts().cuts, 0u);
  EXPECT_GT(proxy.counts().drops, 0u);
  EXPECT_GT(proxy.counts().duplicates, 0u);
  Report(&load, &proxy, "server alive");
  ExpectUndisturbed(&load);
}

class KillTest : public FaultsTest {
 protected:
  // kill -9 while steps are under way, `times` times, over a bad network.
  void Run(const std::vector<std::string>& flags, int times, uint64_t max_replay) {
    ServerProgram server(flags);
    FaultProxy proxy(server.address(), seed_);
    load_.addresses = proxy.address();
    FaultLoad load(load_);
    const absl::Status started = load.Start();
    ASSERT_TRUE(started.ok()) << started;
    proxy.SetRates(kBadNetwork);
    for (int kill = 0; kill < times; ++kill) {
      const absl::Status run = load.WaitForResults(load.results() + Pause());
      ASSERT_TRUE(run.ok()) << "before kill " << kill + 1 << ": " << run;
      server.Kill();
      ASSERT_NO_FATAL_FAILURE(server.Start());
    }
    absl::Status run = load.WaitForResults(load.results() + load_.sessions * 10);
    if (run.ok()) run = load.Stop();
    Report(&load, &proxy, std::to_string(times) + " kills");
    ASSERT_TRUE(run.ok()) << run;
    EXPECT_LE(load.stats().max_replay, max_replay);
    ExpectUndisturbed(&load);
  }

  TemporaryFolder folder_;
};

TEST_F(KillTest, EveryStep) {
  SKIP_WITHOUT("--store");
  Run({"--store", "rocksdb:" + folder_.path(), "--durability", "every_step"}, Times(24, 4), 0);
}

TEST_F(KillTest, Periodic) {
  SKIP_WITHOUT("--store");
  Run({"--store", "rocksdb:" + folder_.path(), "--durability", "periodic", "--checkpoint-steps", "20",
       "--checkpoint-interval", "1h"},
      Times(10, 3), 20);
}

// The store restarts under a server that lives, and once the server too.
TEST_F(FaultsTest, RedisRestart) {
  SKIP_WITHOUT("--store");
  if (FindProgram("redis-server").empty()) GTEST_SKIP() << "redis-server is not installed";
  RedisProgram redis;
  ServerProgram server({"--store", "redis:127.0.0.1:" + std::to_string(redis.port()), "--durability", "every_step"});
  FaultProxy proxy(server.address(), seed_);
  load_.addresses = proxy.address();
  FaultLoad load(load_);
  const absl::Status started = load.Start();
  ASSERT_TRUE(started.ok()) << started;
  proxy.SetRates(kBadNetwork);
  const int restarts = Times(6, 2);
  for (int restart = 0; restart < restarts; ++restart) {
    const absl::Status run = load.WaitForResults(load.results() + Pause());
    ASSERT_TRUE(run.ok()) << "before restart " << restart + 1 << ": " << run;
    redis.Kill();
    if (restart == restarts / 2) server.Kill();
    redis.Start();
    if (restart == restarts / 2) {
      ASSERT_NO_FATAL_FAILURE(server.Start());
    }
  }
  absl::Status run = load.WaitForResults(load.results() + load_.sessions * 10);
  if (run.ok()) run = load.Stop();
  Report(&load, &proxy, std::to_string(restarts) + " kills of Redis, 1 of the server");
  ASSERT_TRUE(run.ok()) << run;
  ExpectUndisturbed(&load);
}

// A file that takes all the room there is, while it lives.
class Ballast {
 public:
  explicit Ballast(std::string path) : path_(std::move(path)) {
    std::ofstream file(path_, std::ios::binary);
    const std::string block(1 << 16, 'x');
    while (file.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
    }
    file.clear();
    while (file.write("x", 1).flush()) {
    }
  }
  ~Ballast() { unlink(path_.c_str()); }

 private:
  const std::string path_;
};

TEST_F(FaultsTest, DiskFull) {
  SKIP_WITHOUT("--store");
  TemporaryFolder folder;
  if (mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=256m") != 0) {
    GTEST_SKIP() << "no tmpfs can be mounted here: " << std::strerror(errno);
  }
  {
    ServerProgram server({"--store", "rocksdb:" + folder.path() + "/store", "--durability", "every_step"});
    load_.addresses = server.address();
    FaultLoad load(load_);
    const absl::Status started = load.Start();
    ASSERT_TRUE(started.ok()) << started;
    client::ClientOptions once;
    once.retry.max_attempts = 1;
    absl::StatusOr<std::unique_ptr<client::Client>> client = client::Client::Connect(server.address(), once);
    ASSERT_TRUE(client.ok()) << client.status();
    client::Session probe = (*client)->OpenSession(client::SessionName("sunspots", "probe"));
    const int times = Times(3, 1);
    int refused = 0;
    client::StepOptions step;
    step.create_if_missing = true;
    step.seq = 1;
    for (int full = 0; full < times; ++full) {
      absl::Status run = load.WaitForResults(load.results() + Pause());
      ASSERT_TRUE(run.ok()) << run;
      Ballast ballast(folder.path() + "/ballast");
      // Steps until the server says that there is no room; what it has still buffered may take a while to fill.
      absl::Status last;
      for (int tries = 0; tries < 200'000 && refused <= full; ++tries) {
        const absl::StatusOr<client::StepOutput> output = probe.Step(client::Array{{1}, {0.5f}}, step);
        last = output.status();
        if (last.ok()) {
          ++step.seq;
        } else if (client::GetDetails(last).reason == "STORE_FULL") {
          ++refused;
        }
      }
      ASSERT_EQ(refused, full + 1) << "the server never said that the disk is full, but: " << client::Describe(last);
    }
    absl::Status run = load.WaitForResults(load.results() + load_.sessions * 10);
    if (run.ok()) run = load.Stop();
    Report(&load, nullptr, std::to_string(refused) + " times the disk was full");
    EXPECT_TRUE(run.ok()) << run;
    if (run.ok()) ExpectUndisturbed(&load);
  }
  EXPECT_EQ(umount2(folder.path().c_str(), MNT_DETACH), 0);
}

}  // namespace
}  // namespace lstmd
