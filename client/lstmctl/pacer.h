// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_CLIENT_LSTMCTL_PACER_H_
#define LSTMD_CLIENT_LSTMCTL_PACER_H_

#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "client/lstmctl/lane.h"

namespace lstmd::client {

// A thread that tells lanes when their messages are due: one every `interval_nanos`, each message of each lane in turn.
class Pacer {
 public:
  // REQUIRES: the lanes are started, and outlive it. Ends by itself at clock.send_until.
  Pacer(const std::vector<std::unique_ptr<Lane>>& lanes, const LoadClock& clock, double interval_nanos);
  ~Pacer() { thread_.join(); }
  Pacer(const Pacer&) = delete;
  Pacer& operator=(const Pacer&) = delete;

 private:
  void Run();

  const LoadClock& clock_;
  const double interval_nanos_;
  std::vector<std::pair<Lane*, size_t>> turns_;
  std::thread thread_;
};

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_LSTMCTL_PACER_H_
