// SPDX-License-Identifier: Apache-2.0
//
// Keys: "s" model NUL id          -> epoch u64, claim u64, due i64 (ms since 1970), size of owner u32, owner, head
//       "r" model NUL id NUL place (u32, big-endian)  -> a reply
// Names never contain NUL, so those of one session stand together.
#include "engine/store/rocks_store.h"

#include <cstdarg>
#include <cstring>
#include <functional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/mutex.h"
#include "rocksdb/cache.h"
#include "rocksdb/db.h"
#include "rocksdb/env.h"
#include "rocksdb/table.h"
#include "rocksdb/write_batch.h"

namespace lstmd {
namespace {

// Between two attempts to use a database that has failed.
constexpr absl::Duration kRetry = absl::Milliseconds(200);

rocksdb::Slice View(std::string_view text) { return {text.data(), text.size()}; }

std::string Key(char kind, const StoreKey& key) {
  std::string bytes(1, kind);
  bytes.append(key.model).push_back('\0');
  bytes.append(key.id);
  return bytes;
}

std::string ReplyPrefix(const StoreKey& key) { return Key('r', key) + '\0'; }

std::string ReplyKey(const StoreKey& key, uint32_t place) {
  std::string bytes = ReplyPrefix(key);
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(place >> shift));
  return bytes;
}

int64_t Millis(absl::Time time) { return absl::ToUnixMillis(time); }

struct Head {
  uint64_t epoch = 0;
  uint64_t claim = 0;
  int64_t due = INT64_MAX;
  std::string owner;
  std::string bytes;

  std::string Encode() const {
    std::string value;
    const auto put = [&value](auto number) { value.append(reinterpret_cast<const char*>(&number), sizeof number); };
    put(epoch);
    put(claim);
    put(due);
    put(static_cast<uint32_t>(owner.size()));
    return value + owner + bytes;
  }
  bool Decode(std::string_view value) {
    uint32_t size = 0;
    if (value.size() < 28) return false;
    std::memcpy(&epoch, value.data(), 8);
    std::memcpy(&claim, value.data() + 8, 8);
    std::memcpy(&due, value.data() + 16, 8);
    std::memcpy(&size, value.data() + 24, 4);
    if (size > value.size() - 28) return false;
    owner = value.substr(28, size);
    bytes = value.substr(28 + size);
    return true;
  }
};

// Instead of the library's own log file, which ends the process when the disk is full: its checks do not allow that it
// is written to again after a failed write, and closing the database does.
class NoLog final : public rocksdb::Logger {
 public:
  NoLog() : Logger(rocksdb::InfoLogLevel::HEADER_LEVEL) {}
  using Logger::Logv;
  void Logv(const char*, va_list) override {}
};

class RocksStore final : public StateStore {
 public:
  explicit RocksStore(std::string folder) : folder_(std::move(folder)) {}

  absl::Status Open() {
    MutexLock lock(&mutex_);
    return Reopen();
  }

  std::vector<absl::Status> Write(absl::Span<const StoreWrite> writes) override;
  absl::StatusOr<StoredSession> Claim(const StoreKey& key, uint64_t claim, std::string_view owner) override;
  absl::StatusOr<StoredSession> Read(const StoreKey& key) override;
  absl::StatusOr<uint64_t> Sweep(absl::Time time) override;
  absl::Status Check() override {
    MutexLock lock(&mutex_);
    return Ready();
  }
  std::string description() const override { return "rocksdb at " + folder_; }

 private:
  // Heads as they will be when the batch is written; an empty claim: erased.
  using Overlay = absl::flat_hash_map<std::string, Head>;

  absl::Status Reopen() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // OK, or why it cannot be used now. After a failed write the library refuses all until it has recovered.
  absl::Status Ready() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Failed(const rocksdb::Status& status, std::string_view what) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // False: there is none.
  absl::StatusOr<bool> Get(const StoreKey& key, Head* head) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Add(const StoreWrite& write, Overlay* overlay, rocksdb::WriteBatch* batch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Commit(rocksdb::WriteBatch* batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What is stored of a session, and its head. NOT_FOUND as Claim and Read.
  absl::StatusOr<StoredSession> Load(const StoreKey& key, Head* head) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status EachReply(const StoreKey& key,
                         const std::function<void(std::string_view key, std::string_view value)>& see)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string folder_;
  Mutex mutex_;  // compare and set are one
  std::unique_ptr<rocksdb::DB> db_ ABSL_GUARDED_BY(mutex_);
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  absl::Time retry_at_ ABSL_GUARDED_BY(mutex_);
};

absl::Status RocksStore::Reopen() {
  db_.reset();
  rocksdb::Options options;
  options.create_if_missing = true;
  // States are floats: they do not compress.
  options.compression = rocksdb::kNoCompression;
  options.write_buffer_size = 32 << 20;
  options.max_open_files = 512;
  options.info_log = std::make_shared<NoLog>();
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(32 << 20);
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(options, folder_, &db);
  if (!status.ok()) return Failed(status, "open");
  db_.reset(db);
  failure_ = absl::OkStatus();
  return absl::OkStatus();
}

absl::Status RocksStore::Ready() {
  if (failure_.ok()) return absl::OkStatus();
  if (absl::Now() < retry_at_) return failure_;
  if (db_ != nullptr && db_->Resume().ok()) {
    failure_ = absl::OkStatus();
    return failure_;
  }
  return Reopen();
}

absl::Status RocksStore::Failed(const rocksdb::Status& status, std::string_view what) {
  const std::string message =
      absl::StrCat("the store in ", folder_, " cannot ", std::string(what), ": ", status.ToString());
  failure_ = status.IsNoSpace() ? StoreFull(message, kRetry) : StoreUnavailable(message, kRetry);
  retry_at_ = absl::Now() + kRetry;
  return failure_;
}

absl::StatusOr<bool> RocksStore::Get(const StoreKey& key, Head* head) {
  std::string value;
  const rocksdb::Status status = db_->Get(rocksdb::ReadOptions(), Key('s', key), &value);
  if (status.IsNotFound()) return false;
  if (!status.ok()) return Failed(status, "read");
  if (!head->Decode(value)) return Failed(rocksdb::Status::Corruption("a head of no known form"), "read");
  return true;
}

absl::Status RocksStore::EachReply(const StoreKey& key,
                                   const std::function<void(std::string_view, std::string_view)>& see) {
  const std::string prefix = ReplyPrefix(key);
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(rocksdb::ReadOptions()));
  for (it->Seek(prefix); it->Valid() && it->key().starts_with(prefix); it->Next()) {
    see({it->key().data(), it->key().size()}, {it->value().data(), it->value().size()});
  }
  return it->status().ok() ? absl::OkStatus() : Failed(it->status(), "read");
}

absl::Status RocksStore::Add(const StoreWrite& write, Overlay* overlay, rocksdb::WriteBatch* batch) {
  const std::string name = Key('s', write.key);
  Head before;
  bool exists = false;
  if (const auto it = overlay->find(name); it != overlay->end()) {
    before = it->second;
    exists = before.claim != 0;
  } else {
    const absl::StatusOr<bool> got = Get(write.key, &before);
    if (!got.ok()) return got.status();
    exists = *got;
  }
  const bool ours = exists && before.claim == write.claim;
  if (write.kind == StoreWrite::Kind::kCreate && exists && !ours) return StoreExists(write.key);
  if (write.kind == StoreWrite::Kind::kUpdate && !ours) return StoreFenced(write.key, before.owner);
  if (write.kind == StoreWrite::Kind::kErase && !exists) return absl::OkStatus();
  if (write.kind == StoreWrite::Kind::kErase && !ours) return StoreFenced(write.key, before.owner);

  if (exists && (write.all_replies || write.kind == StoreWrite::Kind::kErase)) {
    absl::Status status =
        EachReply(write.key, [batch](std::string_view key, std::string_view) { batch->Delete(View(key)); });
    if (!status.ok()) return status;
  }
  if (write.kind == StoreWrite::Kind::kErase) {
    batch->Delete(name);
    (*overlay)[name] = Head();
    return absl::OkStatus();
  }
  Head head;
  head.epoch = write.epoch;
  head.claim = write.claim;
  head.due = Millis(write.due);
  head.owner = write.owner;
  head.bytes = write.head;
  batch->Put(name, head.Encode());
  for (const StoredReply& reply : write.replies) batch->Put(ReplyKey(write.key, reply.place), reply.bytes);
  (*overlay)[name] = std::move(head);
  return absl::OkStatus();
}

absl::Status RocksStore::Commit(rocksdb::WriteBatch* batch) {
  if (batch->Count() == 0) return absl::OkStatus();
  rocksdb::WriteOptions options;
  options.sync = true;
  const rocksdb::Status status = db_->Write(options, batch);
  return status.ok() ? absl::OkStatus() : Failed(status, "write");
}

std::vector<absl::Status> RocksStore::Write(absl::Span<const StoreWrite> writes) {
  MutexLock lock(&mutex_);
  std::vector<absl::Status> statuses(writes.size(), Ready());
  if (writes.empty() || !statuses[0].ok()) return statuses;
  rocksdb::WriteBatch batch;
  Overlay overlay;
  for (size_t i = 0; i < writes.size(); ++i) statuses[i] = Add(writes[i], &overlay, &batch);
  if (absl::Status status = Commit(&batch); !status.ok()) {
    for (absl::Status& one : statuses) {
      if (one.ok()) one = status;
    }
  }
  return statuses;
}

absl::StatusOr<StoredSession> RocksStore::Load(const StoreKey& key, Head* head) {
  if (absl::Status status = Ready(); !status.ok()) return status;
  const absl::StatusOr<bool> exists = Get(key, head);
  if (!exists.ok()) return exists.status();
  if (!*exists) return StoreNotFound(key);
  StoredSession stored = {head->epoch, head->claim, head->owner, head->owner.empty(), head->bytes, {}};
  absl::Status status = EachReply(key, [&stored](std::string_view, std::string_view value) {
    stored.replies.push_back({0, std::string(value)});
  });
  if (!status.ok()) return status;
  return stored;
}

absl::StatusOr<StoredSession> RocksStore::Claim(const StoreKey& key, uint64_t claim, std::string_view owner) {
  MutexLock lock(&mutex_);
  Head head;
  absl::StatusOr<StoredSession> stored = Load(key, &head);
  if (!stored.ok()) return stored;
  stored->epoch = ++head.epoch;
  stored->claim = head.claim = claim;
  stored->owner = head.owner = owner;
  head.due = INT64_MAX;
  rocksdb::WriteBatch batch;
  batch.Put(Key('s', key), head.Encode());
  if (absl::Status status = Commit(&batch); !status.ok()) return status;
  return stored;
}

absl::StatusOr<StoredSession> RocksStore::Read(const StoreKey& key) {
  MutexLock lock(&mutex_);
  Head head;
  return Load(key, &head);
}

absl::StatusOr<uint64_t> RocksStore::Sweep(absl::Time time) {
  constexpr uint64_t kAtOnce = 1000;
  uint64_t swept = 0;
  std::string from = "s";
  while (true) {
    MutexLock lock(&mutex_);
    if (absl::Status status = Ready(); !status.ok()) return status;
    rocksdb::WriteBatch batch;
    uint64_t seen = 0;
    const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(rocksdb::ReadOptions()));
    for (it->Seek(from); seen < kAtOnce && it->Valid() && it->key().starts_with("s"); it->Next(), ++seen) {
      from = it->key().ToString() + '\0';
      Head head;
      if (!head.Decode({it->value().data(), it->value().size()}) || head.due >= Millis(time)) continue;
      const size_t end = from.find('\0');
      const StoreKey key = {from.substr(1, end - 1), from.substr(end + 1, from.size() - end - 2)};
      absl::Status status =
          EachReply(key, [&batch](std::string_view name, std::string_view) { batch.Delete(View(name)); });
      if (!status.ok()) return status;
      batch.Delete(it->key());
      ++swept;
    }
    if (!it->status().ok()) return Failed(it->status(), "read");
    if (absl::Status status = Commit(&batch); !status.ok()) return status;
    if (seen < kAtOnce) return swept;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<StateStore>> OpenRocksStore(const std::string& folder) {
  auto store = std::make_unique<RocksStore>(folder);
  if (absl::Status status = store->Open(); !status.ok()) return status;
  return store;
}

}  // namespace lstmd
