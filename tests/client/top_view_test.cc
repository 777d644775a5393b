// SPDX-License-Identifier: Apache-2.0
#include "client/lstmctl/top_view.h"

#include <algorithm>

#include "gmock/gmock.h"

namespace lstmd::client {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

v1::ServerStats SomeStats() {
  v1::ServerStats stats;
  stats.set_version("1.2.3");
  stats.mutable_start_time()->set_seconds(1'700'000'000);
  stats.mutable_time()->set_seconds(1'700'000'000 + 3 * 3600 + 7 * 60);
  v1::DeviceStats& device = *stats.add_devices();
  device.set_name("cpu");
  device.set_description("AVX-512, 2 threads");
  device.set_healthy(true);
  for (const auto& [name, rate, sessions] : {std::tuple("ares", 10.0, 500), std::tuple("zeus", 127'780.0, 64)}) {
    v1::ModelStats& model = *stats.add_models();
    model.mutable_model()->set_name(std::string("models/") + name);
    model.mutable_model()->set_version(1);
    model.mutable_model()->set_state(v1::Model::READY);
    model.mutable_model()->set_sessions(static_cast<uint64_t>(sessions));
    model.mutable_recent()->set_steps_per_second(rate);
    model.mutable_recent()->set_p99_seconds(rate * 1e-7);
  }
  v1::ModelStats& failed = *stats.add_models();
  failed.mutable_model()->set_name("models/broken");
  failed.mutable_model()->set_version(7);
  failed.mutable_model()->set_state(v1::Model::FAILED);
  failed.mutable_model()->set_error("truncated");
  stats.mutable_recent()->set_steps_per_second(127'790);
  stats.mutable_recent()->set_p50_seconds(332e-6);
  stats.mutable_recent()->set_busy(0.63);
  for (int i = 0; i < 60; ++i) stats.add_history()->mutable_load()->set_steps_per_second(i * 1000);
  v1::FailureStats& failure = *stats.add_failures();
  failure.set_rpc("StreamSteps");
  failure.set_code("RESOURCE_EXHAUSTED");
  failure.set_reason("QUEUE_FULL");
  failure.set_count(12'345);
  return stats;
}

std::string Text(const v1::ServerStats& stats, const TopView& view) {
  std::string text;
  for (const std::string& line : RenderTop(stats, view)) text += line + "\n";
  return text;
}

TopView Whole() {
  TopView view;
  view.server = "somewhere:8001";
  view.columns = 140;
  view.rows = 0;
  return view;
}

TEST(TopViewTest, ShowsServerLoadModelsAndFailures) {
  const std::string text = Text(SomeStats(), Whole());
  EXPECT_THAT(text,
              AllOf(HasSubstr("lstmd 1.2.3 at somewhere:8001   up 3h 7m   ready"), HasSubstr("cpu: AVX-512, 2 threads"),
                    ContainsRegex("steps/s +127,790 "), HasSubstr("p50 0.33 ms"), ContainsRegex("busy +63% "),
                    ContainsRegex("zeus +1 +ready +64 +127,780 "), ContainsRegex("broken +7 +failed +truncated"),
                    ContainsRegex("StreamSteps +RESOURCE_EXHAUSTED +QUEUE_FULL +12,345")));
  EXPECT_THAT(text, Not(HasSubstr("\033")));
}

TEST(TopViewTest, OrdersModels) {
  TopView view = Whole();
  const auto zeus_first = [&](TopOrder order) {
    view.order = order;
    const std::string text = Text(SomeStats(), view);
    return text.find("zeus") < text.find("ares");
  };
  EXPECT_TRUE(zeus_first(TopOrder::kRate));
  EXPECT_FALSE(zeus_first(TopOrder::kSessions));
  EXPECT_TRUE(zeus_first(TopOrder::kLatency));
  EXPECT_FALSE(zeus_first(TopOrder::kName));
}

TEST(TopViewTest, SaysWhatIsWrong) {
  v1::ServerStats stats = SomeStats();
  stats.add_not_ready("device cuda:0 is lost");
  stats.mutable_devices(0)->set_healthy(false);
  TopView view = Whole();
  view.problem = "no answer, trying again: connection refused";
  view.paused = true;
  EXPECT_THAT(Text(stats, view), AllOf(HasSubstr("not ready"), HasSubstr("device cuda:0 is lost"), HasSubstr("LOST"),
                                       HasSubstr("connection refused"), HasSubstr("paused")));
}

TEST(TopViewTest, AServerWithoutAnythingIsShownToo) {
  EXPECT_THAT(Text(v1::ServerStats(), Whole()), AllOf(HasSubstr("no model is loaded"), Not(HasSubstr("FAILURES"))));
}

TEST(TopViewTest, FitsEveryScreen) {
  for (const bool unicode : {false, true}) {
    for (int columns = 1; columns < 200; columns += 3) {
      for (const int rows : {1, 2, 5, 12, 50}) {
        TopView view = Whole();
        view.columns = columns;
        view.rows = rows;
        view.keys = rows > 1;
        view.unicode = unicode;
        const std::vector<std::string> lines = RenderTop(SomeStats(), view);
        EXPECT_LE(lines.size(), static_cast<size_t>(rows));
        for (const std::string& line : lines) {
          const auto width = std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xC0) != 0x80; });
          EXPECT_LE(width, columns) << line;
          if (!unicode) {
            EXPECT_TRUE(std::all_of(line.begin(), line.end(), [](char c) { return c >= 0; })) << line;
          }
        }
      }
    }
  }
}

TEST(TopViewTest, NumbersAreShort) {
  EXPECT_EQ(ShortNumber(0), "0");
  EXPECT_EQ(ShortNumber(41.13), "41.1");
  EXPECT_EQ(ShortNumber(127'780.4), "127,780");
  EXPECT_EQ(ShortNumber(12'345'678), "12.3 M");
  EXPECT_EQ(ShortTime(0), "0");
  EXPECT_EQ(ShortTime(98e-6), "98 us");
  EXPECT_EQ(ShortTime(332e-6), "0.33 ms");
  EXPECT_EQ(ShortTime(0.0123), "12.3 ms");
  EXPECT_EQ(ShortTime(2.5), "2.5 s");
}

}  // namespace
}  // namespace lstmd::client
