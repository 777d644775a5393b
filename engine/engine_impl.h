// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_ENGINE_IMPL_H_
#define LSTMD_ENGINE_ENGINE_IMPL_H_

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "engine/arrivals.h"
#include "engine/checkpointer.h"
#include "engine/engine.h"
#include "engine/eviction_queue.h"
#include "engine/interval_thread.h"
#include "engine/memory_budget.h"
#include "engine/model_registry.h"
#include "engine/mutex.h"
#include "engine/scheduler.h"
#include "engine/session_store.h"
#include "engine/store/state_store.h"

namespace lstmd {

// Puts registry, session store and schedulers together: engine.cc, engine_models.cc, engine_sessions.cc.
class EngineImpl final : public Engine {
 public:
  // `spill_disk`: nullptr for none.
  EngineImpl(EngineOptions options, std::vector<std::unique_ptr<Backend>> backends,
             std::unique_ptr<SpillDisk> spill_disk);
  ~EngineImpl() override;

  absl::StatusOr<ModelInfo> LoadModel(std::string_view name, int64_t version, std::string_view device) override;
  absl::StatusOr<int> LoadRepository() override;
  absl::StatusOr<ModelInfo> AddModel(std::string_view name, int64_t version, const ModelSpec& spec,
                                     const Weights& weights, std::string_view device) override;
  absl::StatusOr<ModelInfo> UpdateModel(std::string_view name, int64_t version,
                                        std::optional<UpdatePolicy> policy) override;
  absl::StatusOr<ModelInfo> UpdateModel(std::string_view name, int64_t version, const ModelSpec& spec,
                                        const Weights& weights, std::optional<UpdatePolicy> policy) override;
  absl::Status UnloadModel(std::string_view name, int64_t version, bool force) override;
  absl::StatusOr<ModelInfo> GetModel(std::string_view name, int64_t version) const override;
  absl::StatusOr<Page<ModelInfo>> ListModels(int page_size, std::string_view page_token) const override;
  absl::StatusOr<std::shared_ptr<Model>> FindModel(std::string_view name, int64_t version) const override;

  absl::StatusOr<SessionInfo> CreateSession(const CreateSessionParams& params) override;
  absl::StatusOr<SessionInfo> GetSession(std::string_view model, std::string_view id, bool include_state) override;
  absl::StatusOr<Page<SessionInfo>> ListSessions(const ListSessionsParams& params) const override;
  absl::StatusOr<SessionInfo> UpdateSession(std::string_view model, std::string_view id,
                                            const UpdateSessionParams& params) override;
  absl::Status DeleteSession(std::string_view model, std::string_view id) override;
  absl::StatusOr<SessionInfo> ResetSession(std::string_view model, std::string_view id,
                                           const std::optional<StateValues>& initial_state) override;
  absl::StatusOr<Snapshot> ExportSession(std::string_view model, std::string_view id) override;
  absl::StatusOr<SessionInfo> ImportSession(const ImportSessionParams& params) override;
  absl::StatusOr<SessionInfo> ForkSession(const ForkSessionParams& params) override;
  absl::StatusOr<std::shared_ptr<Session>> FindSession(std::string_view model, std::string_view id,
                                                       bool create_if_missing) override;
  bool has_store() const override { return options_.store != nullptr; }
  bool may_block() const override { return has_store() || options_.spill.max_resident_sessions != 0; }
  absl::StatusOr<std::shared_ptr<Session>> RestoreSession(std::string_view model, std::string_view id,
                                                          bool create_if_missing) override;
  absl::StatusOr<SessionInfo> CheckpointSession(std::string_view model, std::string_view id) override;
  Handover HandOver(absl::Time deadline) override;
  SessionInfo Describe(const Session& session) const override;
  SessionEvents& session_events() override { return events_; }
  void ExpireSessions() override;

  void Submit(Work* work) override;
  void SubmitAll(absl::Span<Work* const> work) override;

  bool Drain(absl::Time deadline) override;
  absl::Status CheckMemory() const override { return memory_.Admit(0, "more work"); }
  EngineStats Stats() const override;
  std::vector<ModelStats> StatsByModel() const override;
  std::vector<DeviceStats> StatsByDevice() const override;
  std::vector<const Backend*> Backends() const override;

 private:
  // The device for a model. INVALID_ARGUMENT / DEVICE, UNIMPLEMENTED / UNSUPPORTED_BY_DEVICE.
  absl::StatusOr<Scheduler*> ChooseDevice(const ModelSpec& spec, std::string_view device) const;
  // INVALID_ARGUMENT / MODEL_NAME or MODEL_VERSION.
  static absl::Status CheckModelName(std::string_view name, int64_t version);
  static absl::Status NotInRepository(std::string_view name);
  absl::StatusOr<int64_t> HighestVersion(std::string_view name) const;
  // INVALID_ARGUMENT / DEVICE when `device` is neither empty nor one of ours.
  absl::Status CheckDevice(std::string_view device) const;
  absl::StatusOr<std::shared_ptr<Model>> MakeModel(std::string_view name, int64_t version, const ModelSpec& spec,
                                                   const Weights& weights, std::string_view device) const;
  absl::StatusOr<std::shared_ptr<ModelVersion>> MakeVersion(const std::shared_ptr<Backend>& backend, int64_t version,
                                                            const ModelSpec& spec, const Weights& weights) const;
  // What remains of an update when the place of the new version is held. engine_updates.cc
  // `loaded`: the default version when the update began.
  absl::StatusOr<ModelInfo> FinishUpdate(const std::shared_ptr<Model>& loaded, int64_t version, const ModelSpec& spec,
                                         const Weights& weights, UpdatePolicy policy);
  absl::Status Pin(const Model& loaded, int64_t version, const ModelSpec& spec, const Weights& weights);
  absl::Status Follow(const std::shared_ptr<Model>& loaded, int64_t version, const ModelSpec& spec,
                      const Weights& weights);
  // Where an update had retired the version: it is the default one again. False: it is not so.
  bool Reinstate(std::string_view name, int64_t version);
  // Makes `model` the default version of its name: those above it are retired.
  void RetireAbove(const Model& model) ABSL_EXCLUSIVE_LOCKS_REQUIRED(update_mutex_);
  void RetireModel(Model& model) ABSL_EXCLUSIVE_LOCKS_REQUIRED(update_mutex_);
  void UnloadRetired();
  // The end of a load that holds its place.
  absl::StatusOr<ModelInfo> FinishLoad(std::string_view name, int64_t version,
                                       absl::StatusOr<std::shared_ptr<Model>> model);

  // Reserves a place for a session, where the options say so that of another.
  absl::Status ReserveSession(const SessionShare& share);
  // A new session, or with `exists_ok` the living one of its name.
  absl::StatusOr<std::shared_ptr<Session>> MakeSession(const CreateSessionParams& params);
  // The way of every new session into the store: counts it, has it made under the key of `owner` and `id` (or an id of
  // the engine's own), and inserts it; where one of that key lives, what `living` makes of it.
  absl::StatusOr<std::shared_ptr<Session>> AddSession(
      const std::shared_ptr<Model>& model, const std::string& owner, const std::string& id,
      absl::FunctionRef<absl::StatusOr<std::shared_ptr<Session>>(const std::string& key)> make,
      absl::FunctionRef<absl::StatusOr<std::shared_ptr<Session>>(std::shared_ptr<Session>)> living,
      SessionOrigin origin = SessionOrigin::kNew);
  static absl::Status CheckSessionId(const std::string& id);
  // INVALID_ARGUMENT / LABELS, IDLE_TTL or EXPIRE_TIME.
  absl::Status CheckSettings(const UpdateSessionParams& settings) const;
  static absl::Status SessionExists(std::string_view model, std::string_view id);
  // The loaded version that has the weights of `snapshot`, else with `any_weights` the default one; it fits the
  // snapshot. FAILED_PRECONDITION / WEIGHTS_MISMATCH, INVALID_ARGUMENT / SNAPSHOT_FORMAT.
  absl::StatusOr<std::shared_ptr<Model>> ModelFor(std::string_view name, const Snapshot& snapshot,
                                                  bool any_weights = false) const;
  // A session that is in no store yet. REQUIRES: the snapshot fits `model`.
  absl::StatusOr<std::shared_ptr<Session>> SessionFrom(const Snapshot& snapshot, std::shared_ptr<Model> model,
                                                       std::string id, uint64_t epoch) const;
  absl::StatusOr<std::shared_ptr<Session>> NewSession(const CreateSessionParams& params, std::shared_ptr<Model> model,
                                                      std::string id) const;
  // The living session, brought here from the store if it is there, or SESSION_NOT_FOUND. May block.
  absl::StatusOr<std::shared_ptr<Session>> Living(std::string_view model, std::string_view id);
  // From memory.
  absl::StatusOr<std::shared_ptr<Session>> FindOrMake(std::string_view model, std::string_view id,
                                                      bool create_if_missing);

  // --- Store (engine_store.cc). ---
  // While it lives no other thread restores, creates or deletes a session of this name.
  class NameLock {
   public:
    NameLock(EngineImpl* engine, std::string_view model, std::string_view id);
    ~NameLock();
    NameLock(const NameLock&) = delete;
    NameLock& operator=(const NameLock&) = delete;

   private:
    EngineImpl& engine_;
    const std::string name_;
  };
  // FAILED_PRECONDITION / NO_STORE.
  absl::Status CheckDurability(Durability durability) const;
  // As it is in the store. SESSION_NOT_FOUND also for one that is past its time; SESSION_MOVED. Peek: with how it
  // ended, if that is known.
  absl::StatusOr<Snapshot> ReadStored(std::string_view model, std::string_view id) const;
  absl::StatusOr<Snapshot> Peek(std::string_view model, std::string_view id) const;
  absl::StatusOr<SessionInfo> GetStored(std::string_view model, std::string_view id, bool include_state) const;
  // The living session, or the stored one. The caller has its name.
  absl::StatusOr<std::shared_ptr<Session>> Restore(std::string_view model, std::string_view id);
  absl::StatusOr<std::shared_ptr<Session>> CreateWithStore(const CreateSessionParams& params);
  // Makes one that was seen in the store this server's.
  absl::StatusOr<std::shared_ptr<Session>> ClaimSession(const Snapshot& seen, std::string id,
                                                        const std::shared_ptr<Model>& model);
  // Puts one that nobody else has yet there.
  absl::Status CreateInStore(Session& session, Durability durability);
  void EndSessionsOf(const Model& model);
  void KeepHouse();
  void SweepStore();

  const EngineOptions options_;
  MemoryBudget memory_;
  SessionEvents events_;
  // Which version is the default one changes under it; taken before all others, never across a load or a wait.
  Mutex update_mutex_;
  ModelRegistry registry_;
  SessionStore store_;
  std::shared_ptr<SpillSpace> spill_space_ = std::make_shared<SpillSpace>();
  EvictionQueue evictions_;
  Arrivals arrivals_;  // closed: it is draining
  // One per device, in order of preference. They stop first: what they end refers to the rest.
  std::vector<std::unique_ptr<Scheduler>> schedulers_;
  std::unique_ptr<Checkpointer> checkpointer_;  // nullptr: no store
  std::atomic<uint64_t> restored_{0};
  absl::Time swept_ = absl::InfinitePast();  // the housekeeper's

  Mutex names_mutex_;
  CondVar names_changed_;
  absl::flat_hash_set<std::string> names_ ABSL_GUARDED_BY(names_mutex_);

  std::optional<IntervalThread> housekeeper_;  // from the end of the start on
};

}  // namespace lstmd

#endif  // LSTMD_ENGINE_ENGINE_IMPL_H_
