// SPDX-License-Identifier: Apache-2.0
//
// A session is one hash "lstmd:{model}/{id}": e epoch, c claim, o owner, h head, r0 r1 … replies by place. What
// compares and sets is Lua, which Redis runs whole. Redis forgets a session some time after it was due (PEXPIREAT).
#include "engine/store/redis_store.h"

#include <signal.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace lstmd {
namespace {

// After it was due: clocks of replicas differ, and one that has the session may not have said yet that it goes on.
constexpr absl::Duration kGrace = absl::Hours(1);
// In one exchange.
constexpr size_t kPipeline = 256;

// Answers "" when it is done, else what stands in the way: "E" and the owner that has it.
// ARGV: kind, claim, epoch, owner, time of expiry (0: never), all_replies, head, then place and bytes of replies.
constexpr char kWrite[] = R"(
local claim = redis.call('HGET', KEYS[1], 'c')
local kind = ARGV[1]
if claim and claim ~= ARGV[2] then return 'E' .. redis.call('HGET', KEYS[1], 'o') end
if not claim and kind == 'update' then return 'E' end
if kind == 'erase' then
  redis.call('DEL', KEYS[1])
  return ''
end
if claim and ARGV[6] == '1' then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], 'e', ARGV[3], 'c', ARGV[2], 'o', ARGV[4], 'h', ARGV[7])
for i = 8, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
if ARGV[5] == '0' then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIREAT', KEYS[1], ARGV[5]) end
return ''
)";

// ARGV: claim, owner. Answers the hash, and b, the owner before; nothing when there is none.
constexpr char kClaim[] = R"(
if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
local owner = redis.call('HGET', KEYS[1], 'o')
redis.call('HINCRBY', KEYS[1], 'e', 1)
redis.call('HSET', KEYS[1], 'c', ARGV[1], 'o', ARGV[2])
redis.call('PERSIST', KEYS[1])
local all = redis.call('HGETALL', KEYS[1])
all[#all + 1] = 'b'
all[#all + 1] = owner
return all
)";

std::string Key(const StoreKey& key) { return absl::StrCat("lstmd:", key.model, "/", key.id); }

std::string_view Text(const redisReply& reply) { return {reply.str, static_cast<size_t>(reply.len)}; }

class RedisStore final : public StateStore {
 public:
  RedisStore(RedisAddress address, const std::string& password)
      : writer_(address, password), reader_(std::move(address), password) {}

  std::vector<absl::Status> Write(absl::Span<const StoreWrite> writes) override;
  absl::StatusOr<StoredSession> Claim(const StoreKey& key, uint64_t claim, std::string_view owner) override {
    return Get(key, {"EVAL", kClaim, "1", Key(key), absl::StrCat(claim), std::string(owner)});
  }
  absl::StatusOr<StoredSession> Read(const StoreKey& key) override { return Get(key, {"HGETALL", Key(key)}); }
  absl::StatusOr<uint64_t> Sweep(absl::Time /*time*/) override { return 0; }
  absl::Status Check() override;
  std::string description() const override;
  std::string warning() const override;

 private:
  absl::StatusOr<StoredSession> Get(const StoreKey& key, const RedisCommand& command);
  // "" when it cannot be asked.
  std::string Setting(const std::string& name) const;

  // Two, so that a restore does not wait for a group of writes.
  RedisConnection writer_;
  mutable RedisConnection reader_;
};

RedisCommand Command(const StoreWrite& write) {
  const bool create = write.kind == StoreWrite::Kind::kCreate;
  const bool erase = write.kind == StoreWrite::Kind::kErase;
  const bool forever = write.due == absl::InfiniteFuture();
  RedisCommand command = {"EVAL",
                          kWrite,
                          "1",
                          Key(write.key),
                          create  ? "create"
                          : erase ? "erase"
                                  : "update",
                          absl::StrCat(write.claim),
                          absl::StrCat(write.epoch),
                          write.owner,
                          forever ? "0" : absl::StrCat(absl::ToUnixMillis(write.due + kGrace)),
                          write.all_replies ? "1" : "0",
                          write.head};
  for (const StoredReply& reply : write.replies) {
    command.push_back(absl::StrCat("r", reply.place));
    command.push_back(reply.bytes);
  }
  return command;
}

std::vector<absl::Status> RedisStore::Write(absl::Span<const StoreWrite> writes) {
  std::vector<absl::Status> statuses;
  while (statuses.size() < writes.size()) {
    const size_t first = statuses.size();
    const size_t count = std::min(kPipeline, writes.size() - first);
    std::vector<RedisCommand> commands;
    for (const StoreWrite& write : writes.subspan(first, count)) commands.push_back(Command(write));
    const absl::StatusOr<std::vector<RedisReply>> replies = writer_.Run(commands);
    for (size_t i = 0; i < count; ++i) {
      const StoreWrite& write = writes[first + i];
      absl::Status status = replies.ok() ? writer_.Failure(*(*replies)[i]) : replies.status();
      if (status.ok() && (*replies)[i]->type != REDIS_REPLY_STRING) {
        status = StoreUnavailable("the store redis gives an answer of no known form", absl::Seconds(1));
      }
      if (status.ok() && !Text(*(*replies)[i]).empty()) {
        status = write.kind == StoreWrite::Kind::kCreate ? StoreExists(write.key)
                                                         : StoreFenced(write.key, Text(*(*replies)[i]).substr(1));
      }
      statuses.push_back(std::move(status));
    }
  }
  return statuses;
}

absl::StatusOr<StoredSession> RedisStore::Get(const StoreKey& key, const RedisCommand& command) {
  const absl::StatusOr<std::vector<RedisReply>> replies = reader_.Run({command});
  if (!replies.ok()) return replies.status();
  const redisReply& reply = *(*replies)[0];
  if (absl::Status status = reader_.Failure(reply); !status.ok()) return status;
  if (reply.type != REDIS_REPLY_ARRAY || reply.elements == 0) return StoreNotFound(key);
  StoredSession stored;
  std::optional<std::string> before;
  for (size_t i = 0; i + 1 < reply.elements; i += 2) {
    const std::string_view field = Text(*reply.element[i]);
    const std::string_view value = Text(*reply.element[i + 1]);
    const absl::string_view number(value.data(), value.size());
    uint32_t place = 0;
    if (field == "e") {
      (void)absl::SimpleAtoi(number, &stored.epoch);
    } else if (field == "c") {
      (void)absl::SimpleAtoi(number, &stored.claim);
    } else if (field == "o") {
      stored.owner = value;
    } else if (field == "b") {
      before = value;
    } else if (field == "h") {
      stored.head = value;
    } else if (absl::SimpleAtoi(absl::string_view(field.data() + 1, field.size() - 1), &place)) {
      stored.replies.push_back({place, std::string(value)});
    }
  }
  stored.released = before.value_or(stored.owner).empty();
  return stored;
}

absl::Status RedisStore::Check() {
  const absl::StatusOr<std::vector<RedisReply>> replies = reader_.Run({RedisCommand{"PING"}});
  return replies.ok() ? reader_.Failure(*(*replies)[0]) : replies.status();
}

std::string RedisStore::Setting(const std::string& name) const {
  const absl::StatusOr<std::vector<RedisReply>> replies = reader_.Run({RedisCommand{"CONFIG", "GET", name}});
  if (!replies.ok() || (*replies)[0]->type != REDIS_REPLY_ARRAY || (*replies)[0]->elements != 2) return "";
  return std::string(Text(*(*replies)[0]->element[1]));
}

std::string RedisStore::description() const {
  std::string text = absl::StrCat("redis at ", reader_.address().text());
  for (const char* name : {"appendonly", "appendfsync"}) {
    if (const std::string value = Setting(name); !value.empty()) absl::StrAppend(&text, ", ", name, " ", value);
  }
  return text;
}

std::string RedisStore::warning() const {
  if (Setting("appendonly") == "no") return "redis has appendonly no: when it ends it may forget what it acknowledged";
  if (const std::string policy = Setting("maxmemory-policy"); absl::StartsWith(policy, "allkeys")) {
    return absl::StrCat("redis has maxmemory-policy ", policy, ": when it is full it forgets sessions");
  }
  return "";
}

}  // namespace

std::unique_ptr<StateStore> OpenRedisStore(RedisAddress address, std::string password) {
  // hiredis writes to a socket that may be closed without a word to the kernel about the signal.
  struct sigaction action = {};
  if (sigaction(SIGPIPE, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) {
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, nullptr);
  }
  return std::make_unique<RedisStore>(std::move(address), password);
}

}  // namespace lstmd
