// SPDX-License-Identifier: Apache-2.0
#include "engine/plugin.h"

#include <cstdlib>

#include "engine/errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lstmd {
namespace {

using testing::HasSubstr;

TEST(PluginTest, LoadsTheBackendOfADevice) {
  auto backend = LoadPluginBackend("emulated");
  ASSERT_TRUE(backend.ok()) << backend.status();
  EXPECT_EQ((*backend)->name(), "cudnn");
  EXPECT_EQ((*backend)->device(), "emulated");
  EXPECT_FALSE((*backend)->batch_invariant());
}

TEST(PluginTest, RefusesNamesThatAreNoDevice) {
  for (const char* name : {"", "gpu", "cuda", "cuda:", "cuda:x", "cuda:-1", "../cuda:0"}) {
    SCOPED_TRACE(name);
    const absl::Status status = LoadPluginBackend(name).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(GetCause(status).reason, "DEVICE");
  }
}

TEST(PluginTest, SaysThatThePluginIsMissing) {
  ASSERT_EQ(setenv("LSTMD_PLUGIN_DIR", "/nonexistent", 1), 0);
  const absl::Status status = LoadPluginBackend("emulated").status();
  ASSERT_EQ(unsetenv("LSTMD_PLUGIN_DIR"), 0);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(GetCause(status).reason, "DEVICE_UNAVAILABLE");
  EXPECT_THAT(std::string(status.message()), HasSubstr("liblstmd_cudnn_emulated.so"));
}

#ifdef LSTMD_HAVE_CUDNN_PLUGIN
TEST(PluginTest, ARealDeviceWorksOrSaysWhyNot) {
  auto backend = LoadPluginBackend("cuda:0");
  if (backend.ok()) {
    EXPECT_EQ((*backend)->device(), "cuda:0");
    return;
  }
  EXPECT_EQ(backend.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(GetCause(backend.status()).reason, "DEVICE_UNAVAILABLE");
  EXPECT_THAT(std::string(backend.status().message()), HasSubstr("cuda:0 cannot be used"));
}
#endif

}  // namespace
}  // namespace lstmd
