// SPDX-License-Identifier: Apache-2.0
//
// The requests of the fuzz target's corpus, and random ones, against a server on a socket.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "server/logging.h"
#include "tests/integration/oip_checker.h"
#include "tests/integration/oip_request.h"
#include "tests/integration/server_fixture.h"

namespace lstmd {
namespace {

class OipFuzzTest : public ServerTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(server::SetUpLogging("error", "text").ok());
    StartCpu();
    checker_ = std::make_unique<OipChecker>(address_);
  }
  void TearDown() override { checker_.reset(); }

  // Whether all was well.
  bool Check(const std::string& bytes) {
    const inference::ModelInferRequest request =
        MakeOipRequest(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    const std::string problem = checker_->Check(request);
    EXPECT_EQ(problem, "") << request.DebugString().substr(0, 4000);
    return problem.empty();
  }
  std::unique_ptr<OipChecker> checker_;
};

TEST_F(OipFuzzTest, Corpus) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(CORPUS)) {
    SCOPED_TRACE(entry.path());
    std::ifstream file(entry.path(), std::ios::binary);
    if (!Check({std::istreambuf_iterator<char>(file), {}})) break;
    ++files;
  }
  EXPECT_GT(files, 100);
  EXPECT_GT(checker_->answered(), 10);
  EXPECT_GT(checker_->refused(), 50);
}

TEST_F(OipFuzzTest, RandomRequests) {
  const char* const given = std::getenv("LSTMD_TEST_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  SCOPED_TRACE("LSTMD_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int i = 0; i < 1000; ++i) {
    std::string bytes(random() % 64, '\0');
    // Mostly what leaves things as they are: a request with too much wrong says little.
    for (char& byte : bytes) byte = static_cast<char>(random() % 3 == 0 ? random() : 0);
    if (!Check(bytes)) break;
  }
  EXPECT_GT(checker_->answered(), 10);
  EXPECT_GT(checker_->refused(), 50);
}

}  // namespace
}  // namespace lstmd
