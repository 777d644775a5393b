// SPDX-License-Identifier: Apache-2.0
#include "engine/store/spill_space.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "engine/store/state_store.h"
#include "rocksdb/cache.h"
#include "rocksdb/db.h"
#include "rocksdb/table.h"
#include "rocksdb/write_batch.h"

namespace lstmd {
namespace {

constexpr absl::Duration kRetry = absl::Seconds(1);

rocksdb::Slice View(const SpillDisk::Key& key) { return {reinterpret_cast<const char*>(key.data()), sizeof key}; }

class RocksSpill final : public SpillDisk {
 public:
  RocksSpill(std::string folder, rocksdb::DB* db) : folder_(std::move(folder)), db_(db) {}

  absl::Status Put(absl::Span<const std::pair<Key, const std::string*>> states) override {
    rocksdb::WriteBatch batch;
    for (const auto& [key, state] : states) batch.Put(View(key), *state);
    return Checked(db_->Write(Unlogged(), &batch), "write");
  }

  absl::StatusOr<std::string> Get(const Key& key) override {
    std::string state;
    const rocksdb::Status status = db_->Get(rocksdb::ReadOptions(), View(key), &state);
    if (status.IsNotFound() || status.IsCorruption()) {
      return absl::Status(Error(absl::StatusCode::kDataLoss, "SNAPSHOT_CHECKSUM",
                                absl::StrCat("the state of a session that was spilled to ", folder_, " is lost")));
    }
    if (!status.ok()) return Checked(status, "read");
    return state;
  }

  void Erase(const Key& key) override { (void)db_->Delete(Unlogged(), View(key)); }

 private:
  static rocksdb::WriteOptions Unlogged() {
    rocksdb::WriteOptions options;
    options.disableWAL = true;
    return options;
  }

  absl::Status Checked(const rocksdb::Status& status, const char* what) const {
    if (status.ok()) return absl::OkStatus();
    const std::string message =
        absl::StrCat("cannot ", what, " in the spill folder ", folder_, ": ", status.ToString());
    if (!status.IsNoSpace()) return StoreUnavailable(message, kRetry);
    // Writes are refused from now on until it is told that there may be room again.
    (void)db_->Resume();
    return StoreFull(message, kRetry);
  }

  const std::string folder_;
  const std::unique_ptr<rocksdb::DB> db_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<SpillDisk>> OpenSpillDisk(const std::string& folder) {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.compression = rocksdb::kNoCompression;
  // What it keeps in memory counts, too: spilling is there to save some.
  options.write_buffer_size = 8 << 20;
  options.max_open_files = 256;
  options.keep_log_file_num = 1;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(8 << 20);
  table.cache_index_and_filter_blocks = true;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  rocksdb::Status status = rocksdb::DestroyDB(folder, options);
  rocksdb::DB* db = nullptr;
  if (status.ok()) status = rocksdb::DB::Open(options, folder, &db);
  if (!status.ok()) {
    return StoreUnavailable(absl::StrCat("cannot use the spill folder ", folder, ": ", status.ToString()), kRetry);
  }
  return std::make_unique<RocksSpill>(folder, db);
}

}  // namespace lstmd
