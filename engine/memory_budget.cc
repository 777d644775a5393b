// SPDX-License-Identifier: Apache-2.0
#include "engine/memory_budget.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "engine/errors.h"

namespace lstmd {
namespace {

constexpr int64_t kFreshNs = 10'000'000;
// Above this share of the limit memory is given back.
constexpr double kFull = 0.8;

int64_t NowNs() { return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1); }

// The number in the file, or "none": a file that is not there, or one that says "max".
uint64_t ReadLimit(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  uint64_t bytes = 0;
  return file >> word && absl::SimpleAtoi(word, &bytes) ? bytes : UINT64_MAX;
}

}  // namespace

uint64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  uint64_t total = 0;
  uint64_t resident = 0;
  file >> total >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

uint64_t AvailableBytes() {
  uint64_t bytes = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  // In a container the group's own files are at the top.
  bytes = std::min(bytes, ReadLimit("/sys/fs/cgroup/memory.max"));
  bytes = std::min(bytes, ReadLimit("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    if (line.rfind("0::", 0) == 0)
      bytes = std::min(bytes, ReadLimit("/sys/fs/cgroup" + line.substr(3) + "/memory.max"));
  }
  return bytes;
}

uint64_t MemoryBudget::Used() const {
  const int64_t now = NowNs();
  int64_t measured = measured_ns_.load(std::memory_order_relaxed);
  if (measured == INT64_MIN || now - measured >= kFreshNs) {
    // One of those that find it old measures anew; the others take what there is.
    if (measured_ns_.compare_exchange_strong(measured, now, std::memory_order_relaxed)) {
      used_.store(measure_(), std::memory_order_relaxed);
    }
  }
  return used_.load(std::memory_order_relaxed);
}

absl::Status MemoryBudget::Admit(uint64_t bytes, std::string_view what) const {
  if (limit_ == 0) return absl::OkStatus();
  const uint64_t used = Used();
  if (used <= limit_ && bytes <= limit_ - used) return absl::OkStatus();
  return ResourceExhausted("MEMORY_LIMIT",
                           absl::StrCat("no room for ", absl::string_view(what.data(), what.size()), " of ", bytes,
                                        " bytes: ", used, " of ", limit_, " bytes are in use"))
      .Quota("memory")
      .RetryAfter(absl::Seconds(1))
      .With("limit", absl::StrCat(limit_));
}

void MemoryBudget::Trim() {
  if (limit_ == 0 || static_cast<double>(measure_()) < kFull * static_cast<double>(limit_)) return;
  malloc_trim(0);
  used_.store(measure_(), std::memory_order_relaxed);
}

}  // namespace lstmd
