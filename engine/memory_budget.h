// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_MEMORY_BUDGET_H_
#define LSTMD_ENGINE_MEMORY_BUDGET_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>

#include "absl/status/status.h"

namespace lstmd {

// Memory of this process in bytes: what counts when the kernel chooses whom to kill.
uint64_t ResidentBytes();
// What the process may have: its control group's limit, or where there is none the machine's memory.
uint64_t AvailableBytes();

// Refuses what would take the process above a limit, so that a call fails and not the process. It measures rather than
// adds up: what libraries hold counts too, and nothing can be forgotten. Thread-safe.
class MemoryBudget {
 public:
  // `limit` 0: none. `measure` is for tests.
  explicit MemoryBudget(uint64_t limit, std::function<uint64_t()> measure = ResidentBytes)
      : limit_(limit), measure_(std::move(measure)) {}

  // RESOURCE_EXHAUSTED / MEMORY_LIMIT, with RetryInfo, where `bytes` more would be above the limit. Costs an atomic
  // load or two; measures at most every 10 ms.
  absl::Status Admit(uint64_t bytes, std::string_view what) const;

  // Gives what the allocator keeps back to the system when there is little room left. Blocks; once a second is enough.
  void Trim();

  uint64_t limit() const { return limit_; }

 private:
  uint64_t Used() const;

  const uint64_t limit_;
  const std::function<uint64_t()> measure_;
  mutable std::atomic<uint64_t> used_{0};
  mutable std::atomic<int64_t> measured_ns_{INT64_MIN};
};

}  // namespace lstmd

#endif  // LSTMD_ENGINE_MEMORY_BUDGET_H_
