// SPDX-License-Identifier: Apache-2.0
//
// What one session of a resumable stream does next.
#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "client/resume_core.h"

namespace lstmd::client {

void ResumableStream::Core::Pump(Entry* entry) {
  if (entry->unbinding && !entry->delete_session && entry->steps.idle()) return Free(entry);
  if (entry->phase == Phase::kIdle && NeedsLink(*entry)) {
    entry->phase = Phase::kWaiting;
    AddDue(entry, absl::Now());
    return;
  }
  if (entry->link != nullptr && entry->link->leaving) {
    // What is in flight is answered first. Where one that is gone as soon as it came sends everybody back, slowly.
    const bool open = entry->phase == Phase::kDeleting || (entry->phase == Phase::kLive && entry->steps.in_flight());
    if (open || !CountFailure(entry, absl::UnavailableError("the server is about to stop"))) return;
    Rebind(entry, Next(*entry->link), entry->failures <= 1 ? absl::ZeroDuration() : Delay(*entry, Verdict()));
    return;
  }
  if (entry->phase != Phase::kLive) return;
  const bool waited = entry->steps.in_flight();
  while (const std::optional<ResumeSession::Outgoing> step = entry->steps.NextToSend(&counts_)) {
    entry->link->AddStep(entry->link_handle, entry->round, *step);
  }
  if (!waited) entry->waiting_since = absl::Now();
  if (entry->unbinding && entry->steps.idle()) Delete(entry);
}

bool ResumableStream::Core::CountFailure(Entry* entry, const absl::Status& status) {
  entry->error = status.ok() ? absl::UnavailableError("the server ended the stream") : status;
  if (++entry->failures < options_.max_attempts) return true;
  End(entry, entry->error);
  return false;
}

void ResumableStream::Core::Pause(Entry* entry, uint64_t seq, absl::Duration delay) {
  entry->steps.Rewind(seq);
  ++entry->round;
  entry->phase = Phase::kPaused;
  AddDue(entry, absl::Now() + delay);
}

void ResumableStream::Core::Resend(Entry* entry) {
  entry->steps.RewindUnanswered();
  ++entry->round;
  entry->waiting_since = absl::Now();
  Pump(entry);
}

void ResumableStream::Core::Rebind(Entry* entry, Endpoint* target, absl::Duration delay) {
  Detach(entry);
  entry->target = target;
  if (NeedsLink(*entry)) {
    entry->phase = Phase::kWaiting;
    AddDue(entry, absl::Now() + delay);
  } else {
    entry->phase = Phase::kIdle;
  }
}

void ResumableStream::Core::Detach(Entry* entry) {
  const std::shared_ptr<ResumeLink> link = std::move(entry->link);
  entry->link = nullptr;
  if (entry->phase == Phase::kDeleting) {
    const auto [first, last] = deleting_.equal_range(entry->session);
    const auto found = std::find_if(first, last, [entry](const auto& item) { return item.second == entry->handle; });
    if (found != last) deleting_.erase(found);
  }
  if (link == nullptr || entry->link_handle >= link->sessions.size()) return;  // its link has ended
  link->sessions[entry->link_handle] = ResumeLink::kNobody;
  --link->bound;
  if (link->leaving) {
    if (link->bound == 0) link->HalfClose();
  } else if (entry->phase == Phase::kBinding || entry->phase == Phase::kLive || entry->phase == Phase::kPaused) {
    link->AddUnbind(entry->link_handle, /*delete_session=*/false);
  }
}

void ResumableStream::Core::End(Entry* entry, const absl::Status& status) {
  if (entry->phase == Phase::kEnded) return;
  Detach(entry);
  entry->phase = Phase::kEnded;
  entry->error = status;
  if (first_error_.ok()) first_error_ = status;
  entry->steps.Fail(status, &deliveries_);
  for (Delivery& delivery : deliveries_) {
    delivery.result.handle = entry->handle;
    notes_.push_back({std::move(delivery), nullptr});
  }
  deliveries_.clear();
  wake_.SignalAll();
  if (entry->bound) {
    notes_.push_back({{}, [done = std::exchange(entry->bound, nullptr), status] { done(status); }});
    return Free(entry);
  }
  if (!entry->unbinding) return;
  if (entry->delete_session && options_.on_failure && cancelled_.ok()) {
    notes_.push_back({{}, [this, handle = entry->handle, status] { options_.on_failure(handle, status); }});
  }
  Free(entry);
}

void ResumableStream::Core::Delete(Entry* entry) {
  entry->link->AddUnbind(entry->link_handle, /*delete_session=*/true);
  entry->phase = Phase::kDeleting;
  entry->waiting_since = absl::Now();
  deleting_.emplace(entry->session, entry->handle);
}

void ResumableStream::Core::Free(Entry* entry) {
  Detach(entry);
  --waits_;
  const uint32_t handle = entry->handle;
  entries_[handle].reset();
  free_.push_back(handle);
  changed_.SignalAll();
}

}  // namespace lstmd::client
