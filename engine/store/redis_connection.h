// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_STORE_REDIS_CONNECTION_H_
#define LSTMD_ENGINE_STORE_REDIS_CONNECTION_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "engine/mutex.h"
#include "hiredis/hiredis.h"

namespace lstmd {

struct RedisAddress {
  std::string host;  // empty: unix socket
  int port = 0;
  std::string path;

  std::string text() const;  // "127.0.0.1:6379"
};

struct RedisFree {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
  void operator()(redisContext* context) const { redisFree(context); }
};
using RedisReply = std::unique_ptr<redisReply, RedisFree>;

// A command and its arguments.
using RedisCommand = std::vector<std::string>;

// One connection, made when it is needed and made anew after it broke; after a failure it refuses for a short while
// without trying, so that callers hear at once. Thread-safe: one caller at a time, the others wait.
class RedisConnection {
 public:
  RedisConnection(RedisAddress address, std::string password)
      : address_(std::move(address)), password_(std::move(password)) {}

  // Sends all commands at once and returns their replies in order. UNAVAILABLE / STORE_UNAVAILABLE when the connection
  // cannot be made or breaks: which commands were carried out is then unknown. Errors that the server answers are
  // replies (see Failure).
  absl::StatusOr<std::vector<RedisReply>> Run(absl::Span<const RedisCommand> commands);

  // The error that `reply` is, if it is one: STORE_FULL, STORE_UNAVAILABLE; OK if it is none.
  absl::Status Failure(const redisReply& reply) const;

  const RedisAddress& address() const { return address_; }

 private:
  absl::Status Connect() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Broken(std::string_view what) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const RedisAddress address_;
  const std::string password_;
  Mutex mutex_;
  std::unique_ptr<redisContext, RedisFree> context_ ABSL_GUARDED_BY(mutex_);
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  absl::Time retry_at_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace lstmd

#endif  // LSTMD_ENGINE_STORE_REDIS_CONNECTION_H_
