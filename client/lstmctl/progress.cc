// SPDX-License-Identifier: Apache-2.0
#include "client/lstmctl/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace lstmd::client {
namespace {

constexpr size_t kWidth = 30;

}  // namespace

Progress::Progress(std::string label, uint64_t total)
    : label_(std::move(label)),
      total_(total),
      terminal_(isatty(STDERR_FILENO) != 0),
      next_(absl::Now() + absl::Milliseconds(500)) {}

Progress::~Progress() {
  if (drawn_) std::fputs("\r\033[K", stderr);
}

void Progress::Set(uint64_t done) {
  if (!terminal_) return;
  const absl::Time now = absl::Now();
  if (now < next_) return;
  next_ = now + absl::Milliseconds(100);
  drawn_ = true;
  std::string line = absl::StrCat("\r\033[K", label_, " ");
  if (total_ == 0) {
    absl::StrAppend(&line, done);
  } else {
    const double part = std::min(1.0, static_cast<double>(done) / static_cast<double>(total_));
    const size_t filled = static_cast<size_t>(part * kWidth);
    absl::StrAppend(&line, "[", std::string(filled, '#'), std::string(kWidth - filled, '.'), "] ",
                    static_cast<int>(part * 100), "%");
  }
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
}

}  // namespace lstmd::client
