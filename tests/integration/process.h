// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_TESTS_INTEGRATION_PROCESS_H_
#define LSTMD_TESTS_INTEGRATION_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <vector>

namespace lstmd {

// A program under test, with its output in files of the test's own folder. Killed when the object goes.
class Process {
 public:
  // argv[0] is the program. `environment`: "NAME=value", added to this process's.
  Process(const std::vector<std::string>& argv, const std::vector<std::string>& environment = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void Signal(int signal);
  // Waits for the end; the exit code, or minus the signal that ended it.
  int Wait();
  // Reads standard output up to the end of a line; "" when it has ended. Use before out().
  std::string ReadLine();
  // All that was written, after Wait.
  std::string out();
  std::string err();

 private:
  pid_t pid_ = -1;
  bool waited_ = false;
  int out_ = -1;
  int err_ = -1;
  std::string out_text_;
};

}  // namespace lstmd

#endif  // LSTMD_TESTS_INTEGRATION_PROCESS_H_
