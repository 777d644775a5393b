// SPDX-License-Identifier: Apache-2.0
//
// The files that say who may call and what they may use, and how use is counted.
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "engine/errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/caller.h"
#include "server/credentials_file.h"
#include "server/quota.h"
#include "server/rate_limiter.h"
#include "server/refusal_hold.h"
#include "server/transport.h"

namespace lstmd::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// SHA-256 of "abc", from FIPS 180-2.
constexpr char kAbc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

TEST(CredentialsTest, ReadsTokensCertificatesAndComments) {
  const auto credentials =
      ParseCredentials(std::string("# who may call\n\nteam-a user sha256:") + kAbc +
                       " expires=2027-01-01  # of the gateway\r\nops\tadmin cert:ops.example.com\n");
  ASSERT_TRUE(credentials.ok()) << credentials.status();
  ASSERT_EQ(credentials->size(), 2u);
  EXPECT_EQ((*credentials)[0].tenant, "team-a");
  EXPECT_EQ((*credentials)[0].role, Role::kUser);
  EXPECT_EQ((*credentials)[0].token, HashOf("abc"));
  EXPECT_EQ((*credentials)[0].expires, absl::FromCivil(absl::CivilDay(2027, 1, 1), absl::UTCTimeZone()));
  EXPECT_EQ((*credentials)[1].role, Role::kAdmin);
  EXPECT_EQ((*credentials)[1].certificate, "ops.example.com");
  EXPECT_EQ((*credentials)[1].expires, absl::InfiniteFuture());
}

TEST(CredentialsTest, NamesTheLineAndNotWhatStandsInIt) {
  const std::string good = std::string("a user sha256:") + kAbc;
  for (const std::string& line :
       {std::string("a user"), std::string("a user secret"), std::string("a root sha256:") + kAbc,
        std::string("../a user sha256:") + kAbc, std::string("a:b user sha256:") + kAbc,
        std::string("a user sha256:secret"), good + "00", good + " secret", good + " expires=secret", good + " x y",
        std::string("a user cert:"), good}) {
    const absl::Status status = ParseCredentials(good + "\n" + line).status();
    EXPECT_EQ(GetCause(status).reason, "AUTH_FILE") << line;
    EXPECT_THAT(std::string(status.message()), HasSubstr("line 2"));
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("secret")));
  }
}

TEST(QuotaTest, TenantsTakeFromTheDefaultWhatTheyDoNotSay) {
  const auto table = ParseQuotas(R"({"default": {"sessions": 10, "steps_per_second": 2.5},
                                     "tenants": {"a": {"sessions": 20, "models": ["m", "wide-*"]}}})");
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(table->Of("a").sessions, 20u);
  EXPECT_EQ(table->Of("a").steps_per_second, 2.5);
  EXPECT_EQ(table->Of("b").sessions, 10u);
  EXPECT_EQ(table->Of("b").state_bytes, UINT64_MAX);
  EXPECT_TRUE(table->Of("a").Allows("m"));
  EXPECT_TRUE(table->Of("a").Allows("wide-2"));
  EXPECT_FALSE(table->Of("a").Allows("m2"));
  EXPECT_FALSE(table->Of("a").Allows("wide"));
  EXPECT_TRUE(table->Of("b").Allows("any"));
}

TEST(QuotaTest, RefusesWhatItDoesNotKnow) {
  for (const char* text : {"", "[]", "{", "{\"defaults\": {}}", "{\"default\": []}", "{\"default\": {\"session\": 1}}",
                           "{\"default\": {\"sessions\": -1}}", "{\"default\": {\"sessions\": 1.5}}",
                           "{\"default\": {\"sessions\": \"1\"}}", "{\"default\": {\"steps_per_second\": 0}}",
                           "{\"tenants\": []}", "{\"tenants\": {\"a\": {\"models\": []}}}",
                           "{\"tenants\": {\"a\": {\"models\": [\"\"]}}}", "{\"tenants\": {\"a\": {\"x\": 1}}}"}) {
    EXPECT_EQ(GetCause(ParseQuotas(text).status()).reason, "QUOTA_FILE") << text;
  }
}

TEST(RateLimiterTest, TakesABurstOfASecondThenTheRate) {
  RateLimiter limiter;
  const absl::Time start = absl::FromUnixSeconds(1'000'000);
  int taken = 0;
  while (limiter.Take(1, 10, start) == absl::ZeroDuration()) ++taken;
  EXPECT_EQ(taken, 11);
  const absl::Duration wait = limiter.Take(1, 10, start);
  EXPECT_EQ(wait, absl::Milliseconds(100));
  EXPECT_EQ(limiter.Take(1, 10, start + wait), absl::ZeroDuration());
  EXPECT_GT(limiter.Take(1, 10, start + wait), absl::ZeroDuration());
}

TEST(RateLimiterTest, ALargeRequestIsTakenAndPaidAfterwards) {
  RateLimiter limiter;
  const absl::Time start = absl::FromUnixSeconds(1'000'000);
  EXPECT_EQ(limiter.Take(50, 10, start), absl::ZeroDuration());
  EXPECT_EQ(limiter.Take(1, 10, start), absl::Seconds(4));
  EXPECT_EQ(limiter.Take(1, 10, start + absl::Seconds(4)), absl::ZeroDuration());
}

TEST(RefusalPacerTest, HoldsLongerTheMoreIsRefused) {
  RefusalPacer pacer;
  const absl::Time start = absl::FromUnixSeconds(1'000'000);
  EXPECT_EQ(pacer.Next(0, start), absl::Milliseconds(2));
  EXPECT_EQ(pacer.Next(50, start), absl::Milliseconds(5));
  EXPECT_EQ(pacer.Next(0, start + absl::Milliseconds(4)), absl::Milliseconds(3));
  EXPECT_EQ(pacer.Next(UINT64_MAX, start), absl::Seconds(1));
  // From here on they end one after the other, over half a second.
  EXPECT_EQ(pacer.Next(1, start), absl::Milliseconds(998));
  for (int i = 2; i < 250; ++i) EXPECT_EQ(pacer.Next(1, start), absl::Milliseconds(1000 - 2 * i));
  EXPECT_EQ(pacer.Next(1, start), absl::Seconds(1));
  EXPECT_EQ(pacer.Next(0, start + absl::Seconds(2)), absl::Milliseconds(2));
}

TEST(RefusalHoldTest, IsNotedInTheErrorAndRunsLater) {
  absl::Status error = absl::ResourceExhaustedError("no");
  EXPECT_EQ(HoldOf(error), absl::ZeroDuration());
  EXPECT_EQ(HoldOf(absl::OkStatus()), absl::ZeroDuration());
  bool at_once = false;
  AfterHold(error, [&] { at_once = true; });
  EXPECT_TRUE(at_once);
  SetHold(absl::Milliseconds(20), &error);
  EXPECT_EQ(HoldOf(error), absl::Milliseconds(20));
  absl::Notification later;
  const absl::Time start = absl::Now();
  AfterHold(error, [&] { later.Notify(); });
  later.WaitForNotification();
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(19));
}

TEST(TenantTest, CountsWhatIsInFlight) {
  Quota quota;
  quota.in_flight = 3;
  Tenant tenant("a", quota);
  EXPECT_TRUE(tenant.Enter(2, 200).ok());
  const absl::Status status = tenant.Enter(2, 2);
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_EQ(GetCause(status).reason, "QUOTA");
  EXPECT_EQ(GetCause(status).quota_subject, "tenant:a");
  EXPECT_TRUE(GetCause(status).retry_after.has_value());
  EXPECT_GT(HoldOf(status), absl::ZeroDuration());
  EXPECT_TRUE(tenant.Enter(1, 1).ok());
  tenant.Leave(3);
  EXPECT_TRUE(tenant.Enter(3, 3).ok());
}

TEST(TransportTest, OnlyThisMachineIsLocal) {
  for (const char* address : {"unix:/run/s", "localhost:1", "127.0.0.1:1", "127.9.9.9:1", "[::1]:1"}) {
    EXPECT_TRUE(IsLocal(address)) << address;
  }
  for (const char* address : {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "127.example.com:1", "example.com:1", "*:1"}) {
    EXPECT_FALSE(IsLocal(address)) << address;
  }
}

TEST(TransportTest, PlainTextStaysOnThisMachineUnlessAllowed) {
  TransportOptions options;
  EXPECT_TRUE(Transport::Create(options, {"127.0.0.1:1", "unix:s"}).ok());
  EXPECT_EQ(GetCause(Transport::Create(options, {"127.0.0.1:1", "0.0.0.0:1"}).status()).reason, "PLAINTEXT");
  options.allow_plaintext = true;
  EXPECT_TRUE(Transport::Create(options, {"127.0.0.1:1", "0.0.0.0:1"}).ok());
}

TEST(TransportTest, FilesThatAreMissingOrHalfGivenAreRefused) {
  const TransportOptions cases[] = {{"cert.pem", "", "", false, {}},
                                    {"", "key.pem", "", false, {}},
                                    {"", "", "ca.pem", false, {}},
                                    {"/nonexistent/c", "/nonexistent/k", "", false, {}}};
  for (const TransportOptions& options : cases) {
    EXPECT_EQ(GetCause(Transport::Create(options, {}).status()).reason, "TLS_FILES") << options.tls_cert;
  }
}

}  // namespace
}  // namespace lstmd::server
