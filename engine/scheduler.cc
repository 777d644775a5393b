// SPDX-License-Identifier: Apache-2.0
//
// Taking work in, ordering it and reporting it. The device side is in scheduler_worker.cc, sessions in
// scheduler_sessions.cc.
#include "engine/scheduler.h"

#include <algorithm>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "engine/names.h"

namespace lstmd {
namespace {

// A sequence without a time step: no valid step, so the output of one is zeros, and the state is as
// ModelSpec.zero_length_state says. Nothing for a device to do.
void RunEmpty(const Model& model, const ModelVersion& version, Work* work) {
  const ModelSpec& spec = model.spec();
  if (work->output != nullptr && work->output_mode != OutputMode::kAll) {
    std::fill_n(work->output, spec.output_size(), 0.0f);
  }
  if (work->final_h == nullptr) return;
  const bool zeros = spec.zero_length_state == ZeroLengthState::kZeros;
  const auto fill = [zeros](const float* given, const std::vector<float>& learned, size_t size, float* final) {
    if (!zeros && given != nullptr) {
      std::copy_n(given, size, final);
    } else if (!zeros && !learned.empty()) {
      std::copy_n(learned.data(), size, final);
    } else {
      std::fill_n(final, size, 0.0f);
    }
  };
  fill(work->initial_h, version.parts().initial_h, spec.h_size(), work->final_h);
  fill(work->initial_c, version.parts().initial_c, spec.c_size(), work->final_c);
}

}  // namespace

absl::Status Scheduler::Draining() { return Unavailable("DRAINING", "the server is stopping and takes no new work"); }

const std::shared_ptr<Model>& Scheduler::ModelOf(const Work& work) {
  return work.session != nullptr ? work.session->model() : work.model;
}

void Scheduler::Submit(absl::Span<Work* const> work) {
  Endings endings;
  std::vector<Overflow> refused;
  bool wake = false;
  bool here = false;
  const absl::Time now = clock_->Now();
  {
    MutexLock lock(&mutex_);
    for (Work* const one : work) {
      Overflow overflow;
      if (!draining_ && IsFull(one, &overflow)) {
        refused.push_back(overflow);
      } else {
        Accept(one, now, &endings);
      }
    }
    lone_submits_ = now - last_submit_ < kPause ? 0 : lone_submits_ + 1;
    last_submit_ = now;
    here = MayRunHere(now);
    wake = WakeWorker();
  }
  if (wake) work_ready_.Signal();
  for (const Overflow& overflow : refused) endings.push_back({overflow.work, QueueFull(overflow)});
  Report(endings);
  for (int batches = 1; here; ++batches) here = RunBatch(/*go_on=*/batches < kInlineBatches);
}

void Scheduler::Accept(Work* work, absl::Time now, Endings* endings) {
  if (absl::Status status = Admit(*work); !status.ok()) {
    endings->push_back({work, std::move(status)});
    return;
  }
  Model& model = *ModelOf(*work);
  work->accepted = now;
  work->started = absl::InfinitePast();
  work->timing = Timing();
  work->replayed = false;
  work->result_durable_seq = 0;
  work->own_slot = false;
  work->turn = nullptr;
  work->row.slot = kNoSlot;
  work->row.input = work->input;
  work->row.steps = work->steps;
  work->row.mask = work->mask;
  work->row.output = work->output;
  work->row.output_mode = work->output_mode;
  work->row.position = 0;
  work->row.scratch = nullptr;
  work->units = work->row.units(model.spec());
  ++queued_;
  work->on = &ServingOf(model);
  work->result_version = 0;
  ++QueueOf(*work->on).queued;
  if (work->session != nullptr && work->units <= options_.slice_units) last_step_ = now;
  if (work->session != nullptr) {
    if (StateOf(*work->session).lane.Enter(work)) Advance(*work->session, work, endings);
  } else if (work->steps == 0) {
    RunEmpty(model, *work->on, work);
    work->result_version = work->on->version();
    End(work, absl::OkStatus(), endings);
  } else {
    MakeReady(work);
  }
}

absl::Status Scheduler::Admit(const Work& work) const {
  if (draining_ || stopping_) return Draining();
  Model& model = *ModelOf(work);
  if (work.session != nullptr) {
    const Session& session = *work.session;
    if (session.end() != SessionEnd::kNone) return Gone(session);
    if (work.steps == 0) {
      return InvalidArgument("TENSOR_SHAPE", "input: got no time step, want at least one in a session")
          .Field("input.shape");
    }
  } else if (const int64_t version = ServingOf(model).version();
             model.closed() || (work.want_version != 0 && work.want_version != version)) {
    return NotFound("MODEL_NOT_FOUND", absl::StrCat("version ", model.closed() ? version : work.want_version, " of '",
                                                    ModelResource(model.name()), "' was ",
                                                    model.closed() ? "unloaded" : "replaced by another"))
        .Resource(ModelResource(model.name()));
  }
  return absl::OkStatus();
}

bool Scheduler::IsFull(Work* work, Overflow* overflow) const {
  const uint32_t of_session = work->session == nullptr ? 0 : StateOf(*work->session).lane.size();
  const uint32_t of_model = QueueOf(ServingOf(*ModelOf(*work))).queued;
  if (of_session < options_.max_queued_per_session && of_model < options_.max_queued_per_model) return false;
  overflow->work = work;
  overflow->of_session = of_session >= options_.max_queued_per_session;
  overflow->queued = overflow->of_session ? of_session : of_model;
  // Of a session every call takes one.
  const double calls = overflow->of_session ? of_session : 1.0 + of_model / options_.max_batch_size;
  overflow->wait = std::clamp(calls * batch_time_, absl::Milliseconds(1), absl::Seconds(5));
  return true;
}

absl::Status Scheduler::QueueFull(const Overflow& overflow) const {
  const std::string& model = ModelOf(*overflow.work)->name();
  const std::string subject =
      overflow.of_session ? SessionResource(model, overflow.work->session->id()) : ModelResource(model);
  const uint32_t limit = overflow.of_session ? options_.max_queued_per_session : options_.max_queued_per_model;
  return ResourceExhausted("QUEUE_FULL", absl::StrCat("'", subject, "' has ", overflow.queued,
                                                      " steps waiting, at most ", limit, " may; try again later"))
      .Quota(subject)
      .Resource(subject)
      .RetryAfter(overflow.wait)
      .With("limit", absl::StrCat(limit));
}

bool Scheduler::WakeWorker() {
  const bool wake = worker_waits_ && !running_ && (!active_.empty() || stopping_);
  if (wake) worker_waits_ = false;
  return wake;
}

void Scheduler::Advance(Session& session, Work* work, Endings* endings) {
  SessionState& state = StateOf(session);
  while (work != nullptr) {
    if (work->turn != nullptr) {
      Turn* const turn = work->turn;
      if (turn->save != nullptr) {
        GrantSave(turn);
        return;
      }
      turn->granted = !stopping_;
      turn->stopped = stopping_;
      turn->ready.Signal();
      if (turn->granted) return;
      work = state.lane.Leave();
      continue;
    }
    if (!stopping_ && !state.refuse_queued && AskForPageIn(work)) return;
    absl::Status status;
    if (Resolve(session, work, &status)) {
      if (!HoldBack(work)) MakeReady(work);
      return;
    }
    if (status.ok() ? Hold(work) : HoldError(work, status)) return;
    if (status.ok() && work->end_session) EndByStep(session);
    End(work, std::move(status), endings);
    work = state.lane.Leave();
  }
  NoteIdle(session);
}

absl::Status Scheduler::Gone(const Session& session) const {
  if (session.end() == SessionEnd::kMoved) {
    const std::string& owner = StateOf(session).durable->owner;
    return (draining_ || leaving_) && owner.empty() ? Draining()
                                                    : SessionMoved(session.model()->name(), session.id(), owner);
  }
  return SessionNotFound(session.model()->name(), session.id(), session.end(), StateOf(session).end_time);
}

bool Scheduler::Resolve(const Session& session, Work* work, absl::Status* status) const {
  const SessionState& state = StateOf(session);
  const std::string& model = session.model()->name();
  if (stopping_) {
    *status = Draining();
  } else if (state.refuse_queued) {
    *status = Gone(session);
  } else if (work->epoch != 0 && work->epoch != state.epoch) {
    const std::string name = SessionResource(model, session.id());
    *status = Error(absl::StatusCode::kAborted, "SESSION_FENCED",
                    absl::StrCat("epoch of '", name, "': got ", work->epoch, ", it is in ", state.epoch))
                  .Field("epoch")
                  .Resource(name)
                  .With("epoch", absl::StrCat(state.epoch));
  } else if (work->seq == 0 || work->seq == state.last_seq + 1) {
    return true;
  } else if (work->seq > state.last_seq) {
    const std::string name = SessionResource(model, session.id());
    *status = Error(absl::StatusCode::kOutOfRange, "STEP_GAP",
                    absl::StrCat("seq of '", name, "': got ", work->seq, ", want ", state.last_seq + 1))
                  .Field("seq")
                  .Resource(name)
                  .With("expected_seq", absl::StrCat(state.last_seq + 1));
  } else {
    *status = Replay(session, work);
  }
  return false;
}

absl::Status Scheduler::Replay(const Session& session, Work* work) const {
  const SessionState& state = StateOf(session);
  const std::string name = SessionResource(session.model()->name(), session.id());
  const Reply* const reply = session.ring_ == nullptr ? nullptr : session.ring_->Find(work->seq);
  if (reply == nullptr || (work->final_h != nullptr && !reply->has_state())) {
    return AlreadyExists("STEP_REPLAY_EXPIRED",
                         absl::StrCat("step ", work->seq, " of '", name, "' was applied, and ",
                                      reply == nullptr ? "its reply is not kept any more"
                                                       : "the state after it was not asked for then",
                                      "; the last is ", state.last_seq))
        .Field("seq")
        .Resource(name)
        .With("last_seq", absl::StrCat(state.last_seq));
  }
  const size_t output_size =
      size_t{work->output_mode == OutputMode::kAll ? work->steps : 1} * session.model()->spec().output_size();
  if (work->output != nullptr) {
    if (reply->output_size != output_size) {
      return InvalidArgument(
                 "STEP_MISMATCH",
                 absl::StrCat("step ", work->seq, " of '", name, "' was applied with an output of ", reply->output_size,
                              " values; this one would have ", output_size, ": a number stands for one input"))
          .Field("seq")
          .Resource(name);
    }
    std::copy(reply->output().begin(), reply->output().end(), work->output);
  }
  if (work->final_h != nullptr) {
    std::copy(reply->h().begin(), reply->h().end(), work->final_h);
    std::copy(reply->c().begin(), reply->c().end(), work->final_c);
  }
  work->replayed = true;
  work->result_seq = work->seq;
  work->result_epoch = state.epoch;
  return absl::OkStatus();
}

void Scheduler::MakeReady(Work* work) {
  // A step that waited in its session begins on the weights of now; what has begun stays on its own.
  if (work->session != nullptr && work->row.slot == kNoSlot) {
    ModelVersion& serving = ServingOf(*work->session->model());
    if (work->on != &serving) {
      --QueueOf(*work->on).queued;
      ++QueueOf(serving).queued;
      work->on = &serving;
      if (idle_waiters_ != 0) idle_.SignalAll();
    }
  }
  ModelQueue& queue = QueueOf(*work->on);
  if (queue.ready() == 0) {
    active_.push_back(&queue);
    // A model that was idle has no claim on the time before.
    queue.served = std::max(queue.served, virtual_time_);
  }
  AddReady(queue, work, options_);
}

void Scheduler::End(Work* work, absl::Status status, Endings* endings) {
  --queued_;
  --QueueOf(*work->on).queued;
  endings->push_back({work, std::move(status)});
}

void Scheduler::EndAtHead(Work* work, absl::Status status, Endings* endings) {
  End(work, std::move(status), endings);
  if (work->session == nullptr) return;
  Advance(*work->session, StateOf(*work->session).lane.Leave(), endings);
}

void Scheduler::EndByStep(Session& session) {
  SessionState& state = StateOf(session);
  state.refuse_queued = true;
  if (session.end() == SessionEnd::kNone) EndSession(session, SessionEnd::kDeleted);
}

void Scheduler::EndSession(Session& session, SessionEnd end) {
  StateOf(session).end_time = clock_->Now();
  session.end_.store(end, std::memory_order_release);
}

void Scheduler::Report(const Endings& endings) const {
  absl::InlinedVector<WorkSink*, 8> sinks;
  {
    WorkTally tally;
    for (const Ending& ending : endings) tally.Add(*ending.work, ending.status);
  }
  // The name is free before anybody hears that the session has ended.
  for (const Ending& ending : endings) {
    if (ending.work->end_session && ending.status.ok() && ending.work->session != nullptr) {
      session_ended_(*ending.work->session);
    }
  }
  for (const Ending& ending : endings) {
    WorkSink* const sink = ending.work->sink;  // the work may be gone after OnDone
    if (sinks.empty() || sinks.back() != sink) sinks.push_back(sink);
    sink->OnDone(ending.work, ending.status);
  }
  if (sinks.size() > 1) {
    std::sort(sinks.begin(), sinks.end());
    sinks.erase(std::unique(sinks.begin(), sinks.end()), sinks.end());
  }
  for (WorkSink* const sink : sinks) sink->OnBatchEnd();
}

void Scheduler::ReportDone() {
  MutexLock lock(&mutex_);
  --reporting_;
  if (idle_waiters_ != 0) idle_.SignalAll();
}

bool Scheduler::GiveBackDevice(bool go_on) {
  bool wake = false;
  {
    MutexLock lock(&mutex_);
    running_ = false;
    --reporting_;
    if (idle_waiters_ != 0) idle_.SignalAll();
    if (go_on && MayRunHere(clock_->Now())) return true;
    wake = WakeWorker();
  }
  if (wake) work_ready_.Signal();
  return false;
}

}  // namespace lstmd
