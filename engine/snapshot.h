// SPDX-License-Identifier: Apache-2.0
//
// A session between two steps as plain data, and its bytes: what Export answers, stores keep and spilling writes.
//
// Bytes, all numbers little-endian: "LSTS", format u32, CRC-32C u32 of all that follows, then the fields in the order
// of the struct. string: u32 size, bytes. floats: u32 count, f32 each. Time and duration: i64 seconds, u32 nanoseconds,
// UINT32_MAX of them with the smallest or largest number of seconds for the infinite ones. Labels and replies: u32
// count, each. A reply: seq u64, number of outputs and of values of h u32 each, floats of output, h and c.
#ifndef LSTMD_ENGINE_SNAPSHOT_H_
#define LSTMD_ENGINE_SNAPSHOT_H_

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "engine/replay_ring.h"

namespace lstmd {

// What a session may lose when its server is lost; see lstmd.v1.Session.Durability.
enum class Durability : uint8_t { kNone, kPeriodic, kEveryStep };
// "none", "periodic", "every_step".
std::string_view Name(Durability durability);

struct Snapshot {
  std::string model;           // "sunspots"
  int64_t model_version = 0;   // that it ran on
  std::string weights_sha256;  // of that version; a state means nothing under other weights
  std::string id;              // "alice"
  std::array<uint64_t, 2> uid = {};
  uint64_t epoch = 0;
  uint64_t last_seq = 0;
  uint64_t steps = 0;
  absl::Time create_time;
  absl::Time last_step_time = absl::InfinitePast();
  absl::Duration idle_ttl;  // zero: never
  absl::Time expire_time = absl::InfiniteFuture();
  std::map<std::string, std::string> labels;
  Durability durability = Durability::kNone;
  bool pinned = false;
  std::vector<float> h;        // [L*D, P or H]
  std::vector<float> c;        // [L*D, H]
  std::vector<Reply> replies;  // kept for replay; of last_seq or before, ascending
};

// When a session of these numbers ends if nothing happens; InfiniteFuture: never.
absl::Time DueTime(const Snapshot& snapshot);

std::string EncodeSnapshot(const Snapshot& snapshot);
// Errors: INVALID_ARGUMENT / SNAPSHOT_FORMAT for bytes that are none or of another format, DATA_LOSS /
// SNAPSHOT_CHECKSUM for damaged ones. Allocates no more than the bytes can hold. Whether sizes fit a model is not
// its matter.
absl::StatusOr<Snapshot> DecodeSnapshot(std::string_view bytes);

// One reply alone, in the same manner ("LSTR").
std::string EncodeReply(const Reply& reply);
absl::StatusOr<Reply> DecodeReply(std::string_view bytes);

// CRC-32C (Castagnoli), as iSCSI and the file formats of databases use it.
uint32_t Crc32c(std::string_view bytes);

}  // namespace lstmd

#endif  // LSTMD_ENGINE_SNAPSHOT_H_
