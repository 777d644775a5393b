// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_TESTS_SUPPORT_REDIS_PROCESS_H_
#define LSTMD_TESTS_SUPPORT_REDIS_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <vector>

namespace lstmd {

// A real redis-server on a unix socket in a folder of its own, with `appendonly yes` and `appendfsync always`; it goes
// with this object. Not thread-safe.
class RedisProcess {
 public:
  // `arguments`: more of redis-server's, "--maxmemory", "4mb". Aborts the test program when it cannot be started.
  explicit RedisProcess(std::vector<std::string> arguments = {});
  ~RedisProcess();
  RedisProcess(const RedisProcess&) = delete;
  RedisProcess& operator=(const RedisProcess&) = delete;

  const std::string& socket() const { return socket_; }
  // For --store.
  std::string flag() const { return "redis:unix:" + socket_; }

  // kill -9; what was acknowledged is in the file.
  void Kill();
  // After Kill. Waits until it answers.
  void Start();
  // Stops answering, and goes on.
  void Pause();
  void Resume();

 private:
  const std::vector<std::string> arguments_;
  std::string folder_;
  std::string socket_;
  pid_t pid_ = -1;
  int output_ = -1;
};

}  // namespace lstmd

#endif  // LSTMD_TESTS_SUPPORT_REDIS_PROCESS_H_
