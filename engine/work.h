// SPDX-License-Identifier: Apache-2.0
//
// Work: one step, multi-step message or sequence on its way through the engine. The server makes it, Engine::Submit
// takes it, the scheduler runs it, a WorkSink hears of its end.
#ifndef LSTMD_ENGINE_WORK_H_
#define LSTMD_ENGINE_WORK_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/backend.h"

namespace lstmd {

class Model;         // engine/model.h
class ModelVersion;  // engine/model.h
class Session;       // engine/session.h
struct Turn;         // engine/scheduler.h
struct Work;

// Where the time of a piece of work went; see lstmd.v1.Timing.
struct Timing {
  absl::Duration queue;
  absl::Duration compute;
  uint32_t batch_size = 0;
};

// Hears of the end of work; one sink serves a whole stream or call. Calls come from engine threads or from within
// Submit (refusals, replays, and batches that run there), one after the other for one batch but from several threads
// over time: implementations lock. They must be short, and must not call Submit (use OnBatchEnd's caller thread only to
// hand replies on). A sink lives until each thread that called OnDone has also called OnBatchEnd. Queues are fair
// between sinks (ReadyQueue).
class WorkSink {
 public:
  virtual ~WorkSink() = default;
  // `work` has ended; the engine does not touch it, its buffers or its sink again, but for one OnBatchEnd of this
  // batch. OK: output, final state and the result fields stand. Else: nothing has changed in the session.
  virtual void OnDone(Work* work, const absl::Status& status) = 0;
  // All work of this sink in one device call has been reported: the moment to send coalesced replies.
  virtual void OnBatchEnd() = 0;
};

// Plain data; filled in by the caller, who keeps it and every buffer alive until OnDone.
struct Work {
  // What. Exactly one of the two is set: `session` for a step in a session, `model` for a stateless sequence.
  std::shared_ptr<Session> session;
  std::shared_ptr<Model> model;

  int64_t want_version = 0;  // stateless: NOT_FOUND where the model runs another version by now; 0: any

  uint64_t seq = 0;    // see lstmd.v1.StepItem.seq; 0 = unsequenced
  uint64_t epoch = 0;  // 0 = any
  bool end_session = false;

  uint32_t steps = 0;             // T; 0 is allowed for stateless sequences
  const float* input = nullptr;   // [T, I]
  const uint8_t* mask = nullptr;  // [T] or nullptr
  float* output = nullptr;        // kAll: [T, O], else [O]
  OutputMode output_mode = OutputMode::kAll;
  const float* initial_h = nullptr;  // [L*D, P or H]; stateless only; nullptr: the model's initial state
  const float* initial_c = nullptr;  // [L*D, H]; set if and only if initial_h is
  float* final_h = nullptr;          // [L*D, P or H] and [L*D, H]: where to write the final state, or nullptr
  float* final_c = nullptr;

  absl::Time deadline = absl::InfiniteFuture();
  std::atomic<bool> cancelled{false};  // the caller may set it at any time; checked before each device call
  WorkSink* sink = nullptr;
  // Nothing else of the sink is in flight, so that its reply can share a message with no other: better run at once than
  // wait for company. A hint; of works that are submitted together the first has it.
  bool alone = false;

  // Results, valid in OnDone with an OK status.
  uint64_t result_seq = 0;  // last_seq of the session after it
  uint64_t result_epoch = 0;
  uint64_t result_durable_seq = 0;  // last_seq of the session that is safe in the store
  int64_t result_version = 0;       // of the model, whose weights ran it; 0 where nothing ran
  bool replayed = false;
  Timing timing;

  // The scheduler's own, between Submit and OnDone.
  Row row;
  ModelVersion* on = nullptr;  // whose queue it is in or waits for; alive until it has ended
  uint64_t units = 0;          // row.units, worked out once
  bool own_slot = false;       // row.slot is this work's, not the session's
  absl::Time accepted;
  absl::Time started;
  Work* next = nullptr;  // in a WorkList (engine/batcher.h)
  Turn* turn = nullptr;  // set: not work, but the place of a caller that waits for the session
};

}  // namespace lstmd

#endif  // LSTMD_ENGINE_WORK_H_
