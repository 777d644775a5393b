// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_STORE_SPILL_SPACE_H_
#define LSTMD_ENGINE_STORE_SPILL_SPACE_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/mutex.h"

namespace lstmd {

// States of sessions on disk; lost with the process, which wipes the folder when it opens it. Thread-safe; calls block.
class SpillDisk {
 public:
  using Key = std::array<uint64_t, 2>;  // a session's uid

  virtual ~SpillDisk() = default;
  // All or none. RESOURCE_EXHAUSTED / STORE_FULL, UNAVAILABLE / STORE_UNAVAILABLE.
  virtual absl::Status Put(absl::Span<const std::pair<Key, const std::string*>> states) = 0;
  // DATA_LOSS / SNAPSHOT_CHECKSUM where there is none.
  virtual absl::StatusOr<std::string> Get(const Key& key) = 0;
  virtual void Erase(const Key& key) = 0;
};

// A RocksDB without a log. UNAVAILABLE / STORE_UNAVAILABLE when the folder cannot be used.
absl::StatusOr<std::unique_ptr<SpillDisk>> OpenSpillDisk(const std::string& folder);

// Where the states of the sessions of a server are, counted; outlives them all. Thread-safe.
struct SpillSpace {
  Mutex moving_out;                  // held from counting to moving: two that make room at once would move one too many
  std::atomic<int64_t> resident{0};  // sessions with a slot on a device
  std::atomic<int64_t> host{0};      // in host memory
  std::atomic<int64_t> host_bytes{0};  // that they take there
  std::atomic<int64_t> disk{0};        // on disk
  std::atomic<uint64_t> spilled{0};    // moves so far, off the devices
  std::atomic<uint64_t> restored{0};   // and back
  std::unique_ptr<SpillDisk> folder;   // nullptr: none
};

}  // namespace lstmd

#endif  // LSTMD_ENGINE_STORE_SPILL_SPACE_H_
