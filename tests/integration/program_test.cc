// SPDX-License-Identifier: Apache-2.0
//
// The program itself: flags, exit codes, what it prints, signals.
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/integration/process.h"
#include "tests/integration/stream_client.h"

namespace lstmd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kModels[] = LSTMD_SAMPLE_MODELS;  // with the model "sunspots"

std::vector<std::string> Command(std::vector<std::string> flags) {
  flags.insert(flags.begin(), LSTMD_PROGRAM);
  return flags;
}

// A folder that goes with the test.
class Folder {
 public:
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "lstmd-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Address of the "listening on" line.
std::string ReadAddress(Process* process) {
  const std::string line = process->ReadLine();
  EXPECT_THAT(line, StartsWith("listening on ")) << process->err();
  return line.substr(std::min(line.size(), sizeof "listening on " - 1));
}

std::unique_ptr<v1::InferenceService::Stub> Connect(const std::string& address) {
  return v1::InferenceService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
}

TEST(ProgramTest, BadFlagsEndWithOneLineAndTwo) {
  const Folder folder;
  std::ofstream(folder / "bad.conf") << "thread = 2\n";
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"--no-such-flag"}, "--no-such-flag"},
      {{"--threads", "many"}, "--threads"},
      {{"--threads", "-1"}, "--threads"},
      {{"--listen", "8001"}, "--listen"},
      {{"--listen", "127.0.0.1:99999"}, "--listen"},
      {{"--listen", "0.0.0.0:0", "--log-level", "off"}, "--allow-plaintext"},
      {{"--listen", "127.0.0.1:0", "--listen", "[::]:0", "--log-level", "off"}, "--allow-plaintext"},
      {{"--tls-cert", folder / "none.pem"}, "--tls-key"},
      {{"--tls-cert", folder / "bad.conf", "--tls-key", folder / "bad.conf"}, "no certificate"},
      {{"--auth-file", folder / "none"}, "none"},
      {{"--auth-file", folder / "bad.conf"}, "line 1"},
      {{"--quota-file", folder / "bad.conf"}, "--auth-file"},
      {{"--device", "tpu"}, "--device"},
      {{"--drain-timeout", "soon"}, "--drain-timeout"},
      {{"--drain-timeout", "-1s"}, "--drain-timeout"},
      {{"--max-message-size", "3GiB"}, "--max-message-size"},
      {{"--max-batch-size", "0"}, "--max-batch-size"},
      {{"--memory-limit", "plenty"}, "--memory-limit"},
      {{"--max-sequence-length", "0"}, "--max-sequence-length"},
      {{"--log-level", "loud"}, "--log-level"},
      {{"--log-format", "xml"}, "--log-format"},
      {{"--config", folder / "none.conf"}, "none.conf"},
      {{"--config", folder / "bad.conf"}, "thread"},
      {{"--log-level", "off", "--repository", folder / "none"}, "none"},
  };
  for (const auto& [flags, named] : cases) {
    Process process(Command(flags));
    EXPECT_EQ(process.Wait(), 2) << flags.back();
    const std::string err = process.err();
    EXPECT_THAT(err, StartsWith("lstmd: "));
    EXPECT_THAT(err, HasSubstr(named));
    EXPECT_EQ(std::count(err.begin(), err.end(), '\n'), 1) << err;
    EXPECT_EQ(process.out(), "");
  }
}

TEST(ProgramTest, AMissingDeviceIsThree) {
  Process process(Command({"--device", "cuda:7", "--log-level", "off"}));
  EXPECT_EQ(process.Wait(), 3);
  const std::string err = process.err();
  EXPECT_THAT(err, HasSubstr("cuda:7"));
  EXPECT_EQ(std::count(err.begin(), err.end(), '\n'), 1) << err;
}

TEST(ProgramTest, HelpAndVersion) {
  Process help(Command({"--help"}));
  EXPECT_EQ(help.Wait(), 0);
  const std::string text = help.out();
  for (const char* part : {"--repository", "127.0.0.1:8001", "--drain-timeout", "LSTMD_THREADS", "Examples", "30s"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  Process version(Command({"--version"}));
  EXPECT_EQ(version.Wait(), 0);
  EXPECT_THAT(version.out(), StartsWith("lstmd "));
}

TEST(ProgramTest, ServesOnSocketsOfBothKindsAndEndsWell) {
  const Folder folder;
  Process process(Command({"--repository", kModels, "--listen", "127.0.0.1:0", "--listen", "unix:" + (folder / "s")}));
  const std::string tcp = ReadAddress(&process);
  EXPECT_THAT(tcp, StartsWith("127.0.0.1:"));
  EXPECT_THAT(tcp, Not(StartsWith("127.0.0.1:0")));
  const std::string local = ReadAddress(&process);
  EXPECT_EQ(local, "unix:" + (folder / "s"));
  for (const std::string& address : {tcp, local}) {
    v1::StepRequest request;
    *request.add_items() = Item("models/sunspots/sessions/a", MakeTensor({1}, {0.5f}));
    request.mutable_items(0)->set_create_if_missing(true);
    v1::StepResponse response;
    grpc::ClientContext context;
    const grpc::Status status = Connect(address)->Step(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  process.Signal(SIGINT);
  EXPECT_EQ(process.Wait(), 0) << process.err();
}

TEST(ProgramTest, FlagsComeFromTheEnvironmentAndAFile) {
  const Folder folder;
  std::ofstream(folder / "lstmd.conf") << "listen = \"unix:" << (folder / "from-file") << "\"\nlog-format = \"json\"\n";
  Process process(Command({"--config", folder / "lstmd.conf"}),
                  {std::string("LSTMD_REPOSITORY=") + kModels, "LSTMD_LOG_LEVEL=debug"});
  EXPECT_EQ(ReadAddress(&process), "unix:" + (folder / "from-file"));
  process.Signal(SIGTERM);
  EXPECT_EQ(process.Wait(), 0);
  const std::string err = process.err();
  EXPECT_THAT(err, HasSubstr("sunspots"));
  std::istringstream lines(err);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    ASSERT_TRUE(json.is_object()) << line;
    EXPECT_TRUE(json.contains("time") && json.contains("level") && json.contains("message")) << line;
  }
  EXPECT_GT(count, 2);
}

TEST(ProgramTest, AModelThatDoesNotLoadIsLoggedAndTheOthersAreServed) {
  const Folder folder;
  std::filesystem::create_directories(folder / "models/broken/1");
  std::ofstream(folder / "models/broken/1/model.safetensors") << "this is none";
  std::filesystem::copy(kModels, folder / "models", std::filesystem::copy_options::recursive);
  Process process(Command({"--repository", folder / "models", "--listen", "127.0.0.1:0"}));
  const std::string address = ReadAddress(&process);
  const auto models = v1::ModelService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  v1::ListModelsResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(models->ListModels(&context, {}, &response).ok());
  ASSERT_EQ(response.models_size(), 2);
  EXPECT_EQ(response.models(0).state(), v1::Model::FAILED);
  EXPECT_NE(response.models(0).error(), "");
  EXPECT_EQ(response.models(1).state(), v1::Model::READY);
  process.Signal(SIGTERM);
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_THAT(process.err(), HasSubstr("broken"));
}

// Each stream keeps 64 steps in flight. What is answered must be a gapless beginning of what was sent, and nothing that
// the server took may be missing: the number that a session ended with is the number of its replies.
TEST(ProgramTest, AboveItsMemoryLimitItRefusesAndLivesOn) {
  Process process(Command({"--repository", kModels, "--listen", "127.0.0.1:0", "--memory-limit", "1MiB"}));
  const auto stub = Connect(ReadAddress(&process));
  v1::StepRequest request;
  *request.add_items() = Item("models/sunspots/sessions/a", MakeTensor({1}, {0.5f}));
  v1::StepResponse response;
  grpc::ClientContext context;
  const WireError error = Decode(stub->Step(&context, request, &response));
  EXPECT_EQ(Shown(error), "RESOURCE_EXHAUSTED / MEMORY_LIMIT");
  EXPECT_TRUE(error.has_retry);
  process.Signal(SIGTERM);
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_THAT(process.err(), HasSubstr("no room for the weights of a model"));
}

TEST(ProgramTest, SigtermUnderLoadAnswersEverythingThatWasAccepted) {
  Process process(Command({"--repository", kModels, "--listen", "127.0.0.1:0"}));
  const std::string address = ReadAddress(&process);
  constexpr int kStreams = 4;
  std::vector<std::thread> threads;
  std::atomic<int> busy{0};
  for (int s = 0; s < kStreams; ++s) {
    threads.emplace_back([&, s] {
      const auto stub = Connect(address);
      StreamClient stream(stub.get());
      ASSERT_TRUE(stream.Write(BindFrame({"models/sunspots/sessions/s" + std::to_string(s)})));
      stream.ReadAnswers(1);
      uint64_t sent = 0;
      bool told = false;
      while (!stream.go_away) {
        while (sent < stream.answers() + 64 && !stream.go_away) {
          v1::StreamStepsRequest frame = StepFrame(++sent, {0}, MakeTensor({1, 1}, {0.1f}));
          frame.mutable_steps(0)->add_seqs(sent);
          if (!stream.Write(frame)) break;
        }
        if (!stream.ReadFrame()) break;
        if (!told && stream.results[0].size() > 200) {
          told = true;
          ++busy;
        }
      }
      EXPECT_TRUE(stream.go_away);
      EXPECT_TRUE(stream.Finish().ok());
      const std::vector<StreamResult>& results = stream.results[0];
      for (size_t i = 0; i < results.size(); ++i) ASSERT_EQ(results[i].seq, i + 1);
      // Refusals come after the last result, in order and without a gap, too.
      for (size_t i = 0; i < stream.failures.size(); ++i) {
        EXPECT_EQ(Decode(stream.failures[i].error()).reason, "DRAINING");
        EXPECT_EQ(stream.failures[i].seq(), results.size() + i + 1);
      }
    });
  }
  while (busy.load() < kStreams) std::this_thread::yield();
  process.Signal(SIGTERM);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(process.Wait(), 0) << process.err();
  EXPECT_THAT(process.err(), Not(HasSubstr("the time was over")));
}

TEST(ProgramTest, ASecondSignalEndsAtOnce) {
  Process process(Command({"--repository", kModels, "--listen", "127.0.0.1:0"}));
  const std::string address = ReadAddress(&process);
  const auto stub = Connect(address);
  // A stream that is never read keeps the drain from ending: its replies have nowhere to go.
  StreamClient stream(stub.get());
  ASSERT_TRUE(stream.Write(BindFrame({"models/sunspots/sessions/a"})));
  stream.ReadAnswers(1);
  std::vector<float> values(100'000, 0.5f);
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(stream.Write(StepFrame(1, {0}, MakeTensor({1, 100'000, 1}, values))));
  process.Signal(SIGTERM);
  while (!stream.go_away) ASSERT_TRUE(stream.ReadFrame());
  process.Signal(SIGTERM);
  EXPECT_NE(process.Wait(), -SIGKILL);
}

}  // namespace
}  // namespace lstmd
