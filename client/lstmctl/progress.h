// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_CLIENT_LSTMCTL_PROGRESS_H_
#define LSTMD_CLIENT_LSTMCTL_PROGRESS_H_

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace lstmd::client {

// A line on standard error that shows how far long work is. Silent when that is no terminal, and for work that ends
// within half a second. Used by one thread.
class Progress {
 public:
  // `total` 0: not known, only the count is shown.
  Progress(std::string label, uint64_t total);
  // Clears the line.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Set(uint64_t done);

 private:
  const std::string label_;
  const uint64_t total_;
  const bool terminal_;
  absl::Time next_;
  bool drawn_ = false;
};

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_LSTMCTL_PROGRESS_H_
