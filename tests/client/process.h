// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_TESTS_CLIENT_PROCESS_H_
#define LSTMD_TESTS_CLIENT_PROCESS_H_

#include <string>
#include <vector>

namespace lstmd {

struct ProcessResult {
  int exit_status = -1;  // 128 + number for a signal
  std::string out;
  std::string err;
};

// Runs a program to its end. `folder`: where its streams are kept meanwhile.
ProcessResult RunProcess(const std::vector<std::string>& arguments, const std::string& folder,
                         const std::string& input = "");

std::string ReadText(const std::string& path);
void WriteText(const std::string& path, const std::string& text);

}  // namespace lstmd

#endif  // LSTMD_TESTS_CLIENT_PROCESS_H_
