// SPDX-License-Identifier: Apache-2.0
//
// lstmctl: models, sessions, steps, errors and load.
#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "engine/store/state_store.h"
#include "tests/client/lstmctl_fixture.h"

namespace lstmd {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

using LstmctlServerTest = LstmctlTest;

TEST_F(LstmctlServerTest, ModelsAndInfo) {
  StartCpu();
  EXPECT_THAT(Out({"models"}), AllOf(HasSubstr("MODEL"), HasSubstr("wide"), HasSubstr("READY"),
                                     HasSubstr("I 3, H 5, L 2, O 2"), HasSubstr("bidirectional")));
  const nlohmann::json models = Json({"models"});
  ASSERT_EQ(models.size(), 3u);
  EXPECT_EQ(models[0]["name"], "bi");
  EXPECT_EQ(models[0]["steppable"], false);
  EXPECT_EQ(models[1]["spec"]["input_size"], 3);
  EXPECT_THAT(Out({"info"}), AllOf(HasSubstr("lstmd"), HasSubstr("cpu"), HasSubstr("models        3")));
  EXPECT_EQ(Json({"info"})["models"], 3);

  EXPECT_THAT(Error({"load", "none"}),
              AllOf(HasSubstr("NOT_FOUND / MODEL_NOT_FOUND"), HasSubstr("hint: lstmctl models")));
  EXPECT_THAT(Out({"unload", "wide"}), HasSubstr("wide is unloaded"));
  Out({"create", "m", "a"});
  EXPECT_THAT(Error({"unload", "m"}), AllOf(HasSubstr("MODEL_IN_USE"), HasSubstr("hint: lstmctl sessions")));
  Out({"unload", "m", "--force"});
  EXPECT_THAT(Out({"sessions"}), HasSubstr("There are no sessions."));
}

TEST_F(LstmctlServerTest, LifeOfASession) {
  StartCpu();
  EXPECT_EQ(Out({"create", "m", "alice", "--ttl", "90s", "--label", "who=me"}), "m/alice\n");
  const nlohmann::json made = Json({"get", "m/alice"});
  EXPECT_EQ(made["idle_ttl_seconds"], 90);
  EXPECT_EQ(made["labels"]["who"], "me");
  EXPECT_THAT(Error({"create", "m", "alice"}), AllOf(HasSubstr("SESSION_EXISTS"), HasSubstr("--exists-ok")));
  EXPECT_EQ(Out({"create", "m", "alice", "--exists-ok"}), "m/alice\n");
  EXPECT_EQ(Json({"create", "m"})["epoch"], 1);

  const nlohmann::json step = Json({"step", "m/alice", "1", "-2.5", "3", "--seq", "1", "--state"});
  EXPECT_EQ(step["output"].size(), 2u);
  EXPECT_EQ(step["seq"], 1);
  EXPECT_EQ(step["state"]["h"].size(), 2u);
  const std::string text = Out({"step", "models/m/sessions/alice", "1,-2.5,3", "--seq", "1"});
  EXPECT_EQ(std::count(text.begin(), text.end(), ','), 1) << text;
  EXPECT_EQ(Json({"get", "m/alice"})["steps"], 1) << "the repeat was replayed";
  EXPECT_THAT(Out({"get", "m/alice", "--state"}),
              AllOf(HasSubstr("1 steps"), HasSubstr("h [2, 5]"), HasSubstr("c [2, 5]")));

  // The state, out to files and into another session.
  Out({"state", "m/alice", "--h", File("h.npy"), "--c", File("c.npy")});
  Out({"create", "m", "bob", "--h", File("h.npy"), "--c", File("c.npy")});
  EXPECT_EQ(Json({"state", "m/bob"}), Json({"state", "m/alice"}));
  EXPECT_EQ(Json({"step", "m/bob", "1", "1", "1"})["output"], Json({"step", "m/alice", "1", "1", "1"})["output"]);
  EXPECT_EQ(Json({"reset", "m/bob"})["epoch"], 2);
  EXPECT_EQ(Json({"reset", "m/bob", "--h", File("h.npy"), "--c", File("c.npy")})["epoch"], 3);

  EXPECT_EQ(Json({"sessions", "m"}).size(), 3u);
  EXPECT_THAT(Out({"sessions"}), AllOf(HasSubstr("m/alice"), HasSubstr("1m30s")));
  EXPECT_EQ(Json({"sessions", "--limit", "1"}).size(), 1u);
  EXPECT_THAT(Out({"delete", "m/alice"}), HasSubstr("m/alice is deleted"));
  EXPECT_THAT(Error({"get", "m/alice"}),
              AllOf(HasSubstr("SESSION_NOT_FOUND"), HasSubstr("last_event DELETED"), HasSubstr("hint:")));
  Out({"delete", "m/alice", "--allow-missing"});
  EXPECT_EQ(Json({"step", "m/new", "1", "1", "1", "--create", "--end"})["output"].size(), 2u);
  EXPECT_EQ(Json({"sessions"}).size(), 2u);
}

TEST_F(LstmctlServerTest, CheckpointAndDrainWithAStore) {
  const std::string folder = testing::TempDir() + "/lstmctl_store";
  std::filesystem::remove_all(folder);
  options_.engine.store = *OpenStore("rocksdb:" + folder);
  StartCpu();
  const nlohmann::json made = Json({"create", "m", "a", "--durability", "every_step", "--pinned"});
  EXPECT_EQ(made["durability"], "EVERY_STEP");
  EXPECT_EQ(made["pinned"], true);
  EXPECT_EQ(made["residency"], "DEVICE");
  Out({"create", "m", "b"});
  EXPECT_THAT(Out({"checkpoint", "m/b"}), HasSubstr("m/b is safe up to seq 0"));
  EXPECT_THAT(Out({"get", "m/a"}), HasSubstr("durability EVERY_STEP"));
  const nlohmann::json drained = Json({"drain", "--within", "10s"});
  EXPECT_EQ(drained["saved"], 2);
  EXPECT_EQ(drained["lost"], 0);
  EXPECT_THAT(Out({"get", "m/a"}), HasSubstr("now on STORE"));
  EXPECT_THAT(Error({"create", "m", "c"}), HasSubstr("UNAVAILABLE / DRAINING"));
  options_.engine.store = nullptr;
  server_.reset();
  std::filesystem::remove_all(folder);
}

TEST_F(LstmctlServerTest, WatchesAndFindsSessionsByLabel) {
  StartCpu();
  ProcessResult result;
  std::atomic<bool> done{false};
  std::thread watcher([&] {
    result = Ctl({"watch", "m", "--kind", "created", "--kind", "deleted", "--count", "2", "--json"});
    done = true;
  });
  // Until the watch is on and has seen two.
  for (int k = 0; !done; ++k) {
    ASSERT_TRUE(server_->engine().FindSession("wide", std::to_string(k), true).ok());
    ASSERT_TRUE(server_->engine().FindSession("m", std::to_string(k), true).ok());
    ASSERT_TRUE(server_->engine().DeleteSession("m", std::to_string(k)).ok());
    std::this_thread::yield();
  }
  watcher.join();
  EXPECT_EQ(result.exit_status, 0) << result.err;
  EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 2);
  const nlohmann::json first = nlohmann::json::parse(result.out.substr(0, result.out.find('\n')), nullptr, false);
  EXPECT_THAT(first["kind"], testing::AnyOf("CREATED", "DELETED"));
  EXPECT_THAT(first["session"].get<std::string>(), testing::StartsWith("m/"));
  EXPECT_THAT(Error({"watch", "--kind", "born"}), HasSubstr("'BORN' is none of"));

  Out({"create", "m", "a", "--label", "owner=me", "--expires", "1h"});
  Out({"create", "m", "b", "--label", "owner=you", "--expires", "2099-01-31T12:00:00Z"});
  EXPECT_EQ(Json({"sessions", "--label", "owner=you"})[0]["name"], "m/b");
  EXPECT_EQ(Json({"sessions", "m", "--label", "owner=me", "--label", "owner=me"}).size(), 1u);
  EXPECT_THAT(Out({"get", "m/b"}), HasSubstr("ends 2099-01-31T12:00:00Z"));
  EXPECT_THAT(Error({"create", "m", "--expires", "soon"}), HasSubstr("'soon' is neither"));
}

TEST_F(LstmctlServerTest, SessionsAreForkedAndKeptInFiles) {
  StartCpu();
  Out({"create", "m", "alice", "--label", "who=me"});
  Out({"step", "m/alice", "1", "2", "3", "--seq", "1"});
  const std::string second = Out({"step", "m/alice", "4", "5", "6", "--seq", "2"});
  EXPECT_EQ(Out({"fork", "m/alice", "bob"}), "m/bob\n");
  EXPECT_THAT(Out({"export", "m/alice", File("alice.lsts")}), HasSubstr("2 steps, last seq 2"));
  EXPECT_EQ(Json({"export", "m/alice", File("alice.lsts")})["last_seq"], 2);
  const std::string third = Out({"step", "m/alice", "7", "8", "9"});
  EXPECT_EQ(Out({"step", "m/bob", "7", "8", "9"}), third);
  EXPECT_EQ(Out({"restore", File("alice.lsts"), "m/carol"}), "m/carol\n");
  EXPECT_EQ(Out({"step", "m/carol", "4", "5", "6", "--seq", "2"}), second) << "a repeat from before the export";
  EXPECT_EQ(Out({"step", "m/carol", "7", "8", "9"}), third);
  EXPECT_EQ(Json({"get", "m/carol"})["labels"]["who"], "me");
  EXPECT_EQ(Json({"restore", File("alice.lsts"), "m"})["last_seq"], 2);
  EXPECT_THAT(Error({"restore", File("alice.lsts"), "m/alice"}), HasSubstr("SESSION_EXISTS"));
  EXPECT_EQ(Json({"restore", File("alice.lsts"), "m/alice", "--replace"})["epoch"], 2);
  EXPECT_EQ(Out({"restore", "-", "m/dora"}, ReadText(File("alice.lsts"))), "m/dora\n");
  EXPECT_THAT(Error({"restore", File("alice.lsts"), "wide"}),
              AllOf(HasSubstr("WEIGHTS_MISMATCH"), HasSubstr("--any-weights")));
  EXPECT_THAT(Error({"restore", File("alice.lsts"), "wide", "--any-weights"}), HasSubstr("SNAPSHOT_FORMAT"));
  WriteText(File("torn.lsts"), ReadText(File("alice.lsts")).substr(0, 100));
  EXPECT_THAT(Error({"restore", File("torn.lsts"), "m"}), HasSubstr("SNAPSHOT_"));
  EXPECT_THAT(Error({"restore", File("none"), "m"}), HasSubstr("cannot open"));
}

TEST_F(LstmctlServerTest, ErrorsCanBeActedOn) {
  StartCpu();
  Out({"create", "m", "a"});
  EXPECT_THAT(Error({"step", "m/a", "1"}),
              AllOf(HasSubstr("INVALID_ARGUMENT / TENSOR_SHAPE"), HasSubstr("field items[0].input")));
  EXPECT_THAT(Error({"step", "m/a", "one"}), HasSubstr("'one' is not a number"));
  EXPECT_THAT(Error({"create", "bi"}), HasSubstr("NOT_STEPPABLE"));
  EXPECT_THAT(Error({"create", "m", "--ttl", "soon"}), HasSubstr("'soon' is no duration"));
  EXPECT_THAT(Error({"create", "m", "--label", "x"}), HasSubstr("KEY=VALUE"));
  EXPECT_THAT(Error({"reset", "m/a", "--h", "no.npy", "--c", "no.npy"}), HasSubstr("cannot open no.npy"));

  const ProcessResult json = Ctl({"step", "m/a", "1", "--json"});
  EXPECT_EQ(json.exit_status, 1);
  EXPECT_THAT(json.out, IsEmpty());
  const nlohmann::json error = nlohmann::json::parse(json.err, nullptr, false);
  EXPECT_EQ(error["error"]["reason"], "TENSOR_SHAPE");
  EXPECT_EQ(error["error"]["code"], "INVALID_ARGUMENT");

  const ProcessResult nobody = RunProcess({LSTMCTL, "--server", "127.0.0.1:1", "models"}, folder_);
  EXPECT_EQ(nobody.exit_status, 1);
  EXPECT_THAT(nobody.err,
              AllOf(HasSubstr("cannot reach an lstmd server at 127.0.0.1:1"), HasSubstr("lstmd --repository")));
}

TEST_F(LstmctlServerTest, WrongUseExitsWithTwo) {
  StartCpu();
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{},
                                             {"frobnicate"},
                                             {"step"},
                                             {"step", "m"},
                                             {"step", "m/", "1"},
                                             {"get", "a/b/c"},
                                             {"models", "--nope"},
                                             {"state", "m/a", "--h", "h.npy"},
                                             {"bench"},
                                             {"bench", "--model", "m", "--handles", "0"},
                                             {"run", "m", "x.csv", "--outputs", "some"},
                                             {"import", "x.onnx"}}) {
    const std::string err = Error(arguments, 2);
    EXPECT_THAT(err, HasSubstr("--help")) << testing::PrintToString(arguments);
  }
}

TEST_F(LstmctlServerTest, HelpOfEverySubcommandHasAnExample) {
  const std::string all = RunProcess({LSTMCTL, "--help"}, folder_).out;
  for (const char* const name : {"models", "info",  "load",   "update", "unload",     "sessions", "create", "get",
                                 "state",  "reset", "delete", "fork",   "export",     "restore",  "watch",  "step",
                                 "stream", "run",   "bench",  "import", "checkpoint", "drain"}) {
    EXPECT_THAT(all, HasSubstr(std::string("\n  ") + name + " "));
    const ProcessResult help = RunProcess({LSTMCTL, name, "--help"}, folder_);
    EXPECT_EQ(help.exit_status, 0);
    EXPECT_THAT(help.out, AllOf(HasSubstr("Example"), HasSubstr(std::string("lstmctl "))));
  }
  EXPECT_THAT(RunProcess({LSTMCTL, "--version"}, folder_).out, testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST_F(LstmctlServerTest, BenchLosesNothingAndCleansUp) {
  StartCpu();
  const std::vector<std::vector<std::string>> loads = {
      {"--sessions", "12", "--streams", "3"},
      {"--sessions", "12", "--streams", "2", "--handles", "4"},
      {"--sessions", "12", "--streams", "2", "--handles", "4", "--coalesce", "--connections", "2"},
      {"--sessions", "5", "--streams", "1", "--handles", "2", "--in-flight", "1"},
      {"--sessions", "3", "--streams", "1", "--in-flight", "8"},
      {"--sessions", "6", "--streams", "2", "--handles", "3", "--unary"},
      {"--sessions", "12", "--streams", "2", "--handles", "3", "--resume"},
      {"--sessions", "6", "--streams", "2", "--rate", "500"},
      {"--sessions", "6", "--streams", "2", "--rate", "10000000"},
      {"--sessions", "6", "--streams", "2", "--handles", "3", "--rate", "500", "--unary"},
      {"--sessions", "3", "--streams", "1", "--handles", "2", "--sequence", "9"},
      {"--sessions", "4", "--streams", "2", "--sequence", "9", "--rate", "1000"}};
  for (std::vector<std::string> load : loads) {
    SCOPED_TRACE(testing::PrintToString(load));
    load.insert(load.begin(), {"bench", "--model", "m", "--seconds", "0.2", "--warmup", "0.05"});
    const nlohmann::json report = Json(load);
    EXPECT_GT(report["requests"], 0);
    EXPECT_EQ(report["replies"], report["requests"]);
    EXPECT_EQ(report["errors"], 0);
    EXPECT_GT(report["steps"], 0);
    EXPECT_GT(report["steps_per_second"], 0);
    EXPECT_GE(report["mean_batch"], 1);
    EXPECT_LE(report["latency_ms"]["p50"], report["latency_ms"]["p99"]);
    EXPECT_EQ(Json({"info"})["sessions"], 0) << "all that it made are deleted";
  }
  const nlohmann::json slow = Json({"bench", "--model", "m", "--seconds", "0.5", "--warmup", "0", "--sessions", "4",
                                    "--streams", "1", "--rate", "100"});
  EXPECT_LE(slow["requests"], 51) << "not more than is asked for";
  EXPECT_THAT(Out({"bench", "--model", "m", "--seconds", "0.05", "--warmup", "0"}),
              AllOf(HasSubstr("steps/s"), HasSubstr("p99"), HasSubstr(" 0 errors")));
  EXPECT_THAT(Out({"bench", "--model", "m", "--seconds", "0.05", "--warmup", "0", "--resume"}),
              HasSubstr("recovered    0 reconnects"));
}

TEST_F(LstmctlServerTest, BenchRefusesWhatItCannotDo) {
  StartCpu();
  EXPECT_THAT(Error({"bench", "--model", "bi"}), HasSubstr("cannot be stepped"));
  EXPECT_THAT(Error({"bench", "--model", "none"}), HasSubstr("MODEL_NOT_FOUND"));
  EXPECT_THAT(Error({"bench", "--model", "m", "--sessions", "8", "--handles", "16", "--streams", "1"}),
              HasSubstr("only 8 sessions"));
  EXPECT_THAT(Error({"bench", "--model", "m", "--sessions", "2"}), HasSubstr("fewer than --streams"));
  EXPECT_THAT(Error({"bench", "--model", "m", "--rate", "5", "--in-flight", "2"}), HasSubstr("want one of them"));
  EXPECT_THAT(Error({"bench", "--model", "m", "--sequence", "5", "--unary"}), HasSubstr("leave --unary out"));
  EXPECT_THAT(Error({"bench", "--model", "m,none"}), HasSubstr("MODEL_NOT_FOUND"));
}

TEST_F(LstmctlServerTest, BenchCountsErrors) {
  StartFake();
  control_->FailRun(absl::InternalError("planted"), 3);
  const ProcessResult result =
      Ctl({"bench", "--model", "m", "--sessions", "4", "--streams", "2", "--seconds", "0.2", "--json"});
  EXPECT_EQ(result.exit_status, 1);
  const nlohmann::json report = nlohmann::json::parse(result.out, nullptr, false);
  EXPECT_GE(report["errors"], 1);
  EXPECT_EQ(report["replies"], report["requests"]);
  EXPECT_THAT(std::string(report["first_error"]), HasSubstr("planted"));
  EXPECT_EQ(Json({"info"})["sessions"], 0);
}

}  // namespace
}  // namespace lstmd
