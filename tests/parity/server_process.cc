// SPDX-License-Identifier: Apache-2.0
#include "tests/parity/server_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"

namespace lstmd::parity {
namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Starts a program with both its outputs in a file.
absl::StatusOr<pid_t> Spawn(const std::vector<std::string>& arguments, const std::string& output) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return absl::UnavailableError(absl::StrCat("cannot start ", arguments[0], ": ", strerror(error)));
  return pid;
}

int Wait(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

absl::StatusOr<std::unique_ptr<TemporaryFolder>> TemporaryFolder::Create() {
  std::string path = (std::filesystem::temp_directory_path() / "lstmd-parity-XXXXXX").string();
  if (mkdtemp(path.data()) == nullptr) {
    return absl::UnavailableError(absl::StrCat("cannot make a folder ", path, ": ", strerror(errno)));
  }
  return std::unique_ptr<TemporaryFolder>(new TemporaryFolder(path));
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

absl::StatusOr<ProcessResult> RunProcess(const std::vector<std::string>& arguments, const std::string& folder) {
  const std::string output = absl::StrCat(folder, "/output");
  absl::StatusOr<pid_t> pid = Spawn(arguments, output);
  if (!pid.ok()) return pid.status();
  const int code = Wait(*pid);
  return ProcessResult{code, ReadFile(output)};
}

absl::StatusOr<std::unique_ptr<ServerProcess>> ServerProcess::Start(const std::string& program,
                                                                    const std::string& repository,
                                                                    const std::string& device,
                                                                    const std::string& instruction_set,
                                                                    const std::string& folder) {
  const std::string address = absl::StrCat("unix:", folder, "/lstmd.sock"), log = absl::StrCat(folder, "/lstmd.log");
  absl::StatusOr<pid_t> pid = Spawn({program, "--repository", repository, "--listen", address, "--device", device,
                                     "--instruction-set", instruction_set},
                                    log);
  if (!pid.ok()) return pid.status();
  return std::unique_ptr<ServerProcess>(new ServerProcess(*pid, address, log));
}

ServerProcess::ServerProcess(pid_t pid, std::string address, std::string log)
    : pid_(pid), address_(std::move(address)), log_(std::move(log)) {}

ServerProcess::~ServerProcess() {
  if (pid_ < 0) return;
  kill(pid_, SIGTERM);
  Wait(pid_);
}

bool ServerProcess::Running() {
  if (pid_ >= 0 && waitpid(pid_, nullptr, WNOHANG) != 0) pid_ = -1;
  return pid_ >= 0;
}

std::string ServerProcess::Log() const {
  const std::string text = ReadFile(log_);
  return text.substr(text.size() - std::min<size_t>(text.size(), 2000));
}

}  // namespace lstmd::parity
