// SPDX-License-Identifier: Apache-2.0
//
// StateStore: where sessions are safe when their server is lost. Implementations: rocks_store.h (embedded, of one
// server), redis_store.h (shared by replicas), tests/support/fake_store.h.
//
// A stored session belongs to whoever claimed it last. A claim is a number that nobody else has; every write brings
// the writer's and is refused in the store itself where another one stands, so that an owner that has been replaced,
// and does not know it, can never overwrite. The epoch rises with each claim, for clients to see.
#ifndef LSTMD_ENGINE_STORE_STATE_STORE_H_
#define LSTMD_ENGINE_STORE_STATE_STORE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "engine/snapshot.h"

namespace lstmd {

// The owner that a server has which does not know its own address: it is somebody's.
inline constexpr char kUnknownOwner[] = "?";

struct StoreKey {
  std::string model;  // "sunspots"
  std::string id;     // "alice"
};

// A reply for replay at its place of the ring: a new one takes the place of the oldest.
struct StoredReply {
  uint32_t place = 0;
  std::string bytes;  // EncodeReply
};

// One change of one session.
struct StoreWrite {
  enum class Kind : uint8_t {
    kCreate,  // there is none of this name, or it is of this claim already (a repeat whose answer was lost)
    kUpdate,  // there is one of this claim
    kErase,   // there is one of this claim, or none
  };
  Kind kind = Kind::kUpdate;
  StoreKey key;
  uint64_t claim = 0;
  uint64_t epoch = 0;
  std::string owner;  // address of the server that has it, "" for none: whoever comes may claim it
  absl::Time due = absl::InfiniteFuture();  // the store may forget it some time after this
  std::string head;                         // EncodeSnapshot, without replies
  bool all_replies = false;                 // `replies` are all there are; else they are added to those before
  std::vector<StoredReply> replies;
};

struct StoredSession {
  uint64_t epoch = 0;
  uint64_t claim = 0;
  std::string owner;      // whose it is, of Claim too
  bool released = false;  // it was nobody's; of Claim: before
  std::string head;
  std::vector<StoredReply> replies;  // in any order
};

// Thread-safe. All calls block. Errors of each besides its own: UNAVAILABLE / STORE_UNAVAILABLE when the store cannot
// be reached or does not answer, RESOURCE_EXHAUSTED / STORE_FULL when it has no room, both with RetryInfo; whether the
// change was made is then unknown, and making it again is safe. A store mends itself: later calls try anew.
class StateStore {
 public:
  virtual ~StateStore() = default;

  // Makes the changes, in order; each one whole or not at all. On return those that are OK are as safe as the store can
  // make them. One status each. ALREADY_EXISTS / SESSION_EXISTS for kCreate; ABORTED / SESSION_FENCED (metadata
  // owner_address, if one is known) for the others where the session is another's or gone.
  virtual std::vector<absl::Status> Write(absl::Span<const StoreWrite> writes) = 0;

  // The session, which from now on is of `claim` and `owner`, in the next epoch, and not due until the next write says
  // when: where it is now it may be idle for as long again. NOT_FOUND / SESSION_NOT_FOUND.
  virtual absl::StatusOr<StoredSession> Claim(const StoreKey& key, uint64_t claim, std::string_view owner) = 0;

  // The session as it is. NOT_FOUND / SESSION_NOT_FOUND.
  virtual absl::StatusOr<StoredSession> Read(const StoreKey& key) = 0;

  // Forgets sessions that were due before `time`; returns how many. A store that does so by itself has nothing to do.
  virtual absl::StatusOr<uint64_t> Sweep(absl::Time time) = 0;

  // Whether it answers now.
  virtual absl::Status Check() = 0;

  // For people: "rocksdb at DIR", "redis 7.0 at HOST:PORT, appendonly yes".
  virtual std::string description() const = 0;
  // What an operator should know about how safe it is; "" if nothing.
  virtual std::string warning() const { return ""; }
};

// Opens the store that a flag names: "rocksdb:DIR", "redis:HOST:PORT" or "redis:unix:PATH". INVALID_ARGUMENT / STORE
// for another form; errors of OpenRocksStore. `password`: Redis's, if it wants one.
absl::StatusOr<std::unique_ptr<StateStore>> OpenStore(std::string_view flag, const std::string& password = "");

// `snapshot` as a write: its head, and its replies at their places in a ring of `ring`.
StoreWrite MakeWrite(StoreWrite::Kind kind, const Snapshot& snapshot, uint64_t claim, std::string_view owner,
                     uint32_t ring);
// The other way, in the epoch of the store. DATA_LOSS / SNAPSHOT_CHECKSUM, INVALID_ARGUMENT / SNAPSHOT_FORMAT.
absl::StatusOr<Snapshot> ToSnapshot(const StoredSession& stored);

// Errors that all stores share.
absl::Status StoreUnavailable(std::string_view message, absl::Duration retry_after);
absl::Status StoreFull(std::string_view message, absl::Duration retry_after);
absl::Status StoreFenced(const StoreKey& key, std::string_view owner);
absl::Status StoreExists(const StoreKey& key);
absl::Status StoreNotFound(const StoreKey& key);

}  // namespace lstmd

#endif  // LSTMD_ENGINE_STORE_STATE_STORE_H_
