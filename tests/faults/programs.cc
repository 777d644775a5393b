// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/programs.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>

#include "gtest/gtest.h"
#include "tests/faults/loopback.h"

namespace lstmd {

TemporaryFolder::TemporaryFolder() {
  path_ = testing::TempDir() + "lstmd-faults-XXXXXX";
  EXPECT_NE(mkdtemp(path_.data()), nullptr);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof address;
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  close(fd);
  return ntohs(address.sin_port);
}

std::string FindProgram(const std::string& name) {
  const char* const path = getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string file = folder + "/" + name;
    if (access(file.c_str(), X_OK) == 0) return file;
  }
  return "";
}

ServerProgram::ServerProgram(std::vector<std::string> flags)
    : flags_(std::move(flags)), address_("127.0.0.1:" + std::to_string(FreePort())) {
  Start();
}

void ServerProgram::Start() {
  std::vector<std::string> argv = {LSTMD_PROGRAM, "--repository", LSTMD_SAMPLE_MODELS, "--listen", address_};
  argv.insert(argv.end(), flags_.begin(), flags_.end());
  process_ = std::make_unique<Process>(argv);
  std::string line = process_->ReadLine();
  while (!line.empty() && line.find("listening on") == std::string::npos) line = process_->ReadLine();
  if (line.empty()) {
    const int code = process_->Wait();
    FAIL() << "lstmd ended with " << code << ":\n" << process_->err();
  }
}

void ServerProgram::Kill() {
  process_->Signal(SIGKILL);
  EXPECT_EQ(process_->Wait(), -SIGKILL) << process_->err();
}

int ServerProgram::Wait() { return process_->Wait(); }

RedisProgram::RedisProgram() : port_(FreePort()) { Start(); }

void RedisProgram::Start() {
  process_ = std::make_unique<Process>(std::vector<std::string>{
      FindProgram("redis-server"), "--bind", "127.0.0.1", "--port", std::to_string(port_), "--dir", folder_.path(),
      "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no"});
  std::string line = process_->ReadLine();
  while (!line.empty() && line.find("eady to accept connections") == std::string::npos) line = process_->ReadLine();
  EXPECT_FALSE(line.empty()) << "redis-server ended:\n" << process_->out();
}

void RedisProgram::Kill() {
  process_->Signal(SIGKILL);
  process_->Wait();
}

bool ServerHasFlag(const std::string& flag) {
  Process help({LSTMD_PROGRAM, "--help"});
  help.Wait();
  return help.out().find(flag) != std::string::npos;
}

}  // namespace lstmd
