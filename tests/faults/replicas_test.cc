// SPDX-License-Identifier: Apache-2.0
//
// Two servers on one Redis.
#include <signal.h>

#include <future>

#include "client/error.h"
#include "tests/faults/faults_fixture.h"
#include "tests/faults/tcp_proxy.h"

namespace lstmd {
namespace {

class ReplicasTest : public FaultsTest {
 protected:
  std::vector<std::string> Flags(int port, const std::string& durability) {
    return {"--store", "redis:127.0.0.1:" + std::to_string(port), "--durability", durability};
  }

  // SIGTERM of one replica after the other, under load.
  void Roll(const std::string& durability) {
    RedisProgram redis;
    ServerProgram a(Flags(redis.port(), durability));
    ServerProgram b(Flags(redis.port(), durability));
    load_.addresses = a.address() + "," + b.address();
    FaultLoad load(load_);
    const absl::Status started = load.Start();
    ASSERT_TRUE(started.ok()) << started;
    const int times = Times(6, 2);
    for (int roll = 0; roll < times; ++roll) {
      const absl::Status run = load.WaitForResults(load.results() + Pause());
      ASSERT_TRUE(run.ok()) << "before drain " << roll + 1 << ": " << run;
      ServerProgram& leaving = roll % 2 == 0 ? a : b;
      leaving.Signal(SIGTERM);
      EXPECT_EQ(leaving.Wait(), 0) << leaving.log();
      const absl::Status after = load.WaitForResults(load.results() + load_.sessions);
      ASSERT_TRUE(after.ok()) << "after drain " << roll + 1 << ": " << after;
      ASSERT_NO_FATAL_FAILURE(leaving.Start());
    }
    const absl::Status stopped = load.Stop();
    Report(&load, nullptr, std::to_string(times) + " drains");
    ASSERT_TRUE(stopped.ok()) << stopped;
    EXPECT_GE(load.stats().go_aways, 1u);
    ExpectUndisturbed(&load);
  }
};

#define SKIP_WITHOUT_REDIS() \
  SKIP_WITHOUT("--store");   \
  if (FindProgram("redis-server").empty()) GTEST_SKIP() << "redis-server is not installed"

TEST_F(ReplicasTest, DrainEveryStep) {
  SKIP_WITHOUT_REDIS();
  Roll("every_step");
}

// Nothing is in the store until the drain puts it there.
TEST_F(ReplicasTest, DrainWithoutDurability) {
  SKIP_WITHOUT_REDIS();
  Roll("none");
}

// The owner of the sessions loses its store but not its clients. It is given steps all along; another replica takes
// the sessions over meanwhile.
TEST_F(ReplicasTest, Partition) {
  SKIP_WITHOUT_REDIS();
  RedisProgram redis;
  TcpProxy wire(redis.port());
  ServerProgram stale(Flags(wire.port(), "every_step"));
  ServerProgram owner(Flags(redis.port(), "every_step"));
  load_.sessions = static_cast<uint32_t>(Times(50, 10));
  // First all goes to the owner that will be cut off.
  load_.addresses = stale.address();
  FaultLoad before(load_);
  ASSERT_TRUE(before.Start().ok());
  ASSERT_TRUE(before.WaitForResults(load_.sessions * 10).ok());
  ASSERT_TRUE(before.Stop().ok());

  // The client that does not know better: the next steps, with an input that would show.
  client::ClientOptions once;
  once.retry.max_attempts = 1;
  once.timeout = absl::Seconds(20);
  absl::StatusOr<std::unique_ptr<client::Client>> unaware = client::Client::Connect(stale.address(), once);
  ASSERT_TRUE(unaware.ok()) << unaware.status();
  struct Fed {
    std::string session;
    uint64_t seq;
    std::future<absl::StatusOr<client::StepOutput>> answer;
  };
  std::vector<Fed> fed;
  const auto feed = [&](uint32_t session, uint64_t seq) {
    Fed one{before.SessionOf(session), seq, {}};
    one.answer = std::async(std::launch::async, [&unaware, name = one.session, seq] {
      client::StepOptions step;
      step.seq = seq;
      return (*unaware)->OpenSession(name).Step(client::Array{{1}, {7.5f}}, step);
    });
    fed.push_back(std::move(one));
  };
  wire.Cut();
  for (uint32_t s = 0; s < load_.sessions; ++s) feed(s, before.StepsOf(s) + 1);

  // The other replica claims the sessions and goes on with them. Its client numbers from the server's word.
  absl::StatusOr<std::unique_ptr<client::Client>> client = client::Client::Connect(owner.address());
  ASSERT_TRUE(client.ok()) << client.status();
  absl::StatusOr<std::unique_ptr<client::Client>> reference_client;
  ServerProgram quiet({});
  reference_client = client::Client::Connect(quiet.address());
  ASSERT_TRUE(reference_client.ok()) << reference_client.status();
  std::vector<client::Session> undisturbed;
  for (uint32_t s = 0; s < load_.sessions; ++s) {
    absl::StatusOr<client::Session> session = (*reference_client)->CreateSession("sunspots");
    ASSERT_TRUE(session.ok()) << session.status();
    for (uint64_t step = 0; step < before.StepsOf(s); ++step) {
      const float input = FaultLoad::Input(s, step);
      ASSERT_TRUE(session->Step(absl::MakeConstSpan(&input, 1)).ok());
    }
    undisturbed.push_back(*std::move(session));
  }
  std::unique_ptr<client::ResumableStream> stream = (*client)->OpenResumableStream();
  const uint64_t more = 20;
  for (uint32_t s = 0; s < load_.sessions; ++s) {
    const absl::StatusOr<client::Binding> binding = stream->Bind(before.SessionOf(s));
    ASSERT_TRUE(binding.ok()) << binding.status();
    EXPECT_EQ(binding->session.last_seq(), before.StepsOf(s));
    for (uint64_t step = before.StepsOf(s); step < before.StepsOf(s) + more; ++step) {
      const float input = FaultLoad::Input(s, step);
      const absl::StatusOr<std::vector<float>> output = stream->Step(binding->handle, absl::MakeConstSpan(&input, 1));
      ASSERT_TRUE(output.ok()) << output.status();
      EXPECT_EQ(*output, *undisturbed[s].Step(absl::MakeConstSpan(&input, 1)));
    }
  }
  // What the stale owner wrote arrives late, and must bounce.
  wire.Heal();
  for (uint32_t s = 0; s < load_.sessions; ++s) feed(s, before.StepsOf(s) + 2);
  int refused = 0;
  int replayed = 0;
  for (Fed& one : fed) {
    const absl::StatusOr<client::StepOutput> answer = one.answer.get();
    if (answer.ok()) {
      ++replayed;
      EXPECT_TRUE(answer->replayed) << one.session << ": step " << one.seq << " was acknowledged by the stale owner";
    } else {
      ++refused;
    }
  }
  std::cout << fed.size() << " steps were given to the stale owner: " << refused << " refused, " << replayed
            << " answered with what the owner had computed" << std::endl;

  // What the store has is the owner's.
  owner.Kill();
  ASSERT_NO_FATAL_FAILURE(owner.Start());
  for (uint32_t s = 0; s < load_.sessions; ++s) {
    client::Session session = (*client)->OpenSession(before.SessionOf(s));
    const uint64_t last = before.StepsOf(s) + more;
    const float input = FaultLoad::Input(s, last);
    client::StepOptions step;
    step.seq = last + 1;
    const absl::StatusOr<client::StepOutput> output = session.Step(client::Array{{1}, {input}}, step);
    ASSERT_TRUE(output.ok()) << output.status();
    EXPECT_FALSE(output->replayed);
    EXPECT_EQ(output->output.values, *undisturbed[s].Step(absl::MakeConstSpan(&input, 1)));
  }
}

}  // namespace
}  // namespace lstmd
