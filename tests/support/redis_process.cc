// SPDX-License-Identifier: Apache-2.0
#include "tests/support/redis_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string_view>
#include <utility>

extern char** environ;

namespace lstmd {
namespace {

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "redis-server: %s\n", what.c_str());
  std::abort();
}

// Whether the line came; it stays open for what else is said.
bool WaitForLine(int fd, std::string_view wanted) {
  std::string text;
  char c = 0;
  while (read(fd, &c, 1) == 1) {
    text += c;
    if (c != '\n') continue;
    if (text.find(wanted) != text.npos) return true;
    text.clear();
  }
  return false;
}

}  // namespace

RedisProcess::RedisProcess(std::vector<std::string> arguments) : arguments_(std::move(arguments)) {
  std::string pattern = std::filesystem::temp_directory_path() / "lstmd_redis_XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) Die("no temporary folder");
  folder_ = pattern;
  socket_ = folder_ + "/redis.sock";
  Start();
}

RedisProcess::~RedisProcess() {
  Kill();
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void RedisProcess::Start() {
  std::vector<std::string> words = {"redis-server", "--port", "0", "--unixsocket", socket_, "--dir",
                                    folder_,        "--save", "",  "--appendonly", "yes",   "--appendfsync",
                                    "always"};
  words.insert(words.end(), arguments_.begin(), arguments_.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) Die("no pipe");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  const int spawned = posix_spawnp(&pid_, "redis-server", &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  output_ = ends[0];
  if (spawned != 0) Die("not found; deploy/install-packages.sh installs it");
  if (!WaitForLine(output_, "ready to accept connections")) Die("ended at its start");
}

void RedisProcess::Kill() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  close(output_);
  pid_ = -1;
}

void RedisProcess::Pause() { kill(pid_, SIGSTOP); }
void RedisProcess::Resume() { kill(pid_, SIGCONT); }

}  // namespace lstmd
