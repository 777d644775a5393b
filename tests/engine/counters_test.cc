// SPDX-License-Identifier: Apache-2.0
#include "engine/counters.h"

#include <algorithm>
#include <random>
#include <thread>

#include "engine/model_counters.h"
#include "engine/session.h"
#include "tests/engine/fixture.h"

namespace lstmd {
namespace {

TEST(HistogramTest, EveryValueLiesInItsBucket) {
  const auto check = [](uint64_t value) {
    const size_t bucket = Histogram::IndexOf(value);
    ASSERT_LT(bucket, Histogram::kBuckets);
    EXPECT_LE(value, Histogram::Upper(bucket)) << value;
    if (value > 0) {
      EXPECT_GT(value, Histogram::Lower(bucket)) << value;
    }
  };
  for (uint64_t value = 0; value < 100'000; ++value) check(value);
  for (int bit = 17; bit < 63; ++bit) {
    for (const uint64_t value : {(uint64_t{1} << bit) - 1, uint64_t{1} << bit, (uint64_t{1} << bit) + 1}) check(value);
  }
  check(UINT64_MAX);
}

TEST(HistogramTest, BucketsFollowEachOtherAndPowersOfTwoAreBounds) {
  for (size_t bucket = 0; bucket + 1 < Histogram::kBuckets; ++bucket) {
    EXPECT_LT(Histogram::Lower(bucket), Histogram::Upper(bucket));
    EXPECT_EQ(Histogram::Upper(bucket), Histogram::Lower(bucket + 1));
    if (bucket >= 8) {
      EXPECT_LE(Histogram::Upper(bucket), Histogram::Lower(bucket) * 9 / 8);
    }
  }
  for (int bit = 0; bit <= 30; ++bit) {
    const uint64_t bound = uint64_t{1} << bit;
    EXPECT_EQ(Histogram::Upper(Histogram::IndexOf(bound)), bound);
  }
  EXPECT_EQ(Histogram::Upper(Histogram::kBuckets - 1), UINT64_MAX);
}

// A duration of a whole power of two of a microsecond is not above that bound; a nanosecond more is.
TEST(HistogramTest, DurationsMeetTheirBoundsExactly) {
  for (int bit = 0; bit <= 26; ++bit) {
    const absl::Duration bound = absl::Microseconds(int64_t{1} << bit);
    EXPECT_EQ(ToTicks(bound), uint64_t{16} << bit);
    EXPECT_GT(ToTicks(bound + absl::Nanoseconds(1)), uint64_t{16} << bit);
  }
  EXPECT_EQ(ToTicks(absl::ZeroDuration()), 0u);
  EXPECT_EQ(ToTicks(-absl::Seconds(1)), 0u);
  EXPECT_GT(ToTicks(absl::InfiniteDuration()), Histogram::kLimit);
}

TEST(HistogramTest, QuantilesAreWithinABucketOfTheTruth) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  std::lognormal_distribution<double> distribution(9, 2);
  Histogram histogram;
  std::vector<uint64_t> values;
  for (int i = 0; i < 20'000; ++i) {
    values.push_back(static_cast<uint64_t>(distribution(random)) + 1);
    histogram.Add(values.back());
  }
  std::sort(values.begin(), values.end());
  const HistogramCounts counts = histogram.Read();
  EXPECT_EQ(counts.count(), values.size());
  for (const double q : {0.01, 0.5, 0.9, 0.99, 0.999}) {
    const auto truth = static_cast<double>(values[static_cast<size_t>(q * static_cast<double>(values.size()))]);
    EXPECT_NEAR(counts.Quantile(q), truth, truth / 8 + 1) << q;
  }
  EXPECT_EQ(HistogramCounts().Quantile(0.5), 0);
  EXPECT_EQ(HistogramCounts().mean(), 0);
}

TEST(HistogramTest, NothingIsLostAmongThreads) {
  Histogram histogram(4);
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 8; ++t) {
    threads.emplace_back([&histogram, t] {
      HistogramRun run(&histogram);
      for (uint64_t i = 0; i < 10'000; ++i) run.Add(i % (t + 3), 2);
    });
  }
  for (std::thread& thread : threads) thread.join();
  const HistogramCounts counts = histogram.Read();
  EXPECT_EQ(counts.count(), 160'000u);
  uint64_t sum = 0;
  for (uint64_t t = 0; t < 8; ++t) {
    for (uint64_t i = 0; i < 10'000; ++i) sum += 2 * (i % (t + 3));
  }
  EXPECT_EQ(counts.sum, sum);
}

TEST(HistogramTest, CountsAddAndSubtract) {
  Histogram histogram;
  histogram.Add(5);
  const HistogramCounts before = histogram.Read();
  histogram.Add(5, 3);
  histogram.Add(1000);
  HistogramCounts since = histogram.Read();
  since.Subtract(before);
  EXPECT_EQ(since.count(), 4u);
  EXPECT_EQ(since.sum, 1015u);
  HistogramCounts all = since;
  all.Add(before);
  EXPECT_EQ(all.count(), 5u);
  EXPECT_EQ(all.sum, 1020u);
}

using ModelCountersTest = EngineTest;

TEST_F(ModelCountersTest, WorkIsCountedByModelAndOutcome) {
  Start();
  AddSmall("m");
  AddSmall("n");
  const auto session = NewSession("a");
  for (uint64_t seq = 1; seq <= 3; ++seq) EXPECT_TRUE(Run(MakeStep(session, &sink_, 1, 2, seq).get()).ok());
  EXPECT_TRUE(Run(MakeStep(session, &sink_, 1, 2, 3).get()).ok());   // again: replayed
  EXPECT_FALSE(Run(MakeStep(session, &sink_, 1, 2, 9).get()).ok());  // a gap
  EXPECT_TRUE(Run(MakeSequence(*engine_->FindModel("n", 0), &sink_, 1, 5).get()).ok());
  const std::vector<ModelStats> stats = engine_->StatsByModel();
  ASSERT_EQ(stats.size(), 2u);
  const ModelStats& m = stats[0];
  EXPECT_EQ(m.info.name, "m");
  EXPECT_EQ(m.info.sessions, 1u);
  EXPECT_EQ(m.steps[0], 3u);
  EXPECT_EQ(m.steps[kReplayed], 1u);
  EXPECT_EQ(m.steps[static_cast<size_t>(absl::StatusCode::kOutOfRange)], 1u);
  EXPECT_EQ(m.time_steps, 6u);
  EXPECT_EQ(m.sequences[0], 0u);
  EXPECT_EQ(m.queue.count(), 3u);
  EXPECT_EQ(m.compute.count(), 3u);
  EXPECT_EQ(m.batch_rows.count(), 3u);
  EXPECT_EQ(m.batch_rows.sum, 3u);
  EXPECT_EQ(m.sessions_created, 1u);
  EXPECT_GT(m.replay_bytes, 0);
  EXPECT_EQ(m.queued, 0u);
  EXPECT_EQ(stats[1].sequences[0], 1u);
  EXPECT_EQ(stats[1].time_steps, 5u);
  EXPECT_EQ(stats[1].replay_bytes, 0);
}

TEST_F(ModelCountersTest, EndsOfSessionsAndTheirMemoryAreCounted) {
  options_.sessions.idle_ttl = absl::Minutes(1);
  Start();
  AddSmall();
  for (const char* const id : {"a", "b"}) EXPECT_TRUE(Run(MakeStep(NewSession(id), &sink_, 1, 1, 1).get()).ok());
  EXPECT_TRUE(engine_->DeleteSession("m", "a").ok());
  clock_.Advance(absl::Minutes(2));
  engine_->ExpireSessions();
  const ModelStats stats = engine_->StatsByModel()[0];
  EXPECT_EQ(stats.sessions_created, 2u);
  const auto ended = [&](std::string_view how) {
    for (const auto& [name, count] : stats.sessions_ended) {
      if (name == how) return count;
    }
    return uint64_t{0};
  };
  EXPECT_EQ(ended("DELETED"), 1u);
  EXPECT_EQ(ended("EXPIRED"), 1u);
  EXPECT_EQ(stats.info.sessions, 0u);
  EXPECT_EQ(stats.replay_bytes, 0) << "rings of sessions that are gone";
}

TEST_F(ModelCountersTest, FailedDeviceCallsAreCounted) {
  Start();
  AddSmall();
  control_->FailRun(absl::InternalError("broken"));
  EXPECT_FALSE(Run(MakeStep(NewSession("a"), &sink_, 1).get()).ok());
  const ModelStats stats = engine_->StatsByModel()[0];
  EXPECT_EQ(stats.failed_batches, 1u);
  EXPECT_EQ(stats.steps[static_cast<size_t>(absl::StatusCode::kInternal)], 1u);
  EXPECT_EQ(stats.steps[0], 0u);
  ASSERT_EQ(engine_->StatsByDevice().size(), 1u);
  EXPECT_TRUE(engine_->StatsByDevice()[0].healthy);
}

TEST_F(ModelCountersTest, AModelThatIsLoadedAgainBeginsAtZero) {
  Start();
  AddSmall();
  EXPECT_TRUE(Run(MakeSequence(*engine_->FindModel("m", 0), &sink_, 1, 5).get()).ok());
  EXPECT_TRUE(engine_->UnloadModel("m", 0, true).ok());
  EXPECT_TRUE(engine_->StatsByModel().empty());
  AddSmall();
  EXPECT_EQ(engine_->StatsByModel()[0].sequences[0], 0u);
}

}  // namespace
}  // namespace lstmd
