// SPDX-License-Identifier: Apache-2.0
//
// Sessions that are off their device: in host memory, or on disk. A session is moved out while it is idle, by whoever
// needs its slot, longest idle first; it takes its own lane for that, so that its next work waits for the move. Work at
// the head of the lane of a session that is out is handed to the pager, a thread that may wait for a disk, and goes on
// when the session is back. Callers that have a turn bring it back themselves.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "engine/scheduler.h"

namespace lstmd {
namespace {

// From host memory to disk at a time.
constexpr size_t kDemoteGroup = 64;

}  // namespace

void Scheduler::UseSpill(std::shared_ptr<SpillSpace> space, const SpillOptions& options, SessionSpillCall call) {
  space_ = std::move(space);
  spill_ = options;
  session_spill_ = std::move(call);
  if (spill_.max_resident_sessions != 0) pager_ = std::thread([this] { PagerLoop(); });
}

// --- Which is next. ---

void Scheduler::NoteIdle(Session& session) {
  if (spill_.max_resident_sessions == 0) return;
  SessionState& state = StateOf(session);
  if (state.pinned || session.end() != SessionEnd::kNone) return;
  IdleQueue& queue = state.residency == Residency::kDevice ? idle_resident_ : idle_host_;
  if (state.residency == Residency::kDisk) return;
  state.idle_stamp = ++idle_stamp_;
  queue.push_back({session.weak_from_this(), state.idle_stamp});
  if (space_->resident > static_cast<int64_t>(spill_.max_resident_sessions)) {
    trim_ = true;
    pager_wake_.Signal();
  }
  // Most entries are of sessions that were used since. They are dropped now and then, so that each costs little.
  const int64_t living = state.residency == Residency::kDevice ? space_->resident : space_->host;
  if (queue.size() < 1024 + 4 * static_cast<size_t>(std::max<int64_t>(0, living))) return;
  queue.erase(std::remove_if(queue.begin(), queue.end(),
                             [this](const IdleEntry& entry) ABSL_NO_THREAD_SAFETY_ANALYSIS {
                               const std::shared_ptr<Session> one = entry.session.lock();
                               return one == nullptr || StateOf(*one).idle_stamp != entry.stamp;
                             }),
              queue.end());
}

void Scheduler::Track(const std::shared_ptr<Session>& session) {
  MutexLock lock(&mutex_);
  if (StateOf(*session).lane.idle()) NoteIdle(*session);
}

std::shared_ptr<Session> Scheduler::TakeIdle(IdleQueue* queue, Residency residency) {
  while (!queue->empty()) {
    const IdleEntry entry = std::move(queue->front());
    queue->pop_front();
    std::shared_ptr<Session> session = entry.session.lock();
    if (session == nullptr || session->end() != SessionEnd::kNone) continue;
    SessionState& state = StateOf(*session);
    if (state.idle_stamp != entry.stamp || !state.lane.idle() || state.residency != residency || state.pinned) continue;
    // Nobody waits for this turn: it is given back by who took it.
    auto* const turn = new Turn;
    turn->place.turn = turn;
    state.lane.Enter(&turn->place);
    state.mover = turn;
    return session;
  }
  return nullptr;
}

void Scheduler::GiveBackMoved(Session& session) {
  {
    MutexLock lock(&mutex_);
    delete std::exchange(StateOf(session).mover, nullptr);
  }
  GiveBackTurn(session);
}

// --- Out. ---

absl::Status Scheduler::MakeRoom() {
  if (spill_.max_resident_sessions == 0) return absl::OkStatus();
  while (space_->resident >= static_cast<int64_t>(spill_.max_resident_sessions)) {
    if (absl::Status status = MakeHostRoom(); !status.ok()) return status;
    if (!SpillAbove(spill_.max_resident_sessions - 1)) break;  // all are at work: more than may be for a moment
  }
  return absl::OkStatus();
}

void Scheduler::Trim() {
  while (space_->resident > static_cast<int64_t>(spill_.max_resident_sessions)) {
    if (!MakeHostRoom().ok() || !SpillAbove(spill_.max_resident_sessions)) return;
  }
}

bool Scheduler::SpillAbove(uint64_t most) {
  std::shared_ptr<Session> session;
  absl::Status status;
  {
    MutexLock moving(&space_->moving_out);
    if (space_->resident <= static_cast<int64_t>(most)) return true;  // another has made room
    {
      MutexLock lock(&mutex_);
      if (stopping_) return false;
      session = TakeIdle(&idle_resident_, Residency::kDevice);
    }
    if (session == nullptr) return false;
    status = MoveToHost(*session);
  }
  GiveBackMoved(*session);
  if (status.ok() && session_spill_) session_spill_(*session, Residency::kHost);
  return status.ok();
}

absl::Status Scheduler::MoveToHost(Session& session) {
  Snapshot snapshot;
  const ModelSpec& spec = session.model()->spec();
  snapshot.h.resize(spec.h_size());
  snapshot.c.resize(spec.c_size());
  StatePool& pool = session.model()->pool();
  absl::Status status = pool.Read(session.slot_, absl::MakeSpan(snapshot.h), absl::MakeSpan(snapshot.c));
  if (!status.ok()) return status;
  if (session.ring_ != nullptr) snapshot.replies = session.ring_->After(0);
  snapshot.last_seq = snapshot.replies.empty() ? 0 : snapshot.replies.back().seq;
  session.spilled_ = EncodeSnapshot(snapshot);
  session.spilled_.shrink_to_fit();
  session.ring_.reset();
  pool.Free(std::exchange(session.slot_, kNoSlot));
  --space_->resident;
  ++space_->host;
  space_->host_bytes += static_cast<int64_t>(session.spilled_.capacity());
  ++space_->spilled;
  MutexLock lock(&mutex_);
  StateOf(session).residency = Residency::kHost;
  return absl::OkStatus();
}

absl::Status Scheduler::MakeHostRoom() {
  while (space_->host_bytes >= static_cast<int64_t>(spill_.host_bytes)) {
    absl::Status status;
    if (space_->folder == nullptr) {
      return ResourceExhausted(
                 "SPILL_MEMORY",
                 absl::StrCat("sessions that are not in use take ", space_->host_bytes.load(),
                              " bytes of host memory, as many as they may, and there is no folder to spill "
                              "to"))
          .RetryAfter(absl::Seconds(1))
          .Quota("spill memory");
    }
    if (DemoteSome(&status)) continue;
    if (!status.ok()) return status;
    break;  // others are at it, or all are at work: more than may be for a moment
  }
  return absl::OkStatus();
}

bool Scheduler::DemoteSome(absl::Status* status) {
  std::vector<std::shared_ptr<Session>> sessions;
  {
    MutexLock lock(&mutex_);
    if (stopping_) return false;
    while (sessions.size() < kDemoteGroup) {
      std::shared_ptr<Session> session = TakeIdle(&idle_host_, Residency::kHost);
      if (session == nullptr) break;
      sessions.push_back(std::move(session));
    }
  }
  if (sessions.empty()) return false;
  std::vector<std::pair<SpillDisk::Key, const std::string*>> states;
  for (const auto& session : sessions) states.emplace_back(session->uid_, &session->spilled_);
  *status = space_->folder->Put(states);
  for (const auto& session : sessions) {
    if (status->ok()) {
      space_->host_bytes -= static_cast<int64_t>(session->spilled_.capacity());
      --space_->host;
      ++space_->disk;
      std::string().swap(session->spilled_);
      session->on_disk_ = true;
      MutexLock lock(&mutex_);
      StateOf(*session).residency = Residency::kDisk;
    }
    GiveBackMoved(*session);
  }
  return status->ok();
}

// --- Back. ---

absl::StatusOr<Snapshot> Scheduler::ReadSpilled(const Session& session) const {
  if (!session.on_disk_) return DecodeSnapshot(session.spilled_);
  const absl::StatusOr<std::string> bytes = space_->folder->Get(session.uid_);
  if (!bytes.ok()) return bytes.status();
  return DecodeSnapshot(*bytes);
}

void Scheduler::DropSpilled(Session& session) {
  if (session.on_disk_) {
    space_->folder->Erase(session.uid_);
    session.on_disk_ = false;
    --space_->disk;
  } else if (!session.spilled_.empty()) {
    space_->host_bytes -= static_cast<int64_t>(session.spilled_.capacity());
    --space_->host;
    std::string().swap(session.spilled_);
  }
}

absl::Status Scheduler::PageIn(Session& session) {
  if (session.slot_ != kNoSlot) return absl::OkStatus();
  // Where there is no room to move another out, this one still has to come in.
  (void)MakeRoom();
  const absl::StatusOr<Snapshot> snapshot = ReadSpilled(session);
  if (!snapshot.ok()) return snapshot.status();
  StatePool& pool = session.model()->pool();
  const absl::StatusOr<Slot> slot = pool.Allocate();
  if (!slot.ok()) return slot.status();
  if (absl::Status status = pool.Write(*slot, snapshot->h, snapshot->c); !status.ok()) {
    pool.Free(*slot);
    return status;
  }
  DropSpilled(session);
  session.slot_ = *slot;
  RefillRing(session, *snapshot);
  ++space_->resident;
  ++space_->restored;
  {
    MutexLock lock(&mutex_);
    StateOf(session).residency = Residency::kDevice;
  }
  if (session_spill_) session_spill_(session, Residency::kDevice);
  return absl::OkStatus();
}

bool Scheduler::AskForPageIn(Work* work) {
  if (StateOf(*work->session).residency == Residency::kDevice) return false;
  page_ins_.Push(work);
  pager_wake_.Signal();
  return true;
}

void Scheduler::PagerLoop() {
  while (true) {
    Work* work = nullptr;
    bool stopping = false;
    {
      MutexLock lock(&mutex_);
      while (page_ins_.empty() && !stopping_ && !trim_) pager_wake_.Wait(&mutex_);
      work = page_ins_.Pop();
      stopping = stopping_;
      trim_ = false;
    }
    if (work == nullptr) {
      if (stopping) return;
      Trim();
      continue;
    }
    const std::shared_ptr<Session> session = work->session;
    const absl::Status status = stopping ? Draining() : PageIn(*session);
    Endings endings;
    bool wake = false;
    {
      MutexLock lock(&mutex_);
      if (status.ok()) {
        Advance(*session, work, &endings);
      } else {
        EndAtHead(work, status, &endings);
      }
      ++reporting_;
      wake = WakeWorker();
    }
    if (wake) work_ready_.Signal();
    Report(endings);
    ReportDone();
  }
}

void Scheduler::StopPager() {
  if (!pager_.joinable()) return;
  pager_wake_.Signal();
  pager_.join();
}

}  // namespace lstmd
