// SPDX-License-Identifier: Apache-2.0
//
// A server of one's own: the lstmd binary as a child process on a unix socket in a temporary folder.
#ifndef LSTMD_TESTS_PARITY_SERVER_PROCESS_H_
#define LSTMD_TESTS_PARITY_SERVER_PROCESS_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace lstmd::parity {

// A folder that is removed with all that is in it.
class TemporaryFolder {
 public:
  static absl::StatusOr<std::unique_ptr<TemporaryFolder>> Create();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  explicit TemporaryFolder(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

struct ProcessResult {
  int exit_code = 0;   // 128 + the signal where one ended it
  std::string output;  // stdout and stderr
};

// Runs a program to its end, its output in FOLDER/output. UNAVAILABLE if it cannot be started.
absl::StatusOr<ProcessResult> RunProcess(const std::vector<std::string>& arguments, const std::string& folder);

// Stops with SIGTERM when it goes out of scope, and waits.
class ServerProcess {
 public:
  // Starts `program` on `repository`; its log goes to FOLDER/lstmd.log. An empty instruction set is the best. Returns
  // when the process is there, not when it serves. UNAVAILABLE if it cannot be started.
  static absl::StatusOr<std::unique_ptr<ServerProcess>> Start(const std::string& program, const std::string& repository,
                                                              const std::string& device,
                                                              const std::string& instruction_set,
                                                              const std::string& folder);
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  const std::string& address() const { return address_; }
  // Whether the process still runs.
  bool Running();
  // The end of its log.
  std::string Log() const;

 private:
  ServerProcess(pid_t pid, std::string address, std::string log);

  pid_t pid_;  // -1: has ended
  const std::string address_;
  const std::string log_;
};

}  // namespace lstmd::parity

#endif  // LSTMD_TESTS_PARITY_SERVER_PROCESS_H_
