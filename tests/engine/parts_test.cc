// SPDX-License-Identifier: Apache-2.0
//
// The small parts: names, page tokens, replay ring.
#include <set>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/errors.h"
#include "engine/names.h"
#include "engine/page_token.h"
#include "engine/replay_ring.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lstmd {
namespace {

using ::testing::ElementsAre;

TEST(NamesTest, ModelNames) {
  for (const std::string& name : {std::string("a"), std::string("9.B_c-d"), std::string(63, 'x')}) {
    EXPECT_TRUE(IsValidModelName(name)) << name;
  }
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("-a"), std::string("a/b"), std::string("a\\b"),
        std::string("a b"), std::string("a~"), std::string("a\0b", 3), std::string("\xc3\xa4"), std::string(64, 'x')}) {
    EXPECT_FALSE(IsValidModelName(name)) << name;
  }
}

TEST(NamesTest, SessionIds) {
  EXPECT_TRUE(IsValidSessionId("a~b.c_d-e"));
  EXPECT_TRUE(IsValidSessionId(std::string(128, 'x')));
  EXPECT_FALSE(IsValidSessionId(std::string(129, 'x')));
  EXPECT_FALSE(IsValidSessionId("~a"));
  EXPECT_FALSE(IsValidSessionId(""));
  EXPECT_EQ(SessionResource("m", "s"), "models/m/sessions/s");
}

TEST(PageTokenTest, ComesBackAndIsChecked) {
  const std::string token = EncodePageToken("models", std::string("a\0/7", 4));
  const auto key = DecodePageToken("models", token);
  ASSERT_TRUE(key.ok()) << key.status();
  EXPECT_EQ(*key, std::string("a\0/7", 4));

  std::vector<std::string> junk = {"x", "AAAAAAAAAAA", "not base64!", std::string(1000, 'A'), token + "A", "\xff"};
  for (size_t k = 0; k < token.size(); ++k) {
    std::string changed = token;
    changed[k] = changed[k] == 'B' ? 'C' : 'B';
    junk.push_back(changed);
    if (k > 0) junk.push_back(token.substr(0, k));
  }
  for (const std::string& text : junk) {
    const auto decoded = DecodePageToken("models", text);
    ASSERT_FALSE(decoded.ok()) << text;
    EXPECT_EQ(decoded.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(GetCause(decoded.status()).reason, "PAGE_TOKEN");
  }
  EXPECT_FALSE(DecodePageToken("sessions of m", token).ok()) << "a token of another list";
}

TEST(PageTokenTest, PageSizes) {
  EXPECT_EQ(*PageSize(0), 100);
  EXPECT_EQ(*PageSize(7), 7);
  EXPECT_EQ(*PageSize(5000), 1000);
  EXPECT_EQ(GetCause(PageSize(-1).status()).reason, "PAGE_SIZE");
}

TEST(ReplayRingTest, KeepsTheLatest) {
  ReplayRing ring(3);
  for (uint64_t seq = 1; seq <= 5; ++seq) {
    const std::vector<float> output(2, static_cast<float>(seq));
    const std::vector<float> h = {static_cast<float>(seq) + 0.5f}, c = {1, 2};
    seq == 4 ? ring.Put(seq, output, h, c) : ring.Put(seq, output, {}, {});
  }
  EXPECT_EQ(ring.Find(0), nullptr);
  EXPECT_EQ(ring.Find(2), nullptr);
  EXPECT_EQ(ring.Find(6), nullptr);
  ASSERT_NE(ring.Find(3), nullptr);
  EXPECT_THAT(ring.Find(3)->output(), ElementsAre(3, 3));
  EXPECT_FALSE(ring.Find(3)->has_state());
  ASSERT_TRUE(ring.Find(4)->has_state());
  EXPECT_THAT(ring.Find(4)->h(), ElementsAre(4.5f));
  EXPECT_THAT(ring.Find(4)->c(), ElementsAre(1, 2));
  ring.Clear();
  EXPECT_EQ(ring.Find(5), nullptr);
  EXPECT_EQ(ring.bytes(), 0u);
  ring.Put(1, {1.0f}, {}, {});
  EXPECT_NE(ring.Find(1), nullptr);
}

TEST(ReplayRingTest, LargeRepliesPushOutOlderOnes) {
  ReplayRing ring(16);
  const std::vector<float> third(ReplayRing::kMaxBytes / sizeof(float) / 3, 1.0f);
  for (uint64_t seq = 1; seq <= 20; ++seq) ring.Put(seq, third, {}, {});
  EXPECT_LE(ring.bytes(), ReplayRing::kMaxBytes);
  EXPECT_NE(ring.Find(20), nullptr);
  EXPECT_NE(ring.Find(18), nullptr);
  EXPECT_EQ(ring.Find(17), nullptr);
  const std::vector<float> huge(ReplayRing::kMaxBytes, 2.0f);
  ring.Put(21, huge, {}, {});
  EXPECT_EQ(ring.Find(20), nullptr);
  ASSERT_NE(ring.Find(21), nullptr) << "the latest is kept whatever its size";
  ring.Put(22, {1.0f}, {}, {});
  EXPECT_EQ(ring.Find(21), nullptr);
  EXPECT_LE(ring.bytes(), ReplayRing::kMaxBytes);
}

}  // namespace
}  // namespace lstmd
