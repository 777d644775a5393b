// SPDX-License-Identifier: Apache-2.0
//
// What the batcher decides with: the queue that is fair between sinks, and the cost of calls.
#include <deque>
#include <vector>

#include "engine/call_cost.h"
#include "engine/ready_queue.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lstmd {
namespace {

using ::testing::ElementsAre;

class NullSink final : public WorkSink {
 public:
  void OnDone(Work*, const absl::Status&) override {}
  void OnBatchEnd() override {}
};

class ReadyQueueTest : public ::testing::Test {
 protected:
  void Push(int sink, int count = 1, uint64_t units = 1) {
    for (int k = 0; k < count; ++k) {
      Work& work = works_.emplace_back();
      work.sink = &sinks_[sink];
      work.units = units;
      queue_.Push(&work, free_, share_);
    }
  }
  // Sinks of the next `count`.
  std::vector<int> Pop(int count) {
    std::vector<int> sinks;
    for (int k = 0; k < count; ++k) {
      Work* const front = queue_.front();
      Work* const work = queue_.Pop();
      EXPECT_EQ(front, work);
      if (work == nullptr) break;
      sinks.push_back(static_cast<int>(static_cast<NullSink*>(work->sink) - sinks_));
    }
    return sinks;
  }

  uint32_t free_ = 4, share_ = 2;
  NullSink sinks_[4];
  std::deque<Work> works_;
  ReadyQueue queue_;
};

TEST_F(ReadyQueueTest, AFloodDoesNotHoldUpOthers) {
  Push(0, 1000);
  Push(1);
  Push(2, 3);
  EXPECT_EQ(queue_.size(), 1004u);
  EXPECT_THAT(Pop(4), ElementsAre(0, 0, 0, 0)) << "the round that is not counted";
  EXPECT_THAT(Pop(5), ElementsAre(0, 0, 1, 2, 2)) << "two each";
  EXPECT_THAT(Pop(4), ElementsAre(0, 0, 2, 0));
  Push(1, 2);
  EXPECT_THAT(Pop(4), ElementsAre(0, 0, 0, 1)) << "who comes new is in the next round";
}

TEST_F(ReadyQueueTest, WithoutABacklogTheOrderIsThatOfArrival) {
  for (int round = 0; round < 10; ++round) {
    Push(0, 3);
    Push(1);
    EXPECT_THAT(Pop(5), ElementsAre(0, 0, 0, 1));
  }
}

TEST_F(ReadyQueueTest, OneSinkIsFirstInFirstOut) {
  Push(0, 100);
  for (Work& work : works_) EXPECT_EQ(queue_.Pop(), &work);
  EXPECT_TRUE(queue_.empty());
  EXPECT_EQ(queue_.Pop(), nullptr);
  EXPECT_EQ(queue_.front(), nullptr);
}

TEST_F(ReadyQueueTest, CountsUnits) {
  Push(0, 10, 7);
  works_.emplace_back().units = 9;
  works_.back().row.position = 4;
  queue_.Push(&works_.back(), free_, share_);
  EXPECT_EQ(queue_.units(), 75u);
  while (queue_.Pop() != nullptr) {
  }
  EXPECT_EQ(queue_.units(), 0u);
}

TEST_F(ReadyQueueTest, AShareStartsAnewAfterABacklog) {
  Push(0, 8);
  Pop(8);
  Push(0, 5);
  Push(1);
  Push(0, 2);
  EXPECT_THAT(Pop(8), ElementsAre(0, 0, 0, 0, 0, 1, 0, 0));
}

TEST(CallCost, KnowsNothingAtFirst) {
  CallCost cost;
  EXPECT_EQ(cost.Estimate(1), absl::InfiniteDuration());
  EXPECT_EQ(cost.UnitsWithin(absl::Seconds(1), 77), 77u);
}

TEST(CallCost, SizesThatWereNotSeenAreAtLeastWhatTheirNeighboursSay) {
  CallCost cost;
  cost.Add(8, absl::Microseconds(80));
  EXPECT_EQ(cost.Estimate(8), absl::Microseconds(80));
  EXPECT_EQ(cost.Estimate(64), absl::Microseconds(640)) << "ten for each";
  EXPECT_EQ(cost.Estimate(1), absl::Microseconds(80)) << "a small call may be no cheaper";
  cost.Add(1, absl::Microseconds(50));
  EXPECT_EQ(cost.Estimate(1), absl::Microseconds(50));
  EXPECT_EQ(cost.Estimate(4), absl::Microseconds(200));
}

TEST(CallCost, FollowsChanges) {
  CallCost cost;
  cost.Add(1, absl::Microseconds(10));
  cost.Add(1, absl::Microseconds(1000));
  EXPECT_LT(cost.Estimate(1), absl::Microseconds(200)) << "one that was interrupted";
  for (int k = 0; k < 50; ++k) cost.Add(1, absl::Microseconds(1000));
  EXPECT_GT(cost.Estimate(1), absl::Microseconds(900));
}

TEST(CallCost, UnitsThatFit) {
  CallCost cost;
  for (const uint64_t units : {1, 4, 16, 64}) cost.Add(units, absl::Microseconds(10 + units));
  EXPECT_EQ(cost.UnitsWithin(absl::Microseconds(5), 0), 1u) << "at least one";
  EXPECT_GE(cost.UnitsWithin(absl::Microseconds(30), 0), 16u);
  EXPECT_LT(cost.UnitsWithin(absl::Microseconds(30), 0), 64u);
  EXPECT_GE(cost.UnitsWithin(absl::Microseconds(740), 0), 600u);
  EXPECT_GT(cost.UnitsWithin(absl::Seconds(100), 0), 1'000'000u);
  CallCost free;
  free.Add(1, absl::ZeroDuration());
  EXPECT_GT(free.UnitsWithin(absl::Microseconds(1), 0), 1'000'000u);
  EXPECT_EQ(free.Estimate(100), absl::ZeroDuration());
}

}  // namespace
}  // namespace lstmd
