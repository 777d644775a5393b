// SPDX-License-Identifier: Apache-2.0
//
// A wire between a server and its store that a test can cut: a TCP proxy that forwards bytes, or, cut, holds them back
// as a network does that lost its path. Healed, what was under way arrives, late.
#ifndef LSTMD_TESTS_FAULTS_TCP_PROXY_H_
#define LSTMD_TESTS_FAULTS_TCP_PROXY_H_

#include <poll.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace lstmd {

class TcpProxy {
 public:
  // Listens on a free port of the loopback and forwards to `port` there.
  explicit TcpProxy(int port);
  ~TcpProxy();

  int port() const { return port_; }
  void Cut() { SetCut(true); }
  void Heal() { SetCut(false); }

 private:
  struct Pipe {
    int from;
    int to;
    std::string buffer;  // read and not written
  };

  void SetCut(bool cut);
  void Run();
  void Accept();
  // False when either end is gone.
  static bool Move(Pipe* pipe, short from_events, short to_events);

  const int upstream_port_;
  int port_ = 0;
  int listener_ = -1;
  int wake_[2];
  std::atomic<bool> cut_{false};
  std::atomic<bool> quit_{false};
  std::vector<std::unique_ptr<Pipe>> pipes_;  // pairs: to the server, back
  std::thread thread_;
};

}  // namespace lstmd

#endif  // LSTMD_TESTS_FAULTS_TCP_PROXY_H_
