// SPDX-License-Identifier: Apache-2.0
#include "engine/store/redis_connection.h"

#include <sys/time.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/store/state_store.h"

namespace lstmd {
namespace {

constexpr absl::Duration kConnectTimeout = absl::Seconds(1);
// Of a whole exchange: an fsync of a busy disk fits, a server that hangs is given up.
constexpr absl::Duration kReplyTimeout = absl::Seconds(2);
constexpr absl::Duration kRetry = absl::Milliseconds(100);

}  // namespace

std::string RedisAddress::text() const {
  return host.empty() ? absl::StrCat("unix:", path) : absl::StrCat(host, ":", port);
}

absl::Status RedisConnection::Broken(std::string_view what) {
  const std::string why = context_ != nullptr && context_->err != 0 ? context_->errstr : std::string(what);
  context_.reset();
  failure_ = StoreUnavailable(absl::StrCat("the store redis at ", address_.text(), ": ", why), kRetry);
  retry_at_ = absl::Now() + kRetry;
  return failure_;
}

absl::Status RedisConnection::Connect() {
  if (!failure_.ok() && absl::Now() < retry_at_) return failure_;
  const timeval connect = absl::ToTimeval(kConnectTimeout);
  context_.reset(address_.host.empty() ? redisConnectUnixWithTimeout(address_.path.c_str(), connect)
                                       : redisConnectWithTimeout(address_.host.c_str(), address_.port, connect));
  if (context_ == nullptr) return Broken("out of memory");
  if (context_->err != 0) return Broken("cannot connect");
  redisSetTimeout(context_.get(), absl::ToTimeval(kReplyTimeout));
  if (!address_.host.empty()) redisEnableKeepAlive(context_.get());
  if (!password_.empty()) {
    const RedisReply reply(
        static_cast<redisReply*>(redisCommand(context_.get(), "AUTH %b", password_.data(), password_.size())));
    if (reply == nullptr) return Broken("no answer");
    if (reply->type == REDIS_REPLY_ERROR) return Broken(std::string_view(reply->str, static_cast<size_t>(reply->len)));
  }
  failure_ = absl::OkStatus();
  return absl::OkStatus();
}

absl::StatusOr<std::vector<RedisReply>> RedisConnection::Run(absl::Span<const RedisCommand> commands) {
  MutexLock lock(&mutex_);
  if (context_ == nullptr) {
    if (absl::Status status = Connect(); !status.ok()) return status;
  }
  std::vector<const char*> arguments;
  std::vector<size_t> sizes;
  for (const RedisCommand& command : commands) {
    arguments.clear();
    sizes.clear();
    for (const std::string& argument : command) {
      arguments.push_back(argument.data());
      sizes.push_back(argument.size());
    }
    const int count = static_cast<int>(command.size());
    if (redisAppendCommandArgv(context_.get(), count, arguments.data(), sizes.data()) != REDIS_OK) {
      return Broken("out of memory");
    }
  }
  std::vector<RedisReply> replies;
  for (size_t i = 0; i < commands.size(); ++i) {
    void* reply = nullptr;
    if (redisGetReply(context_.get(), &reply) != REDIS_OK || reply == nullptr) return Broken("no answer");
    replies.emplace_back(static_cast<redisReply*>(reply));
  }
  return replies;
}

absl::Status RedisConnection::Failure(const redisReply& reply) const {
  if (reply.type != REDIS_REPLY_ERROR) return absl::OkStatus();
  const absl::string_view text(reply.str, static_cast<size_t>(reply.len));
  const std::string message = absl::StrCat("the store redis at ", address_.text(), " answers: ", text);
  const bool full = absl::StartsWith(text, "OOM") || absl::StrContains(text, "No space left");
  return full ? StoreFull(message, kRetry) : StoreUnavailable(message, kRetry);
}

}  // namespace lstmd
