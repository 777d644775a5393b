// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gtest/gtest.h"

extern char** environ;

namespace lstmd {
namespace {

std::string ReadAll(int fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = read(fd, buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<size_t>(got));
  return text;
}

}  // namespace

Process::Process(const std::vector<std::string>& argv, const std::vector<std::string>& environment) {
  int out[2];
  EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
  out_ = out[0];
  // A file, not a pipe: however much the program logs, it never waits for the test to read it.
  FILE* const file = tmpfile();
  err_ = fcntl(fileno(file), F_DUPFD_CLOEXEC, 0);
  fclose(file);

  std::vector<char*> args;
  for (const std::string& arg : argv) args.push_back(const_cast<char*>(arg.c_str()));
  args.push_back(nullptr);
  std::vector<char*> variables;
  for (const std::string& variable : environment) variables.push_back(const_cast<char*>(variable.c_str()));
  for (char** variable = environ; *variable != nullptr; ++variable) variables.push_back(*variable);
  variables.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  posix_spawn_file_actions_adddup2(&actions, err_, 2);
  EXPECT_EQ(posix_spawn(&pid_, args[0], &actions, nullptr, args.data(), variables.data()), 0) << argv[0];
  posix_spawn_file_actions_destroy(&actions);
  close(out[1]);
}

Process::~Process() {
  if (!waited_ && pid_ > 0) {
    kill(pid_, SIGKILL);
    Wait();
  }
  close(out_);
  close(err_);
}

void Process::Signal(int signal) { EXPECT_EQ(kill(pid_, signal), 0); }

int Process::Wait() {
  int status = 0;
  EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
  waited_ = true;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

std::string Process::ReadLine() {
  std::string line;
  char c = 0;
  while (read(out_, &c, 1) == 1) {
    out_text_ += c;
    if (c == '\n') return line;
    line += c;
  }
  return line;
}

std::string Process::out() { return out_text_ + ReadAll(out_); }

std::string Process::err() {
  lseek(err_, 0, SEEK_SET);
  return ReadAll(err_);
}

}  // namespace lstmd
