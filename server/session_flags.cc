// SPDX-License-Identifier: Apache-2.0
#include <limits>

#include "absl/strings/numbers.h"
#include "server/flags.h"

namespace lstmd::server {
namespace {

// "N" for every model, "NAME=N" for one.
std::string ReadModelBound(const std::string& text, SessionOptions* session) {
  const size_t at = text.find('=');
  const std::string name = at == std::string::npos ? "" : text.substr(0, at);
  uint64_t bound = 0;
  if (!absl::SimpleAtoi(text.substr(at == std::string::npos ? 0 : at + 1), &bound) ||
      (at != std::string::npos && !IsValidModelName(name))) {
    return "got '" + text + "', want N or NAME=N with the name of a model";
  }
  if (at == std::string::npos) {
    session->max_sessions_per_model = bound;
  } else {
    session->max_sessions_of_model[name] = bound;
  }
  return "";
}

void AddSessionBounds(Flags* flags, SessionOptions* session) {
  flags->AddList(
      "--max-sessions-per-model", [session](const std::string& text) { return ReadModelBound(text, session); },
      "Sessions of each model, or NAME=N of one; repeatable. Without: no bound but --max-sessions", "[NAME=]N");
  flags->AddChoice(
      "--session-eviction", {"refuse", "lru"},
      [session](const std::string& text) { session->evict_least_recently_used = text == "lru"; },
      "At such a bound: refuse the new session, or evict the one unused for longest that is idle");
  flags
      ->Add("--watch-buffer", &session->watch_buffer,
            "Events that may wait for one WatchSessions client; a slower one is told how many it missed")
      ->check(CLI::Range(1, 1 << 20));
}

}  // namespace

void AddSessionFlags(CLI::App* app, ServerOptions* options) {
  Flags sessions(app, "Sessions");
  SessionOptions& session = options->engine.sessions;
  sessions.Add("--max-sessions", &session.max_sessions, "Sessions of all models; above it RESOURCE_EXHAUSTED")
      ->check(CLI::NonNegativeNumber);
  AddSessionBounds(&sessions, &session);
  sessions.AddDuration("--session-idle-ttl", &session.idle_ttl,
                       "A session without a step for this long ends, unless it says otherwise; 0: never");
  sessions.Add("--replay-ring", &session.replay_ring, "Replies kept per session for repeated sequenced steps")
      ->check(CLI::Range(0, 65536));
  sessions.AddDuration("--tombstone-ttl", &session.tombstone_ttl,
                       "How long the name of an ended session answers how it ended");
  sessions.Add("--max-tombstones", &session.max_tombstones, "How many such names are kept")
      ->check(CLI::Range(0, std::numeric_limits<int>::max()));

  Flags durable(app, "Durability");
  durable
      .Add("--store", &options->store,
           "Where sessions are saved: none, rocksdb:DIR (of one server), redis:HOST:PORT or redis:unix:PATH (shared by "
           "replicas)")
      ->type_name("STORE");
  durable
      .Add("--store-password-file", &options->store_password_file,
           "File with the password of Redis; empty: it has none")
      ->type_name("FILE");
  durable
      .Add("--durability", &options->durability,
           "Of sessions that do not say: none (lost with the server), periodic, or every_step (a reply comes when its "
           "step is safe)")
      ->check(CLI::IsMember({"none", "periodic", "every_step"}))
      ->type_name("NAME");
  DurabilityOptions& durability = options->engine.durability;
  durable
      .Add("--checkpoint-steps", &durability.checkpoint_steps,
           "Steps that a crash may cost a periodic session. More: fewer writes")
      ->check(CLI::Range(1, 1 << 24));
  durable.AddDuration("--checkpoint-interval", &durability.checkpoint_interval,
                      "A periodic session that has changed is saved after this long at the latest");
  durable
      .Add("--advertise", &options->advertise,
           "Address at which clients reach this server, told to those whose session it has taken over; empty: none")
      ->type_name("ADDRESS");
  Flags spilling(app, "Spilling");
  SpillOptions& spill = options->engine.spill;
  spilling
      .Add(
          "--max-resident-sessions", &spill.max_resident_sessions,
          "Sessions whose state is on a device; above it those longest idle leave, and come back with their next step. "
          "0: no bound")
      ->check(CLI::NonNegativeNumber);
  spilling.AddSize("--spill-memory", &spill.host_bytes,
                   "Host memory for their states; above it they go to --spill-dir");
  spilling.Add("--spill-dir", &spill.folder, "Folder for what does not fit there, wiped at the start; empty: none")
      ->type_name("DIR");
}

}  // namespace lstmd::server
