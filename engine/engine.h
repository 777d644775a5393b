// SPDX-License-Identifier: Apache-2.0
//
// Engine: the library's front door. Models, sessions and work; no gRPC. Owns backends, model registry, session store
// and one scheduler per device.
//
// Thread safety: all methods, from any thread. Only LoadModel, UnloadModel, Drain and the calls that say so block;
// everything on the way of a step (FindSession, Submit) only locks briefly and never waits for a device.
#ifndef LSTMD_ENGINE_ENGINE_H_
#define LSTMD_ENGINE_ENGINE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/backend.h"
#include "engine/clock.h"
#include "engine/session_events.h"
#include "engine/snapshot.h"
#include "engine/spec.h"
#include "engine/work.h"

namespace lstmd {

// How much work is taken at once. Each says its default, its cost, and what more or less does.
struct SchedulerOptions {
  // Rows in one device call. More: more throughput under load, longer calls.
  uint32_t max_batch_size = 256;
  // Units (see Row) of one row in one device call; longer work runs in slices of this many. More: less overhead for
  // long sequences, longer waits for steps beside them.
  uint32_t slice_units = 16;
  // What a device call of such slices is to take, as far as it can be foreseen, where steps are about; see ChooseBatch.
  // More: less overhead for sequences, longer waits for steps beside them.
  absl::Duration slice_time = absl::Microseconds(500);
  // Work waiting for one model; above it RESOURCE_EXHAUSTED / QUEUE_FULL. More: bursts are absorbed, latency grows.
  uint32_t max_queued_per_model = 65536;
  // Work waiting in one session; above it RESOURCE_EXHAUSTED / QUEUE_FULL.
  uint32_t max_queued_per_session = 1024;
  // Wait this long for more rows before a device call is made. 0: never wait.
  absl::Duration max_queue_delay = absl::ZeroDuration();
  // While nothing else runs or arrives, a batch that is expected to take no longer than this runs on the thread that
  // brings it, within Submit, on backends that allow it (Backend::any_thread): no hand-over between threads. 0: never.
  // More: lower latency of larger models at low load; that thread does nothing else meanwhile.
  absl::Duration max_inline_time = absl::Microseconds(100);
};

// What the sessions of one owner may take together.
struct OwnerQuota {
  uint64_t max_sessions = UINT64_MAX;
  uint64_t max_state_bytes = UINT64_MAX;
};

struct SessionOptions {
  // Sessions of all models; above it RESOURCE_EXHAUSTED / SESSION_LIMIT. Each costs its state and some 500 bytes.
  uint64_t max_sessions = 1'000'000;
  // Same for each model, all its versions together, and for single models by name instead of that.
  uint64_t max_sessions_per_model = UINT64_MAX;
  std::map<std::string, uint64_t, std::less<>> max_sessions_of_model;
  // At such a bound: refuse (default), or end the session of the same owner that is longest unused, has nothing in
  // flight and is not kept in the store (EVICTED). The latter never refuses while there is one; it costs now and then a
  // look at all sessions, some 100 ns each, for every few thousand that are evicted.
  bool evict_least_recently_used = false;
  // Events that one watch may have waiting before it misses some. More: slower readers see all, some 200 bytes each.
  uint32_t watch_buffer = 4096;
  // Sessions without a step for this long end, unless they say otherwise. Zero: never.
  absl::Duration idle_ttl = absl::Hours(1);
  // Replies kept per session for replay of sequenced steps. More: more steps may be in flight unacknowledged.
  uint32_t replay_ring = 16;
  // How long an ended session's name answers how it ended, and how many such names are kept.
  absl::Duration tombstone_ttl = absl::Minutes(10);
  uint32_t max_tombstones = 100'000;
  // The bounds of an owner, asked for each new session of one; above them RESOURCE_EXHAUSTED / QUOTA. Must not block.
  // Empty: none.
  std::function<OwnerQuota(std::string_view owner)> quota_of;
};

class StateStore;  // engine/store/state_store.h

// What is safe when the server is lost.
struct DurabilityOptions {
  // Of sessions that say nothing of it. Anything but none needs a store.
  Durability durability = Durability::kNone;
  // Periodic sessions: after a crash at most so many of a session's steps are missing in the store. It is saved when
  // half of them are, or after the interval. More: fewer writes, more to be stepped again.
  uint32_t checkpoint_steps = 64;
  absl::Duration checkpoint_interval = absl::Seconds(1);
  // Where clients reach this server: told to those whose session it has taken over. "?": not known.
  std::string owner = "?";
  // A session that another server has taken over is not claimed back for so long, unless that one has given it up:
  // whoever asks for it here meanwhile is told where it is.
  absl::Duration moved_hold = absl::Seconds(5);
};

// Sessions that are not in use may leave their device, for host memory and then for a disk, and come back with their
// next step.
struct SpillOptions {
  // Sessions on devices; above it those that are longest idle leave. 0: no bound, and nothing ever leaves. Less: less
  // memory of devices, more sessions that have to be brought back.
  uint64_t max_resident_sessions = 0;
  // Host memory for their states; above it they go to `folder`, or, where there is none, new sessions are refused with
  // RESOURCE_EXHAUSTED / SPILL_MEMORY. What a session costs besides its state, some 500 bytes, is not in it.
  uint64_t host_bytes = uint64_t{1} << 30;
  // Wiped at the start. Empty: none.
  std::string folder;
};

// Where a session's state is.
enum class Residency : uint8_t { kDevice, kHost, kDisk, kStore };

// What an update of a model's weights does to its sessions; see lstmd.v1.UpdatePolicy.
enum class UpdatePolicy : uint8_t { kPin, kFollow };

struct EngineOptions {
  // Folder NAME/VERSION/…; empty: no repository.
  std::string repository;
  UpdatePolicy update_policy = UpdatePolicy::kPin;
  SchedulerOptions scheduler;
  SessionOptions sessions;
  DurabilityOptions durability;
  SpillOptions spill;
  std::shared_ptr<StateStore> store;  // nullptr: sessions are lost with the server
  // Bytes of memory of this process above which nothing new is taken: models, sessions, and by CheckMemory work. 0: no
  // limit.
  uint64_t memory_limit = 0;
  Clock* clock = Clock::Real();
};

enum class ModelState : uint8_t { kAvailable, kLoading, kReady, kUnloading, kFailed, kRetired };

// See lstmd.v1.Model. Where the state is kAvailable or kFailed, only name, version, state and error are set.
struct ModelInfo {
  std::string name;  // "sunspots"
  int64_t version = 0;
  ModelState state = ModelState::kAvailable;
  std::string error;
  ModelSpec spec;
  std::string device;
  std::string weights_sha256;
  uint64_t parameters = 0;
  uint64_t weight_bytes = 0;
  uint64_t state_bytes_per_session = 0;
  uint64_t sessions = 0;
  absl::Time load_time;
  bool default_version = false;
};

struct StateValues {
  std::vector<float> h;  // [L*D, P or H]
  std::vector<float> c;  // [L*D, H]
};

// See lstmd.v1.Session.
struct SessionInfo {
  std::string model;  // "sunspots"
  std::string id;     // its key: "alice", or with an owner "team-a:alice" (engine/names.h)
  std::string uid;
  int64_t model_version = 0;
  uint64_t epoch = 0;
  uint64_t last_seq = 0;
  uint64_t steps = 0;
  absl::Time create_time;
  absl::Time last_step_time;  // InfinitePast before the first
  absl::Duration idle_ttl;    // zero: never
  absl::Time expire_time = absl::InfiniteFuture();
  std::map<std::string, std::string> labels;
  Durability durability = Durability::kNone;
  uint64_t durable_seq = 0;  // last_seq that is safe in the store
  Residency residency = Residency::kDevice;
  bool pinned = false;
  std::optional<StateValues> state;
};

struct CreateSessionParams {
  std::string model;
  std::string owner;          // see engine/names.h; empty: none
  std::string id;             // bare; empty: the engine makes one
  int64_t model_version = 0;  // 0: the default version
  std::optional<absl::Duration> idle_ttl;
  absl::Time expire_time = absl::InfiniteFuture();
  std::map<std::string, std::string> labels;
  std::optional<Durability> durability;
  bool pinned = false;  // never leaves its device
  std::optional<StateValues> initial_state;
  bool exists_ok = false;
};

// Fields that are set replace the session's.
struct UpdateSessionParams {
  std::optional<absl::Duration> idle_ttl;
  std::optional<absl::Time> expire_time;
  std::optional<std::map<std::string, std::string>> labels;
  std::optional<Durability> durability;
  std::optional<bool> pinned;
  std::optional<StateValues> state;
};

struct ImportSessionParams {
  std::string model;
  std::string owner;  // see engine/names.h; empty: none
  std::string id;     // bare; empty: the engine makes one
  Snapshot snapshot;
  // A living session of this name becomes what the snapshot says, in the next epoch of the two.
  bool replace = false;
  // Where no loaded version has the weights of the snapshot: run on those of the default version, if its shapes fit.
  bool any_weights = false;
  // Those that are set, but `state`, replace the snapshot's.
  UpdateSessionParams settings;
};

struct ForkSessionParams {
  std::string model;
  std::string id;      // with its owner, as in FindSession
  std::string owner;   // of the new one
  std::string new_id;  // empty: the engine makes one
  // Those that are set, but `state`, replace those of the session that is forked.
  UpdateSessionParams settings;
};

struct ListSessionsParams {
  std::string model = "-";  // "-": all
  // Only sessions of this owner; "": of those that have none.
  std::string owner;
  // Only those that have all of these.
  std::map<std::string, std::string> labels;
  int page_size = 0;
  std::string page_token;
};

template <typename T>
struct Page {
  std::vector<T> items;
  std::string next_token;  // empty on the last page
};

struct EngineStats {
  uint64_t sessions = 0;
  uint64_t models = 0;
  uint64_t batches = 0;         // device calls
  uint64_t batched_rows = 0;    // rows in them
  uint64_t inline_batches = 0;  // device calls made within Submit
  uint64_t queued = 0;          // work accepted and not ended
  // The store: groups of writes, sessions saved in them, saves that failed, and those waiting; sessions restored.
  uint64_t checkpoint_groups = 0;
  uint64_t checkpoints = 0;
  uint64_t checkpoint_failures = 0;
  uint64_t checkpoints_waiting = 0;
  absl::Duration checkpoint_lag;  // at most so long has one waited
  absl::Duration checkpoint_time;  // of the last group
  uint64_t sessions_restored = 0;
  // Spilling: where sessions are now, and moves so far, out and back.
  uint64_t sessions_resident = 0;
  uint64_t sessions_on_host = 0;
  uint64_t sessions_on_disk = 0;
  uint64_t spill_host_bytes = 0;
  uint64_t spills = 0;
  uint64_t spill_restores = 0;
};

struct Handover {
  uint64_t saved = 0;
  uint64_t left = 0;   // not saved
  absl::Status error;  // the last one, why
};

struct ModelStats;
struct DeviceStats;

class Engine {
 public:
  // Backends in order of preference: a model goes to the first kind that supports it, and of several devices of that
  // kind to the one with the least weights on it. REQUIRES: at least one; device() differs.
  static absl::StatusOr<std::unique_ptr<Engine>> Create(EngineOptions options,
                                                        std::vector<std::unique_ptr<Backend>> backends);
  // Ends all work in flight with UNAVAILABLE / DRAINING and waits for the device.
  virtual ~Engine() = default;

  // --- Models. Errors as in lstmd.v1.ModelService. ---
  // version 0: highest in the repository. device "": the first backend that supports the spec. Blocks while it loads.
  virtual absl::StatusOr<ModelInfo> LoadModel(std::string_view name, int64_t version, std::string_view device) = 0;
  // Loads the highest version of every name in the repository; a name that fails is reported in ListModels and does not
  // stop the others. Returns how many are ready. Blocks.
  virtual absl::StatusOr<int> LoadRepository() = 0;
  // A model that is in no repository: tests, importers.
  virtual absl::StatusOr<ModelInfo> AddModel(std::string_view name, int64_t version, const ModelSpec& spec,
                                             const Weights& weights, std::string_view device = "") = 0;
  // Puts a version of the repository (0: the highest) in the place of the default version that is loaded. kPin:
  // sessions stay where they are, new ones go to the new version, and the old one is unloaded after its last session.
  // kFollow: the next step of every session runs on the new weights; FAILED_PRECONDITION / SPEC_MISMATCH when the specs
  // differ. Blocks while it loads, and until no work runs on the weights that are replaced.
  virtual absl::StatusOr<ModelInfo> UpdateModel(std::string_view name, int64_t version,
                                                std::optional<UpdatePolicy> policy) = 0;
  // Same with weights that are in no repository.
  virtual absl::StatusOr<ModelInfo> UpdateModel(std::string_view name, int64_t version, const ModelSpec& spec,
                                                const Weights& weights, std::optional<UpdatePolicy> policy) = 0;
  virtual absl::Status UnloadModel(std::string_view name, int64_t version, bool force) = 0;
  virtual absl::StatusOr<ModelInfo> GetModel(std::string_view name, int64_t version) const = 0;
  virtual absl::StatusOr<Page<ModelInfo>> ListModels(int page_size, std::string_view page_token) const = 0;
  // For the way of a request: the loaded model, pinned as long as the pointer lives. version 0: the default (highest
  // ready). NOT_FOUND / MODEL_NOT_FOUND, UNAVAILABLE / MODEL_LOADING.
  virtual absl::StatusOr<std::shared_ptr<Model>> FindModel(std::string_view name, int64_t version) const = 0;

  // --- Sessions. Errors as in lstmd.v1.SessionService. `id` is a session's key: with its owner, if it has one. ---
  virtual absl::StatusOr<SessionInfo> CreateSession(const CreateSessionParams& params) = 0;
  // include_state reads h and c between two steps; blocks for at most the device call in flight.
  virtual absl::StatusOr<SessionInfo> GetSession(std::string_view model, std::string_view id, bool include_state) = 0;
  // With labels a page may be short, or empty, and not be the last: a call looks at a bounded number of sessions.
  virtual absl::StatusOr<Page<SessionInfo>> ListSessions(const ListSessionsParams& params) const = 0;
  virtual absl::StatusOr<SessionInfo> UpdateSession(std::string_view model, std::string_view id,
                                                    const UpdateSessionParams& params) = 0;
  // Work accepted before is answered first; blocks for it.
  virtual absl::Status DeleteSession(std::string_view model, std::string_view id) = 0;
  virtual absl::StatusOr<SessionInfo> ResetSession(std::string_view model, std::string_view id,
                                                   const std::optional<StateValues>& initial_state) = 0;
  // The session as it is between two steps; blocks for at most the device call in flight.
  virtual absl::StatusOr<Snapshot> ExportSession(std::string_view model, std::string_view id) = 0;
  // A session that goes on where the snapshot was taken, replies for replay included. Errors besides those of
  // CreateSession: FAILED_PRECONDITION / WEIGHTS_MISMATCH, INVALID_ARGUMENT / SNAPSHOT_FORMAT where it does not fit.
  virtual absl::StatusOr<SessionInfo> ImportSession(const ImportSessionParams& params) = 0;
  // A new session with a copy of the state as it is between two steps, made on the device; step numbers go on from
  // there, in epoch 1. Errors as of CreateSession. Blocks for the steps accepted before.
  virtual absl::StatusOr<SessionInfo> ForkSession(const ForkSessionParams& params) = 0;
  // For the way of a request: the living session, pinned against memory reuse (not against deletion) as long as the
  // pointer lives. create_if_missing: with the default version's initial state.
  virtual absl::StatusOr<std::shared_ptr<Session>> FindSession(std::string_view model, std::string_view id,
                                                               bool create_if_missing) = 0;
  virtual bool has_store() const = 0;
  // FindSession never blocks. Where this says true it creates nothing, and what it does not find may be in the store:
  // RestoreSession, which blocks, is the one to ask.
  virtual bool may_block() const = 0;
  // The living session, or the stored one, claimed and brought here in its next epoch, or, with create_if_missing, a
  // new one. Errors besides those of FindSession: UNAVAILABLE / STORE_UNAVAILABLE, UNAVAILABLE / SESSION_MOVED or
  // ABORTED / SESSION_FENCED for one that was taken over a moment ago, DATA_LOSS / SNAPSHOT_CHECKSUM,
  // FAILED_PRECONDITION / WEIGHTS_MISMATCH, RESOURCE_EXHAUSTED as CreateSession.
  virtual absl::StatusOr<std::shared_ptr<Session>> RestoreSession(std::string_view model, std::string_view id,
                                                                  bool create_if_missing) = 0;
  // Saves it now. FAILED_PRECONDITION / NO_STORE. Blocks.
  virtual absl::StatusOr<SessionInfo> CheckpointSession(std::string_view model, std::string_view id) = 0;
  // Refuses new sessions from now on, saves every session after the work accepted before, and gives it up: what comes
  // for it later is refused with UNAVAILABLE / DRAINING, and whoever shares the store may claim it. Without a store:
  // nothing. Blocks, at most until `deadline`.
  virtual Handover HandOver(absl::Time deadline) = 0;
  virtual SessionInfo Describe(const Session& session) const = 0;
  // To watch what happens to them.
  virtual SessionEvents& session_events() = 0;
  // Ends sessions past idle_ttl or expire_time, and unloads versions that an update has left without sessions. Called
  // by the engine's own housekeeping every second; tests call it.
  virtual void ExpireSessions() = 0;

  // --- Work. ---
  // Takes `work`; its sink hears of the end exactly once, possibly before Submit returns (rejections, replays).
  // REQUIRES: sizes of the buffers fit the model (the server checks them against `spec()`).
  virtual void Submit(Work* work) = 0;
  // Same, for work that arrived together: one lock, and the best chance of one batch.
  virtual void SubmitAll(absl::Span<Work* const> work) = 0;

  // Refuses new work and sessions with UNAVAILABLE / DRAINING and waits for what is in flight, at most until
  // `deadline`. Returns whether all was finished.
  virtual bool Drain(absl::Time deadline) = 0;

  // RESOURCE_EXHAUSTED / MEMORY_LIMIT while the process is above its limit. For whoever takes work in; cheap.
  virtual absl::Status CheckMemory() const = 0;

  virtual EngineStats Stats() const = 0;
  // Of every model that is loaded, being loaded or failed, by name, then version; of every device, in order of
  // preference (engine/model_counters.h). Cheap enough for once a second.
  virtual std::vector<ModelStats> StatsByModel() const = 0;
  virtual std::vector<DeviceStats> StatsByDevice() const = 0;
  virtual std::vector<const Backend*> Backends() const = 0;
};

// A loaded model as requests see it; immutable.
const ModelSpec& SpecOf(const Model& model);
int64_t VersionOf(const Model& model);
const std::string& NameOf(const Model& model);
// The model of a session.
const Model& ModelOf(const Session& session);
const std::string& IdOf(const Session& session);
// OK, or SESSION_NOT_FOUND with how it ended, of a session that was found before.
absl::Status LivingOr(const Session& session);

// 1 to 63 of A-Z a-z 0-9 . _ -, first a letter or digit. Such a name never leaves its folder.
bool IsValidModelName(std::string_view name);
// 1 to 128 of A-Z a-z 0-9 . _ ~ -, first a letter or digit.
bool IsValidSessionId(std::string_view id);

}  // namespace lstmd

#endif  // LSTMD_ENGINE_ENGINE_H_
