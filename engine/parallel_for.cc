// SPDX-License-Identifier: Apache-2.0
#include "engine/parallel_for.h"

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>
#include <vector>

namespace lstmd {

void ParallelFor(size_t items, const std::function<void(size_t)>& work) {
  constexpr size_t kMaxThreads = 8;
  std::atomic<size_t> next{0};
  const auto loop = [&] {
    for (size_t i = next++; i < items; i = next++) work(i);
  };
  const size_t cores = std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::thread> helpers;
  try {
    for (size_t i = 1; i < std::min({items, cores, kMaxThreads}); ++i) helpers.emplace_back(loop);
  } catch (const std::system_error&) {
    // Those that there are do it.
  }
  loop();
  for (std::thread& helper : helpers) helper.join();
}

}  // namespace lstmd
