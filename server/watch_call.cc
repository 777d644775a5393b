// SPDX-License-Identifier: Apache-2.0
#include "server/watch_call.h"

#include <utility>

#include "absl/time/clock.h"
#include "engine/errors.h"
#include "server/convert_model.h"
#include "server/errors.h"
#include "server/names.h"

namespace lstmd::server {
namespace {

// Events taken out of the watch at a time.
constexpr size_t kTake = 64;

}  // namespace

v1::SessionEvent::Kind KindOf(SessionEventKind kind) {
  switch (kind) {
    case SessionEventKind::kCreated:
      return v1::SessionEvent::CREATED;
    case SessionEventKind::kDeleted:
      return v1::SessionEvent::DELETED;
    case SessionEventKind::kExpired:
      return v1::SessionEvent::EXPIRED;
    case SessionEventKind::kEvicted:
      return v1::SessionEvent::EVICTED;
    case SessionEventKind::kUnloaded:
      return v1::SessionEvent::UNLOADED;
    case SessionEventKind::kMoved:
      return v1::SessionEvent::MOVED;
    case SessionEventKind::kSpilled:
      return v1::SessionEvent::SPILLED;
    case SessionEventKind::kRestored:
      return v1::SessionEvent::RESTORED;
    case SessionEventKind::kMissed:
      return v1::SessionEvent::MISSED;
  }
  return v1::SessionEvent::KIND_UNSPECIFIED;
}

void ToProto(const SessionEvent& event, v1::SessionEvent* proto) {
  proto->set_kind(KindOf(event.kind));
  if (event.kind != SessionEventKind::kMissed) proto->set_session(FormatSessionName(event.model, event.id));
  proto->set_uid(event.uid);
  proto->set_reason(event.reason);
  proto->set_missed(event.missed);
  ToProto(event.time, proto->mutable_time());
}

void WatchCall::Start(std::function<bool(const Session&, SessionEventKind)> filter) {
  {
    MutexLock lock(&mutex_);
    watch_ = context_.engine->session_events().Watch(std::move(filter), context_.watch_buffer, [this] { Advance(); });
    writing_ = true;
  }
  message_.set_kind(v1::SessionEvent::WATCHING);
  ToProto(absl::Now(), message_.mutable_time());
  StartWrite(&message_);
  context_.watches->Add(this);
}

void WatchCall::OnWriteDone(bool ok) {
  {
    MutexLock lock(&mutex_);
    writing_ = false;
    broken_ |= !ok;
  }
  Advance();
}

void WatchCall::OnCancel() {
  {
    MutexLock lock(&mutex_);
    broken_ = true;
  }
  Advance();
}

void WatchCall::StopReading() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  Advance();
}

// gRPC: all is over. The watch waits for its last call of Advance, the registry for its own.
void WatchCall::OnDone() {
  std::unique_ptr<SessionWatch> watch;
  {
    MutexLock lock(&mutex_);
    watch = std::move(watch_);
  }
  watch.reset();
  context_.watches->Remove(this);
  delete this;
}

void WatchCall::Advance() {
  grpc::Status status;
  {
    MutexLock lock(&mutex_);
    if (writing_ || finished_) return;
    if (!broken_) {
      if (next_ == taken_.size()) {
        taken_ = watch_->Take(kTake);
        next_ = 0;
      }
      writing_ = next_ < taken_.size();
    }
    if (writing_) {
      message_.Clear();
      ToProto(taken_[next_++], &message_);
    } else if (broken_) {
      finished_ = true;
      status = grpc::Status(grpc::StatusCode::CANCELLED, "the client went away");
    } else if (stopping_) {
      finished_ = true;
      status = ToGrpcStatus(Unavailable("DRAINING", "the server is stopping; the watch ends"));
    } else {
      return;
    }
  }
  if (status.ok()) {
    StartWrite(&message_);
  } else {
    Finish(status);
  }
}

}  // namespace lstmd::server
