// SPDX-License-Identifier: Apache-2.0
//
// The programs that a fault test starts, ends and starts again: lstmd and redis-server.
#ifndef LSTMD_TESTS_FAULTS_PROGRAMS_H_
#define LSTMD_TESTS_FAULTS_PROGRAMS_H_

#include <memory>
#include <string>
#include <vector>

#include "tests/integration/process.h"

namespace lstmd {

// A folder that goes with the object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A port of the loopback that was free a moment ago.
int FreePort();
// The path of a program, "" where there is none.
std::string FindProgram(const std::string& name);

// lstmd on one address, through as many processes as the test wants.
class ServerProgram {
 public:
  // `flags` beside the repository (deploy/models) and the address. Starts it.
  explicit ServerProgram(std::vector<std::string> flags);

  const std::string& address() const { return address_; }
  void Start();
  // kill -9.
  void Kill();
  void Signal(int signal) { process_->Signal(signal); }
  // Waits for it to end; the exit code.
  int Wait();
  // What the last process wrote to its log; it has ended then.
  std::string log() { return process_->err(); }

 private:
  std::vector<std::string> flags_;
  std::string address_;
  std::unique_ptr<Process> process_;
};

// redis-server with an append-only file that is synced at every write.
class RedisProgram {
 public:
  RedisProgram();
  int port() const { return port_; }
  // Returns when it answers.
  void Start();
  void Kill();

 private:
  TemporaryFolder folder_;
  const int port_;
  std::unique_ptr<Process> process_;
};

// Whether this build of lstmd has `flag`.
bool ServerHasFlag(const std::string& flag);

}  // namespace lstmd

#endif  // LSTMD_TESTS_FAULTS_PROGRAMS_H_
