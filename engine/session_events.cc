// SPDX-License-Identifier: Apache-2.0
#include "engine/session_events.h"

#include <algorithm>
#include <utility>

#include "engine/session.h"

namespace lstmd {

bool IsEnd(SessionEventKind kind) {
  switch (kind) {
    case SessionEventKind::kDeleted:
    case SessionEventKind::kExpired:
    case SessionEventKind::kEvicted:
    case SessionEventKind::kUnloaded:
    case SessionEventKind::kMoved:
      return true;
    case SessionEventKind::kCreated:
    case SessionEventKind::kSpilled:
    case SessionEventKind::kRestored:
    case SessionEventKind::kMissed:
      return false;
  }
  return false;
}

SessionWatch::~SessionWatch() {
  MutexLock lock(&hub_.mutex_);
  const auto remove = [this](auto& list) { list.erase(std::remove(list.begin(), list.end(), this), list.end()); };
  remove(hub_.filtering_);
  remove(hub_.to_wake_);
  for (const auto& [session, count] : followed_) {
    const auto it = hub_.following_.find(session);
    remove(it->second);
    if (it->second.empty()) hub_.following_.erase(it);
  }
  hub_.watches_.fetch_sub(1, std::memory_order_relaxed);
  if (hub_.thread_.get_id() == std::this_thread::get_id()) return;
  while (hub_.being_woken_ == this) hub_.woken_.Wait(&hub_.mutex_);
}

void SessionWatch::Follow(const Session& session) {
  MutexLock lock(&hub_.mutex_);
  if (++followed_[&session] == 1) hub_.following_[&session].push_back(this);
}

void SessionWatch::Unfollow(const Session& session) {
  MutexLock lock(&hub_.mutex_);
  const auto count = followed_.find(&session);
  if (count == followed_.end() || --count->second != 0) return;
  followed_.erase(count);
  const auto it = hub_.following_.find(&session);
  it->second.erase(std::find(it->second.begin(), it->second.end(), this));
  if (it->second.empty()) hub_.following_.erase(it);
}

std::vector<SessionEvent> SessionWatch::Take(size_t limit) {
  MutexLock lock(&hub_.mutex_);
  const size_t count = std::min(limit, events_.size());
  std::vector<SessionEvent> taken(std::make_move_iterator(events_.begin()),
                                  std::make_move_iterator(events_.begin() + static_cast<ptrdiff_t>(count)));
  events_.erase(events_.begin(), events_.begin() + static_cast<ptrdiff_t>(count));
  if (events_.empty() && missed_ != 0 && taken.size() < limit) {
    SessionEvent& event = taken.emplace_back();
    event.kind = SessionEventKind::kMissed;
    event.time = hub_.clock_->Now();
    event.missed = std::exchange(missed_, 0);
  }
  if (events_.empty() && missed_ == 0) waking_ = false;
  return taken;
}

SessionEvents::~SessionEvents() {
  std::thread thread;
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    thread.swap(thread_);
  }
  wake_.Signal();
  if (thread.joinable()) thread.join();
}

std::unique_ptr<SessionWatch> SessionEvents::Watch(SessionWatch::Filter filter, size_t capacity,
                                                   std::function<void()> wake) {
  const bool filtering = filter != nullptr;
  std::unique_ptr<SessionWatch> watch(new SessionWatch(this, std::move(filter), capacity, std::move(wake)));
  MutexLock lock(&mutex_);
  watches_.fetch_add(1, std::memory_order_relaxed);
  if (filtering) filtering_.push_back(watch.get());
  if (!thread_.joinable()) thread_ = std::thread([this] { Loop(); });
  return watch;
}

void SessionEvents::Emit(const Session& session, SessionEventKind kind, std::string_view reason) {
  if (watches_.load(std::memory_order_relaxed) == 0) return;
  bool wake = false;
  {
    MutexLock lock(&mutex_);
    SessionEvent event;
    const auto add = [&](SessionWatch* watch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      if (event.uid.empty()) {
        event.kind = kind;
        event.model = session.model()->name();
        event.id = session.id();
        event.uid = session.uid();
        event.reason = reason;
        event.time = clock_->Now();
      }
      Add(watch, event);
    };
    const auto followed = IsEnd(kind) ? following_.find(&session) : following_.end();
    for (SessionWatch* const watch : filtering_) {
      if (watch->filter_(session, kind)) add(watch);
    }
    if (followed != following_.end()) {
      for (SessionWatch* const watch : followed->second) add(watch);
    }
    wake = !to_wake_.empty();
  }
  if (wake) wake_.Signal();
}

void SessionEvents::Add(SessionWatch* watch, const SessionEvent& event) {
  if (watch->missed_ != 0 || watch->events_.size() >= watch->capacity_) {
    ++watch->missed_;
  } else {
    watch->events_.push_back(event);
  }
  if (watch->waking_) return;
  watch->waking_ = true;
  to_wake_.push_back(watch);
}

void SessionEvents::Loop() {
  for (;;) {
    SessionWatch* watch = nullptr;
    {
      MutexLock lock(&mutex_);
      being_woken_ = nullptr;
      woken_.SignalAll();
      while (to_wake_.empty() && !stopping_) wake_.Wait(&mutex_);
      if (stopping_) return;
      watch = being_woken_ = to_wake_.front();
      to_wake_.pop_front();
    }
    watch->wake_();
  }
}

}  // namespace lstmd
