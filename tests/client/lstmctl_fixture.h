// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_TESTS_CLIENT_LSTMCTL_FIXTURE_H_
#define LSTMD_TESTS_CLIENT_LSTMCTL_FIXTURE_H_

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/client/process.h"
#include "tests/integration/server_fixture.h"

namespace lstmd {

// lstmctl as a process, against a server of this one.
class LstmctlTest : public ServerTest {
 protected:
  LstmctlTest() {
    std::string path = testing::TempDir() + "lstmctl-XXXXXX";
    EXPECT_NE(mkdtemp(path.data()), nullptr);
    folder_ = path;
  }
  ~LstmctlTest() override { std::filesystem::remove_all(folder_); }

  ProcessResult Ctl(std::vector<std::string> arguments, const std::string& input = "") {
    arguments.insert(arguments.begin(), {LSTMCTL, "--server", address_});
    return RunProcess(arguments, folder_, input);
  }
  // Fails the test unless it succeeds; its standard output.
  std::string Out(std::vector<std::string> arguments, const std::string& input = "") {
    const ProcessResult result = Ctl(std::move(arguments), input);
    EXPECT_EQ(result.exit_status, 0) << result.err;
    return result.out;
  }
  nlohmann::json Json(std::vector<std::string> arguments, const std::string& input = "") {
    arguments.push_back("--json");
    return nlohmann::json::parse(Out(std::move(arguments), input), nullptr, /*allow_exceptions=*/false);
  }
  // Fails the test unless it fails with `exit_status`; its standard error.
  std::string Error(std::vector<std::string> arguments, int exit_status = 1, const std::string& input = "") {
    const ProcessResult result = Ctl(std::move(arguments), input);
    EXPECT_EQ(result.exit_status, exit_status) << result.out << result.err;
    return result.err;
  }
  std::string File(const std::string& name) const { return folder_ + "/" + name; }
  std::string File(const std::string& name, const std::string& text) const {
    WriteText(File(name), text);
    return File(name);
  }

  std::string folder_;
};

}  // namespace lstmd

#endif  // LSTMD_TESTS_CLIENT_LSTMCTL_FIXTURE_H_
