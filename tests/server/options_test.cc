// SPDX-License-Identifier: Apache-2.0
#include "server/options.h"

#include <sstream>

#include "gmock/gmock.h"

namespace lstmd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Parsed {
  std::optional<ServerOptions> options;
  int exit_code = -1;
  std::string out;
  std::string err;
};

Parsed Parse(std::vector<const char*> flags) {
  flags.insert(flags.begin(), "lstmd");
  Parsed parsed;
  std::ostringstream out, err;
  parsed.options = ParseOptions(static_cast<int>(flags.size()), flags.data(), out, err, &parsed.exit_code);
  parsed.out = out.str();
  parsed.err = err.str();
  return parsed;
}

TEST(OptionsTest, DefaultsAreTheStructs) {
  const Parsed parsed = Parse({});
  ASSERT_TRUE(parsed.options) << parsed.err;
  const ServerOptions defaults;
  EXPECT_EQ(parsed.options->listen, defaults.listen);
  EXPECT_EQ(parsed.options->drain_timeout, defaults.drain_timeout);
  EXPECT_EQ(parsed.options->limits.max_message_bytes, uint64_t{64} << 20);
  EXPECT_EQ(parsed.options->engine.sessions.idle_ttl, defaults.engine.sessions.idle_ttl);
  EXPECT_EQ(parsed.options->engine.scheduler.max_queue_delay, absl::ZeroDuration());
}

TEST(OptionsTest, BoundsOfModelsAndTheirPolicy) {
  const Parsed parsed = Parse({"--max-sessions-per-model", "100", "--max-sessions-per-model", "sunspots=7",
                               "--max-sessions-per-model=other=0", "--session-eviction", "lru", "--watch-buffer", "9"});
  ASSERT_TRUE(parsed.options) << parsed.err;
  const SessionOptions& sessions = parsed.options->engine.sessions;
  EXPECT_EQ(sessions.max_sessions_per_model, 100u);
  EXPECT_EQ(sessions.max_sessions_of_model, (decltype(sessions.max_sessions_of_model){{"other", 0}, {"sunspots", 7}}));
  EXPECT_TRUE(sessions.evict_least_recently_used);
  EXPECT_EQ(sessions.watch_buffer, 9u);
  const Parsed follow = Parse({"--update-policy", "follow", "--watch-repository", "10s"});
  ASSERT_TRUE(follow.options) << follow.err;
  EXPECT_EQ(follow.options->engine.update_policy, UpdatePolicy::kFollow);
  EXPECT_EQ(follow.options->watch_repository, absl::Seconds(10));
  EXPECT_EQ(Parse({}).options->engine.update_policy, UpdatePolicy::kPin);
  EXPECT_EQ(Parse({}).options->engine.sessions.max_sessions_per_model, UINT64_MAX);
  EXPECT_FALSE(Parse({}).options->engine.sessions.evict_least_recently_used);
  EXPECT_THAT(Parse({"--max-sessions-per-model", "a/b=1"}).err, HasSubstr("want N or NAME=N"));
  EXPECT_THAT(Parse({"--max-sessions-per-model", "m=-1"}).err, HasSubstr("want N or NAME=N"));
  EXPECT_THAT(Parse({"--session-eviction", "fifo"}).err, HasSubstr("fifo not in {refuse,lru}"));
}

TEST(OptionsTest, EveryKindOfValue) {
  const Parsed parsed = Parse({"--repository",
                               "models",
                               "--listen",
                               "0.0.0.0:1",
                               "--listen",
                               "unix:/x",
                               "--max-message-size",
                               "2MiB",
                               "--drain-timeout",
                               "1m30s",
                               "--threads=3",
                               "--instruction-set",
                               "AVX2",
                               "--device",
                               "cuda:1",
                               "--max-batch-size",
                               "32",
                               "--session-idle-ttl",
                               "0",
                               "--max-sessions",
                               "7",
                               "--log-format",
                               "json",
                               "--max-queue-delay",
                               "250us"});
  ASSERT_TRUE(parsed.options) << parsed.err;
  EXPECT_EQ(parsed.options->engine.repository, "models");
  EXPECT_THAT(parsed.options->listen, ElementsAre("0.0.0.0:1", "unix:/x"));
  EXPECT_EQ(parsed.options->limits.max_message_bytes, uint64_t{2} << 20);
  EXPECT_EQ(parsed.options->drain_timeout, absl::Seconds(90));
  EXPECT_EQ(parsed.options->threads, 3);
  EXPECT_EQ(parsed.options->instruction_set, "AVX2");
  EXPECT_EQ(parsed.options->device, "cuda:1");
  EXPECT_EQ(parsed.options->engine.scheduler.max_batch_size, 32u);
  EXPECT_EQ(parsed.options->engine.sessions.idle_ttl, absl::ZeroDuration());
  EXPECT_EQ(parsed.options->engine.sessions.max_sessions, 7u);
  EXPECT_EQ(parsed.options->log_format, "json");
  EXPECT_EQ(parsed.options->engine.scheduler.max_queue_delay, absl::Microseconds(250));
}

TEST(OptionsTest, MistakesAreOneLineAndTwo) {
  const std::vector<std::vector<const char*>> mistakes = {{"--what"},
                                                          {"stray"},
                                                          {"--threads"},
                                                          {"--listen", ":1"},
                                                          {"--listen", "x:"},
                                                          {"--listen", "x:y"},
                                                          {"--listen", "unix:"},
                                                          {"--device", "cuda:"},
                                                          {"--device", "cuda:-1"},
                                                          {"--keepalive-time", "5"},
                                                          {"--max-message-size", "12"},
                                                          {"--max-message-size", "1XB"},
                                                          {"--max-sessions", "-1"},
                                                          {"--max-tombstones", "-1"},
                                                          {"--max-message-size", "-1"},
                                                          {"--log-level", "verbose"},
                                                          {"--max-queued-per-session", "0"}};
  for (const std::vector<const char*>& flags : mistakes) {
    const Parsed parsed = Parse(flags);
    EXPECT_FALSE(parsed.options) << flags.back();
    EXPECT_EQ(parsed.exit_code, 2);
    EXPECT_EQ(std::count(parsed.err.begin(), parsed.err.end(), '\n'), 1) << parsed.err;
    EXPECT_THAT(parsed.err, HasSubstr("lstmd: "));
  }
}

TEST(OptionsTest, Spilling) {
  const Parsed parsed = Parse({"--max-resident-sessions", "10", "--spill-memory", "1MiB", "--spill-dir", "x"});
  ASSERT_TRUE(parsed.options.has_value()) << parsed.err;
  EXPECT_EQ(parsed.options->engine.spill.max_resident_sessions, 10u);
  EXPECT_EQ(parsed.options->engine.spill.host_bytes, 1u << 20);
  EXPECT_EQ(parsed.options->engine.spill.folder, "x");
}

TEST(OptionsTest, DurabilityNeedsAStore) {
  const Parsed parsed = Parse({"--store", "redis:host:6379", "--durability", "periodic", "--checkpoint-steps", "7",
                               "--checkpoint-interval", "3s", "--advertise", "a:1"});
  ASSERT_TRUE(parsed.options.has_value()) << parsed.err;
  EXPECT_EQ(parsed.options->store, "redis:host:6379");
  EXPECT_EQ(parsed.options->engine.durability.durability, Durability::kPeriodic);
  EXPECT_EQ(parsed.options->engine.durability.checkpoint_steps, 7u);
  EXPECT_EQ(parsed.options->engine.durability.checkpoint_interval, absl::Seconds(3));
  EXPECT_EQ(parsed.options->engine.durability.owner, "a:1");
  for (const std::vector<const char*>& wrong :
       std::vector<std::vector<const char*>>{{"--durability", "every_step"},
                                             {"--store", "rocksdb:x", "--durability", "always"},
                                             {"--store", "rocksdb:x", "--checkpoint-steps", "0"}}) {
    EXPECT_EQ(Parse(wrong).exit_code, 2) << wrong.back();
  }
}

TEST(OptionsTest, HelpNamesEveryFlagWithItsDefault) {
  const Parsed parsed = Parse({"--help"});
  EXPECT_FALSE(parsed.options);
  EXPECT_EQ(parsed.exit_code, 0);
  for (const char* part : {"--max-in-flight-per-stream", "8192", "--session-idle-ttl", "1h", "--slice-units", "16",
                           "LSTMD_MAX_BATCH_SIZE", "Exit codes"}) {
    EXPECT_THAT(parsed.out, HasSubstr(part));
  }
}

}  // namespace
}  // namespace lstmd::server
