// SPDX-License-Identifier: Apache-2.0
#include "engine/batcher.h"

#include <deque>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lstmd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const absl::Time kStart = absl::FromUnixSeconds(1'000'000);
constexpr absl::Duration kUnit = absl::Microseconds(1);

class BatcherTest : public ::testing::Test {
 protected:
  BatcherTest() {
    limits_.max_batch_size = 4;
    limits_.slice_units = 8;
  }

  // Ready work of `units`; named by its number, from 0 on.
  Work* Add(ModelQueue& queue, uint64_t units = 1, absl::Time accepted = kStart, WorkSink* sink = nullptr) {
    Work& work = works_.emplace_back();
    work.units = units;
    work.sink = sink;
    work.accepted = accepted;
    AddReady(queue, &work, limits_);
    return &work;
  }
  int NumberOf(const Work* work) const {
    for (size_t k = 0; k < works_.size(); ++k) {
      if (&works_[k] == work) return static_cast<int>(k);
    }
    return -1;
  }
  // Numbers of the rows of the next batch, which takes a microsecond for each unit. Work that is not done comes back,
  // as the scheduler does it.
  std::vector<int> Next(std::vector<ModelQueue*> queues, absl::Time now = kStart) {
    batch_.Clear();
    ChooseBatch(queues, now, last_step_, limits_, &batch_);
    std::vector<int> numbers;
    if (!batch_.rows.empty()) Charge(batch_, static_cast<double>(batch_.units) * kUnit);
    for (Work* const work : batch_.rows) {
      numbers.push_back(NumberOf(work));
      work->row.position += work->row.budget;
      if (work->row.position < work->units) AddReady(*batch_.queue, work, limits_);
    }
    return numbers;
  }

  SchedulerOptions limits_;
  absl::Time last_step_ = kStart;
  std::deque<Work> works_;
  Batch batch_;
};

TEST_F(BatcherTest, NothingIsReady) {
  ModelQueue queue;
  EXPECT_THAT(Next({&queue}), IsEmpty());
  EXPECT_EQ(batch_.queue, nullptr);
  EXPECT_EQ(batch_.wake, absl::InfiniteFuture());
}

TEST_F(BatcherTest, TakesTheLongestReadyUpToTheCap) {
  ModelQueue queue;
  for (int k = 0; k < 6; ++k) Add(queue);
  EXPECT_THAT(Next({&queue}), ElementsAre(0, 1, 2, 3));
  Add(queue);
  EXPECT_THAT(Next({&queue}), ElementsAre(4, 5, 6));
  EXPECT_EQ(queue.ready(), 0u);
}

TEST_F(BatcherTest, ALaneGivesOneAtATimeInOrder) {
  Lane lane;
  Work a, b, c;
  EXPECT_TRUE(lane.idle());
  EXPECT_TRUE(lane.Enter(&a));
  EXPECT_FALSE(lane.Enter(&b));
  EXPECT_FALSE(lane.Enter(&c));
  EXPECT_EQ(lane.size(), 3u);
  EXPECT_EQ(lane.Leave(), &b);
  EXPECT_EQ(lane.Leave(), &c);
  EXPECT_FALSE(lane.idle());
  EXPECT_EQ(lane.Leave(), nullptr);
  EXPECT_TRUE(lane.idle());
  EXPECT_TRUE(lane.Enter(&a));
}

TEST_F(BatcherTest, LongWorkRunsInSlices) {
  ModelQueue queue;
  Work* const work = Add(queue, 19);
  std::vector<uint64_t> budgets;
  while (!Next({&queue}).empty()) budgets.push_back(work->row.budget);
  EXPECT_THAT(budgets, ElementsAre(8, 8, 3));
}

TEST_F(BatcherTest, StepsAndSequencesTakeTurns) {
  ModelQueue queue;
  Add(queue, 100);
  EXPECT_THAT(Next({&queue}), ElementsAre(0));
  for (int k = 0; k < 4; ++k) Add(queue);  // 1 to 4
  EXPECT_THAT(Next({&queue}), ElementsAre(1, 2, 3, 4)) << "a step waits for one slice only";
  for (int k = 0; k < 4; ++k) Add(queue);  // 5 to 8
  EXPECT_THAT(Next({&queue}), ElementsAre(5, 6, 7, 8)) << "both had 8 units";
  EXPECT_THAT(Next({&queue}), ElementsAre(0));
  Add(queue);  // 9
  EXPECT_THAT(Next({&queue}), ElementsAre(9));
  for (int k = 0; k < 7; ++k) Add(queue);
  Next({&queue});
  Next({&queue});
  Add(queue);  // 17
  EXPECT_THAT(Next({&queue}), ElementsAre(0, 17)) << "a call of sequences is filled up with steps";
}

TEST_F(BatcherTest, StepsAndSequencesGetTheSameTime) {
  ModelQueue queue;
  for (int k = 0; k < 8; ++k) Add(queue, 1'000'000);
  absl::Duration of_steps, of_sequences;
  for (int call = 0; call < 1000; ++call) {
    if (queue.steps.empty()) Add(queue);
    ASSERT_THAT(Next({&queue}), testing::Not(IsEmpty()));
    (batch_.sequences ? of_sequences : of_steps) += static_cast<double>(batch_.units) * kUnit;
  }
  EXPECT_GT(of_steps, absl::Microseconds(400));
  EXPECT_LE(AbsDuration(of_steps - of_sequences), 4 * 8 * kUnit) << "but for one call";
}

TEST_F(BatcherTest, StepsGoFirstAfterSequencesHadTheDevice) {
  ModelQueue queue;
  for (int k = 0; k < 4; ++k) Add(queue, 1'000'000);
  for (int call = 0; call < 1000; ++call) Next({&queue});
  for (int call = 0; call < 100; ++call) {
    Add(queue);
    Next({&queue});
    ASSERT_FALSE(batch_.sequences);
  }
}

TEST_F(BatcherTest, SequencesDoNotMakeUpForTimeThatTheyDidNotAskFor) {
  ModelQueue queue;
  for (int call = 0; call < 1000; ++call) {
    Add(queue);
    Next({&queue});
  }
  for (int k = 0; k < 4; ++k) Add(queue, 1'000'000);
  int sequence_calls = 0;
  for (int call = 0; call < 33; ++call) {
    Add(queue);
    Next({&queue});
    sequence_calls += batch_.sequences ? 1 : 0;
  }
  EXPECT_LE(sequence_calls, 2) << "one takes as long as 32 calls of a step";
}

TEST_F(BatcherTest, ACallOfSlicesIsAboutAsLongAsWanted) {
  limits_.max_batch_size = 64;
  limits_.slice_time = absl::Microseconds(20);
  ModelQueue queue;
  for (int k = 0; k < 64; ++k) Add(queue, 1'000'000);
  EXPECT_EQ(Next({&queue}).size(), 32u) << "nothing is known yet";
  EXPECT_THAT(Next({&queue}), ElementsAre(32)) << "32 rows took too long; what fewer take is yet to be seen";
  EXPECT_THAT(Next({&queue}), ElementsAre(33, 34, 35));
  EXPECT_EQ(batch_.units, 20u);
  EXPECT_EQ(Next({&queue}, kStart + absl::Seconds(2)).size(), 20u) << "no steps are about";

  // A step of 100 us: two of them.
  queue.step_cost.Add(1, absl::Microseconds(100));
  Next({&queue});
  EXPECT_TRUE(batch_.sequences);
  EXPECT_EQ(batch_.units, 200u);
}

TEST_F(BatcherTest, LongStepsDoNotPileUp) {
  ModelQueue queue;
  for (int k = 0; k < 4; ++k) Add(queue, 3);
  EXPECT_THAT(Next({&queue}), ElementsAre(0)) << "two have more units than max_batch_size";
  EXPECT_THAT(Next({&queue}), ElementsAre(1));
  Add(queue, 8);
  Next({&queue});
  Next({&queue});
  EXPECT_THAT(Next({&queue}), ElementsAre(4)) << "one always goes";
}

TEST_F(BatcherTest, SequencesGoRoundAmongThemselves) {
  ModelQueue queue;
  for (int k = 0; k < 6; ++k) Add(queue, 1000);
  EXPECT_THAT(Next({&queue}), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(Next({&queue}), ElementsAre(4, 5, 0, 1));
  EXPECT_THAT(Next({&queue}), ElementsAre(2, 3, 4, 5));
}

TEST_F(BatcherTest, TheModelThatHadTheLeastIsNext) {
  ModelQueue a, b;
  for (int k = 0; k < 8; ++k) Add(a);  // 0 to 7
  for (int k = 0; k < 8; ++k) Add(b);  // 8 to 15
  EXPECT_THAT(Next({&a, &b}), ElementsAre(0, 1, 2, 3)) << "the first of equals";
  a.served += 100;
  EXPECT_THAT(Next({&a, &b}), ElementsAre(8, 9, 10, 11));
  b.served += 10;
  EXPECT_THAT(Next({&a, &b}), ElementsAre(12, 13, 14, 15));
  b.served += 10;
  EXPECT_THAT(Next({&a, &b}), ElementsAre(4, 5, 6, 7)) << "nothing is ready in b";
}

TEST_F(BatcherTest, LateAndCancelledWorkIsSetAside) {
  ModelQueue queue;
  Work* const late = Add(queue);
  late->deadline = kStart;
  Work* const cancelled = Add(queue, 100);
  cancelled->cancelled = true;
  Add(queue)->deadline = kStart + absl::Nanoseconds(1);  // 2
  EXPECT_THAT(Next({&queue}), ElementsAre(2));
  EXPECT_THAT(batch_.late, ElementsAre(cancelled, late));
  Add(queue)->cancelled = true;
  EXPECT_THAT(Next({&queue}), IsEmpty());
  EXPECT_EQ(batch_.queue, &queue);
  EXPECT_EQ(batch_.late.size(), 1u);
}

TEST_F(BatcherTest, LateWorkTakesNoPlaceInTheBatch) {
  ModelQueue queue;
  for (int k = 0; k < 5; ++k) Add(queue)->deadline = kStart;
  for (int k = 0; k < 4; ++k) Add(queue);
  EXPECT_THAT(Next({&queue}), ElementsAre(5, 6, 7, 8));
  EXPECT_EQ(batch_.late.size(), 5u);
}

TEST_F(BatcherTest, WaitsForMoreOnlyWhereAsked) {
  limits_.max_queue_delay = absl::Milliseconds(2);
  ModelQueue queue;
  Add(queue);
  EXPECT_THAT(Next({&queue}, kStart + absl::Milliseconds(1)), IsEmpty());
  EXPECT_EQ(batch_.wake, kStart + absl::Milliseconds(2));
  EXPECT_THAT(Next({&queue}, batch_.wake), ElementsAre(0));

  for (int k = 0; k < 4; ++k) Add(queue);
  EXPECT_THAT(Next({&queue}), ElementsAre(1, 2, 3, 4)) << "a full batch does not wait";
}

TEST_F(BatcherTest, AModelThatWaitsHoldsUpNoOther) {
  limits_.max_queue_delay = absl::Milliseconds(2);
  ModelQueue waits, full;
  Add(waits);
  for (int k = 0; k < 4; ++k) Add(full);
  full.served = 1000;
  EXPECT_THAT(Next({&waits, &full}), ElementsAre(1, 2, 3, 4));
}

}  // namespace
}  // namespace lstmd
