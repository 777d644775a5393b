// SPDX-License-Identifier: Apache-2.0
//
// Scheduler: takes work for the models of one device, orders it, runs it batch by batch, and tells the sinks how it
// ended. One thread at a time runs the device, and says so in running_: the worker, or, where the engine is idle and
// the batch short, the thread that brings it (MayRunHere). It keeps the device until its sinks have heard, so that the
// replies of a session stay in order.
//
// A piece of work goes: Submit -> its session's Lane (FIFO) -> head of it: Resolve (epoch, sequence number) -> ready in
// its ModelQueue -> ChooseBatch -> Prepare (slot) -> Backend::Run -> Settle (final state, replay ring, slot) -> Commit
// (session's numbers, next of the lane) -> Report (sinks). Sequence numbers are judged at the head of the lane, when
// all work before has ended: so steps may be in flight behind each other, a repeat of one in flight is answered when
// that one is done, and what follows a failed step is a gap.
//
// LOCK ORDER of the engine. Locks are held briefly and never across a device call or a sink. Allowed nesting, outer
// first; all other locks are leaves and held alone:
//   EvictionQueue -> SessionStore shard -> SessionStore tombstones or SessionEvents
//   EvictionQueue -> Scheduler::mutex_ -> Checkpointer, Model::mutex_
// ModelRegistry::mutex_ and a StatePool's own lock are leaves.
#ifndef LSTMD_ENGINE_SCHEDULER_H_
#define LSTMD_ENGINE_SCHEDULER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "engine/backend.h"
#include "engine/batcher.h"
#include "engine/checkpointer.h"
#include "engine/clock.h"
#include "engine/counters.h"
#include "engine/engine.h"
#include "engine/mutex.h"
#include "engine/session.h"
#include "engine/snapshot.h"
#include "engine/work.h"

namespace lstmd {

// A caller's place in a session's lane: when it is granted, nothing of the session runs until it is given back. Guarded
// by the scheduler's lock.
struct Turn {
  Work place;  // stands in the lane
  CondVar ready;
  bool granted = false;
  bool stopped = false;
  // Set: nobody waits, the checkpointer gets it when it is granted. Such a turn is its own owner.
  std::unique_ptr<Save> save;
};

// `status` of a store as the end of a step.
absl::Status NotSafe(const absl::Status& status, const Session& session, bool applied);

// Thread-safe. Sessions and models given to it must be of its device.
class Scheduler {
 public:
  // `session_ended`: called without locks when a step with end_session has ended its session, before the sink hears.
  Scheduler(std::shared_ptr<Backend> backend, const SchedulerOptions& options, uint32_t replay_ring, Clock* clock,
            std::function<void(const Session&)> session_ended);
  ~Scheduler();
  // Once, before any work. `session_moved`: called without locks when a session was given up here, or found to be
  // another's (`owner`, "" if not known), before anybody hears.
  using SessionMovedCall = std::function<void(const Session& session, std::string_view owner)>;
  void UseStore(Checkpointer* checkpointer, const DurabilityOptions& options, SessionMovedCall session_moved);
  // Same. `call`: without locks, when a session has left its device (kHost) or is back (kDevice).
  using SessionSpillCall = std::function<void(const Session& session, Residency residency)>;
  void UseSpill(std::shared_ptr<SpillSpace> space, const SpillOptions& options, SessionSpillCall call = nullptr);
  // Ends all work with UNAVAILABLE / DRAINING, but for what is with the checkpointer, which ends it. Again: nothing.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

  const std::shared_ptr<Backend>& backend() const { return backend_; }

  // See Engine::SubmitAll.
  void Submit(absl::Span<Work* const> work) ABSL_LOCKS_EXCLUDED(mutex_);
  // New work is refused with UNAVAILABLE / DRAINING from now on.
  void Drain() ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits until all work has ended and its sinks have heard. False: `deadline` came first.
  bool WaitIdle(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);
  // Same, for the work that runs on one version; that waiting in its sessions included. No deadline.
  void WaitIdle(ModelVersion& version) ABSL_LOCKS_EXCLUDED(mutex_);
  bool IsIdle(ModelVersion& version) const ABSL_LOCKS_EXCLUDED(mutex_);
  // Adds batches, batched_rows and queued.
  void AddStats(EngineStats* stats) const ABSL_LOCKS_EXCLUDED(mutex_);
  // Work of the model that was accepted and has not ended.
  uint32_t Queued(Model& model) const ABSL_LOCKS_EXCLUDED(mutex_);
  // Time in device calls so far.
  absl::Duration busy() const { return absl::Nanoseconds(static_cast<int64_t>(busy_ns_.value())); }

  // From now on `next` runs the steps of the model's sessions and its stateless work. What is on the device or ready
  // for it ends on the weights that it began with, in no device call with the other. Returns the version before, to be
  // kept until IsIdle.
  std::shared_ptr<ModelVersion> Swap(Model& model, std::shared_ptr<ModelVersion> next) ABSL_LOCKS_EXCLUDED(mutex_);

  // --- Sessions. Those marked "in turn" wait until the work accepted before has ended; once the session has ended they
  // return SESSION_NOT_FOUND. ---
  SessionInfo Describe(const Session& session) const ABSL_LOCKS_EXCLUDED(mutex_);
  // In turn. `*info` is as of the state.
  absl::Status Read(Session& session, StateValues* state, SessionInfo* info);
  // In turn: everything of the session.
  absl::Status TakeSnapshot(Session& session, Snapshot* snapshot);
  // State, numbers, settings and replies become the snapshot's, in `epoch`. For a session that nobody else has yet.
  // REQUIRES: it fits the model (CheckFits).
  absl::Status Adopt(Session& session, const Snapshot& snapshot, uint64_t epoch);
  // Same for one that lives, in turn; the next epoch of the two.
  absl::Status Replace(Session& session, const Snapshot& snapshot);
  // In turn of `session`: its state, numbers and settings to `fork`, a session that nobody else has yet, without
  // replies.
  absl::Status Fork(Session& session, Session& fork);
  // In turn: to `state`, or to the initial state; sequence number 0, next epoch.
  absl::Status Reset(Session& session, const StateValues* state);
  // In turn: next epoch; numbers and replies stay. REQUIRES: sizes are right.
  absl::Status Write(Session& session, const StateValues& state);
  // Those that are set but `state`; at once.
  void Configure(Session& session, const UpdateSessionParams& params) ABSL_LOCKS_EXCLUDED(mutex_);
  // No new work from now on; what was accepted is answered. SESSION_NOT_FOUND when it has ended before.
  absl::Status Close(Session& session, SessionEnd end) ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits for the work accepted before.
  void WaitForTurn(Session& session);
  // Closes it as expired if it is past its expire_time, or idle past its idle_ttl with no work in flight.
  bool CloseIfDue(Session& session) ABSL_LOCKS_EXCLUDED(mutex_);
  // Closes it as evicted if it has no work in flight, was used last at `last_used`, and is lost with the server anyway.
  bool Evict(Session& session, absl::Time last_used) ABSL_LOCKS_EXCLUDED(mutex_);

  // --- Spilling (scheduler_spill.cc). ---
  // Before a slot is taken for a session: others leave until there is room for one more. RESOURCE_EXHAUSTED /
  // SPILL_MEMORY or STORE_FULL when there is nowhere to go. Blocks.
  absl::Status MakeRoom() ABSL_LOCKS_EXCLUDED(mutex_);
  // From now on the session may leave when it is idle.
  void Track(const std::shared_ptr<Session>& session) ABSL_LOCKS_EXCLUDED(mutex_);

  // --- The store (scheduler_durable.cc). Errors of the store as they are. ---
  // What the store knows of a session that nobody else has yet. `stored`: it is there, as it is here.
  void SetStored(Session& session, Durability durability, uint64_t claim, bool stored) ABSL_LOCKS_EXCLUDED(mutex_);
  bool IsDurable(const Session& session) const ABSL_LOCKS_EXCLUDED(mutex_);
  // In turn: saves it now, whatever its durability.
  absl::Status Checkpoint(Session& session) ABSL_LOCKS_EXCLUDED(mutex_);
  // In turn: saves it from now on, or forgets it in the store.
  absl::Status SetDurability(Session& session, Durability durability) ABSL_LOCKS_EXCLUDED(mutex_);
  // In turn: out of the store, and ended as deleted.
  absl::Status EraseInStore(Session& session) ABSL_LOCKS_EXCLUDED(mutex_);
  // Has a session that has ended forgotten by the store, sometime.
  void Forget(const std::shared_ptr<Session>& session) ABSL_LOCKS_EXCLUDED(mutex_);
  // Has it saved and given up for whoever claims it, after the work accepted before; `call` hears. False: it has ended.
  bool Leave(const std::shared_ptr<Session>& session, const std::shared_ptr<SaveCall>& call)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // The checkpointer's: asks for the periodic saves that are due, returns when the next one is; fills in what is to be
  // written; takes the results.
  absl::Time AskDueSaves(absl::Time now) ABSL_LOCKS_EXCLUDED(mutex_);
  void BeginSave(Save* save) ABSL_LOCKS_EXCLUDED(mutex_);
  void EndSaves(absl::Span<Save* const> saves) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Ending {
    Work* work;
    absl::Status status;
  };
  using Endings = std::vector<Ending>;

  // Waits that a Clock governs look at it at least this often, so that a test may turn its hands.
  static constexpr absl::Duration kClockPoll = absl::Milliseconds(5);
  // Submissions with pauses of this length between them, so many in a row, say that there is next to no load. A pause
  // is about what it takes to wake a thread.
  static constexpr absl::Duration kPause = absl::Microseconds(20);
  static constexpr uint32_t kLoneSubmits = 2;
  // What it costs to hand work to another thread, about: work that takes no longer is better done than handed on.
  static constexpr absl::Duration kHandOver = absl::Microseconds(10);
  // A thread that runs a batch in Submit goes on with what came meanwhile, up to so many batches; then the worker does.
  static constexpr int kInlineBatches = 6;
  static absl::Status Draining();
  static const std::shared_ptr<Model>& ModelOf(const Work& work);

  SessionState& StateOf(Session& session) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return session.state_; }
  const SessionState& StateOf(const Session& session) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return session.state_;
  }
  static ModelQueue& QueueOf(ModelVersion& version) { return version.queue_; }
  ModelVersion& ServingOf(const Model& model) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return *model.serving_; }

  // Work that a full queue refuses. Under overload there is much of it, so its error is written without the lock.
  struct Overflow {
    Work* work;
    bool of_session;  // else of the model
    uint32_t queued;
    absl::Duration wait;
  };

  // Submit
  void Accept(Work* work, absl::Time now, Endings* endings) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Admit(const Work& work) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether there is no room for `work`; then *overflow says where.
  bool IsFull(Work* work, Overflow* overflow) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status QueueFull(const Overflow& overflow) const;
  // Lets `work`, head of its lane, run or end, and those behind it as long as they end at once.
  void Advance(Session& session, Work* work, Endings* endings) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether work at the head of its lane is to run; if not, *status is how it ends.
  bool Resolve(const Session& session, Work* work, absl::Status* status) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Replay(const Session& session, Work* work) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void MakeReady(Work* work) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void End(Work* work, absl::Status status, Endings* endings) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // End, and on with the session.
  void EndAtHead(Work* work, absl::Status status, Endings* endings) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // A session that was found to be another's, and whose.
  struct Moved {
    std::shared_ptr<Session> session;
    std::string owner;
  };

  // Store. How many changes are missing there that may not be; 0: none.
  uint64_t Unsafe(const SessionState& state) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NoteChange(const std::shared_ptr<Session>& session, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether `work`, done and head of its lane, ends only when a save has, which is asked for.
  bool Hold(Work* work) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Same, whether it may not even run before.
  bool HoldBack(Work* work) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Same, whether the error `status` of `work` has to wait for the store: what is ahead of the session here, in number
  // or epoch, may only be so because another server has stepped it meanwhile.
  bool HoldError(Work* work, const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void PushSave(Work* work, Save::Kind kind) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AskForSave(const std::shared_ptr<Session>& session, Save::Kind kind, const std::shared_ptr<SaveCall>& call)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void GrantSave(Turn* turn) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NoteSaved(Save* save, std::vector<Moved>* moved) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The save of a turn of its own is over.
  void EndTurn(Save* save, Endings* endings) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Of the caller that has the session: waits until it is safe, or out of the store.
  absl::Status SaveInTurn(Session& session, bool erase) ABSL_LOCKS_EXCLUDED(mutex_);
  // Same, after a change that no step made, of a session that is to be safe.
  absl::Status SaveChange(Session& session) ABSL_LOCKS_EXCLUDED(mutex_);

  // Spilling. An idle session that may leave, in the order in which they became idle; valid while the stamp is.
  struct IdleEntry {
    std::weak_ptr<Session> session;
    uint64_t stamp;
  };
  using IdleQueue = std::deque<IdleEntry>;
  // The lane of `session` is empty.
  void NoteIdle(Session& session) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The longest idle one, with its lane, to be given back with GiveBackMoved. nullptr: none.
  std::shared_ptr<Session> TakeIdle(IdleQueue* queue, Residency residency) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void GiveBackMoved(Session& session) ABSL_LOCKS_EXCLUDED(mutex_);
  // After many were at work at once: down to as many as may be, as far as they are idle.
  void Trim() ABSL_LOCKS_EXCLUDED(mutex_);
  // Moves one off the device, if there are more than `most`. False: there is none to move, or the device failed.
  bool SpillAbove(uint64_t most) ABSL_LOCKS_EXCLUDED(mutex_);
  // The session is TakeIdle's.
  absl::Status MoveToHost(Session& session) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status MakeHostRoom() ABSL_LOCKS_EXCLUDED(mutex_);
  // Moves some from the host to disk. False: there are none, or *status says why not.
  bool DemoteSome(absl::Status* status) ABSL_LOCKS_EXCLUDED(mutex_);
  // h, c and replies of a session that is out. These four are of whoever has its lane.
  absl::StatusOr<Snapshot> ReadSpilled(const Session& session) const;
  void DropSpilled(Session& session);
  absl::Status PageIn(Session& session) ABSL_LOCKS_EXCLUDED(mutex_);
  void RefillRing(Session& session, const Snapshot& snapshot) const;
  // Whether the session of `work`, head of its lane, has to be brought back first, which is asked for.
  bool AskForPageIn(Work* work) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void PagerLoop() ABSL_LOCKS_EXCLUDED(mutex_);
  void StopPager() ABSL_LOCKS_EXCLUDED(mutex_);

  void EndSession(Session& session, SessionEnd end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // A step with end_session is done.
  void EndByStep(Session& session) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether the caller is to signal work_ready_ when it has let go of the lock.
  bool WakeWorker() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether the calling thread, which is in Submit, is to RunBatch what is ready; then it has the device and the batch.
  bool MayRunHere(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes the device and the next batch. False: nothing is to be run now.
  bool TakeBatch(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Worker
  void Loop();
  // Waits for work and takes it. False: stopped.
  bool NextBatch() ABSL_LOCKS_EXCLUDED(mutex_);

  // Runs batch_, reports it and gives the device back; true: it still has it, with another batch (GiveBackDevice).
  // REQUIRES: the calling thread has the device.
  bool RunBatch(bool go_on) ABSL_LOCKS_EXCLUDED(mutex_);
  void CountBatch(ModelCounters& counters, const absl::Status& status, absl::Duration elapsed);
  // These move rows of batch_ that fail to failed_.
  void PrepareBatch(absl::Time now);
  void SettleBatch(const absl::Status& status, absl::Duration elapsed);
  // Gives the row its slot.
  absl::Status Prepare(Work* work);
  // The row is done: final state, reply, slot.
  absl::Status Settle(Work* work);
  void KeepReply(Work* work);
  static void ReleaseRow(Work* work);
  void Commit(Work* work, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndEverything() ABSL_LOCKS_EXCLUDED(mutex_);

  // Tells the sinks, without locks.
  void Report(const Endings& endings) const ABSL_LOCKS_EXCLUDED(mutex_);
  void ReportDone() ABSL_LOCKS_EXCLUDED(mutex_);
  // With `go_on` the calling thread keeps it if there is another short batch: true.
  bool GiveBackDevice(bool go_on) ABSL_LOCKS_EXCLUDED(mutex_);
  bool Idle() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return queued_ == 0 && reporting_ == 0; }

  // Runs `action` while it has the session; without the lock. SESSION_NOT_FOUND when the session has ended before.
  // `off_device`: it may be while the session is spilled.
  absl::Status InTurn(Session& session, absl::FunctionRef<absl::Status()> action, bool off_device = false)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // All of it but replies up to `after_seq`. The caller has the lane.
  absl::Status CopyOut(const Session& session, uint64_t after_seq, Snapshot* snapshot) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Gone(const Session& session) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Waits for the turn, to be given back. False: the scheduler stops, there is nothing to give back.
  bool TakeTurn(Session& session, Turn* turn) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void GiveBackTurn(Session& session) ABSL_LOCKS_EXCLUDED(mutex_);
  SessionInfo DescribeLocked(const Session& session) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void UpdateDue(Session& session) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<Backend> backend_;
  const SchedulerOptions options_;
  const uint32_t replay_ring_;
  Clock* const clock_;
  const std::function<void(const Session&)> session_ended_;
  // Set before any work.
  Checkpointer* checkpointer_ = nullptr;
  DurabilityOptions durability_;
  SessionMovedCall session_moved_;
  std::shared_ptr<SpillSpace> space_;
  SpillOptions spill_;
  SessionSpillCall session_spill_;

  mutable Mutex mutex_;
  CondVar work_ready_;
  CondVar idle_;
  std::vector<ModelQueue*> active_ ABSL_GUARDED_BY(mutex_);  // those with ready work
  uint64_t virtual_time_ ABSL_GUARDED_BY(mutex_) = 0;        // `served` of the model that ran last
  uint64_t queued_ ABSL_GUARDED_BY(mutex_) = 0;              // accepted and not ended
  uint32_t reporting_ ABSL_GUARDED_BY(mutex_) = 0;           // threads that tell sinks of accepted work
  uint32_t idle_waiters_ ABSL_GUARDED_BY(mutex_) = 0;
  CondVar pager_wake_;
  bool trim_ ABSL_GUARDED_BY(mutex_) = false;  // more sessions are on the device than may be, and one of them is idle
  WorkList page_ins_ ABSL_GUARDED_BY(mutex_);
  IdleQueue idle_resident_ ABSL_GUARDED_BY(mutex_);
  IdleQueue idle_host_ ABSL_GUARDED_BY(mutex_);
  uint64_t idle_stamp_ ABSL_GUARDED_BY(mutex_) = 0;
  std::multimap<absl::Time, std::weak_ptr<Session>> due_saves_ ABSL_GUARDED_BY(mutex_);  // periodic ones
  bool worker_waits_ ABSL_GUARDED_BY(mutex_) = false;
  bool running_ ABSL_GUARDED_BY(mutex_) = false;  // a thread has the device
  absl::Time last_submit_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  uint32_t lone_submits_ ABSL_GUARDED_BY(mutex_) = 0;  // so many came one by one, with a pause before each
  absl::Time last_step_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool leaving_ ABSL_GUARDED_BY(mutex_) = false;  // sessions are handed over
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t batches_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t batched_rows_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t inline_batches_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Duration batch_time_ ABSL_GUARDED_BY(mutex_);  // moving mean

  Counter busy_ns_;

  // Of the thread that has the device; kept for their memory.
  Batch batch_;
  std::vector<Row*> rows_;
  Endings failed_;  // before or after the device call
  Endings endings_;

  std::thread pager_;
  std::thread worker_;  // last: it uses all the others
};

}  // namespace lstmd

#endif  // LSTMD_ENGINE_SCHEDULER_H_
