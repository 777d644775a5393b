// SPDX-License-Identifier: Apache-2.0
//
// The read side of a resumable stream: replies, ends of links, and what a session does about them. What does not fit is
// not trusted and not fatal: it is of an earlier life, or came twice.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/error.h"
#include "client/resume_core.h"

namespace lstmd::client {

void ResumableStream::Core::OnReply(ResumeLink* link, std::shared_ptr<Reply> reply) {
  {
    MutexLock lock(&mutex_);
    ++busy_;
    link->heard = absl::Now();
    for (const v1::Bound& bound : reply->message.bound()) OnBound(link, bound);
    OnResults(link, reply);
    for (const v1::StepFailure& failure : reply->message.failures()) OnFailure(link, failure);
    for (const v1::SessionEvent& event : reply->message.events()) OnEvent(event);
    if (reply->message.has_go_away()) OnGoAway(link, reply->message.go_away());
    for (const uint32_t handle : touched_) {
      Entry* const entry = entries_[handle].get();
      if (entry == nullptr) continue;
      if (entry->phase == Phase::kLive && entry->steps.has_gap() && entry->gap != entry->steps.delivered() + 1) {
        entry->gap = entry->steps.delivered() + 1;
        Resend(entry);
      } else {
        Pump(entry);
      }
    }
    touched_.clear();
    // While callbacks run, the server may work on what their answers made room for.
    Flush();
  }
  Deliver();
  MutexLock lock(&mutex_);
  --busy_;
  changed_.SignalAll();
}

Endpoint* ResumableStream::Core::Next(const ResumeLink& link) {
  Endpoint* const named = link.next_address.empty() ? nullptr : endpoints_->At(link.next_address);
  return named != nullptr ? named : endpoints_->After(link.address());
}

ResumableStream::Core::Entry* ResumableStream::Core::Find(const ResumeLink& link, uint32_t link_handle) {
  if (link_handle >= link.sessions.size() || link.sessions[link_handle] == ResumeLink::kNobody) return nullptr;
  return entries_[link.sessions[link_handle]].get();
}

void ResumableStream::Core::OnBound(ResumeLink* link, const v1::Bound& bound) {
  Entry* const entry = Find(*link, bound.handle());
  if (entry == nullptr || entry->phase != Phase::kBinding) return;
  link->served = true;
  endpoints_->Prefer(link->address());
  ++stats_.binds;
  entry->silences = 0;
  entry->not_found = 0;
  if (entry->steps.IsStale(bound.session())) {
    if (!CountFailure(entry, absl::UnavailableError("the server does not own the session any more"))) return;
    Detach(entry);
    entry->phase = Phase::kWaiting;
    entry->target = endpoints_->At(link->address());
    doubts_.push_back({entry->handle, entry->target, entry->session, absl::OkStatus()});
    wake_.SignalAll();
    return;
  }
  const uint64_t replays = counts_.replays;
  if (absl::Status status = entry->steps.Resume(bound.session(), &counts_); !status.ok()) return End(entry, status);
  stats_.max_replay = std::max(stats_.max_replay, counts_.replays - replays);
  if (entry->bound) {
    entry->failures = 0;
    entry->input_size = bound.input_size();
    Binding binding{entry->handle, bound.session(), bound.input_size(), bound.output_size()};
    notes_.push_back(
        {{}, [done = std::exchange(entry->bound, nullptr), binding = std::move(binding)] { done(binding); }});
    --waits_;
  }
  entry->phase = Phase::kLive;
  ++entry->round;
  entry->gap = 0;
  touched_.push_back(entry->handle);
}

void ResumableStream::Core::OnResults(ResumeLink* link, const std::shared_ptr<Reply>& reply) {
  const absl::Time now = link->heard;
  for (int i = 0; i < reply->message.results_size(); ++i) {
    const v1::ResultBlock& block = reply->message.results(i);
    const std::vector<float>& output = reply->outputs[static_cast<size_t>(i)];
    const size_t each = output.size() / static_cast<size_t>(block.handles_size());
    for (int k = 0; k < block.handles_size(); ++k) {
      Entry* const entry = Find(*link, block.handles(k));
      if (entry == nullptr) continue;
      Delivery answer;
      answer.result.handle = entry->handle;
      answer.result.seq = block.seqs(k);
      answer.result.replayed = block.replayed_size() > 0 && block.replayed(k);
      answer.result.durable_seq = block.durable_seqs_size() > 0 ? block.durable_seqs(k) : 0;
      answer.result.output = absl::MakeConstSpan(output).subspan(static_cast<size_t>(k) * each, each);
      answer.result.state = block.states_size() > 0 ? &block.states(k) : nullptr;
      answer.result.timing = &block.timing();
      answer.keeper = reply;
      const absl::Status status = entry->steps.Answer(std::move(answer), &counts_, &deliveries_);
      for (Delivery& delivery : deliveries_) notes_.push_back({std::move(delivery), nullptr});
      deliveries_.clear();
      if (!status.ok()) {
        End(entry, status);
        continue;
      }
      if (block.durable_seqs_size() > 0) entry->steps.Durable(block.durable_seqs(k));
      entry->failures = entry->silences = 0;
      entry->waiting_since = now;
      touched_.push_back(entry->handle);
    }
  }
}

void ResumableStream::Core::OnFailure(ResumeLink* link, const v1::StepFailure& failure) {
  Entry* const entry = Find(*link, failure.handle());
  if (entry == nullptr) return;
  const absl::Status status = failure.error().code() == 0
                                  ? absl::InternalError("the server broke the protocol: a failure without an error")
                                  : FromProto(failure.error());
  if (failure.steps_id() == 0) {
    if (entry->phase == Phase::kBinding) return OnBindFailure(entry, status);
    if (entry->phase != Phase::kDeleting) return;
    if (options_.on_failure && !IsSessionNotFound(status)) {
      notes_.push_back({{}, [this, handle = entry->handle, status] { options_.on_failure(handle, status); }});
    }
    return Free(entry);
  }
  if (entry->phase != Phase::kLive || failure.steps_id() != entry->round) return;
  const Verdict verdict = Judge(status, entry->options.epoch != 0);
  if (verdict.recovery == Recovery::kFail) return End(entry, status);
  if (!CountFailure(entry, status)) return;
  switch (verdict.recovery) {
    case Recovery::kFail:
      break;
    case Recovery::kResend:
      return Pause(entry, failure.seq(), Delay(*entry, verdict));
    case Recovery::kRebind:
      return Rebind(entry, endpoints_->At(link->address()), Delay(*entry, verdict));
    case Recovery::kMove: {
      Endpoint* target = verdict.address.empty() ? nullptr : endpoints_->At(verdict.address);
      if (target == nullptr) target = Next(*link);
      return Rebind(entry, target, Delay(*entry, verdict));
    }
  }
}

void ResumableStream::Core::OnBindFailure(Entry* entry, const absl::Status& status) {
  const std::string address = entry->link->address();
  entry->phase = Phase::kWaiting;  // there is nothing to unbind
  if (IsSessionNotFound(status)) {
    // Another server may have it, and one that is not there now may have it again later.
    const auto metadata = GetDetails(status).metadata;
    const auto event = metadata.find("last_event");
    const bool lost = event != metadata.end() && event->second != "MOVED";
    if (lost || ++entry->not_found >= endpoints_->size()) {
      // What was to be deleted is.
      return entry->unbinding && entry->steps.idle() ? Free(entry) : End(entry, status);
    }
    if (CountFailure(entry, status)) Rebind(entry, endpoints_->After(address), Delay(*entry, Verdict()));
    return;
  }
  const Verdict verdict = Judge(status, entry->options.epoch != 0);
  if (verdict.recovery == Recovery::kFail) return End(entry, status);
  if (!CountFailure(entry, status)) return;
  Endpoint* target = endpoints_->At(address);
  if (verdict.recovery == Recovery::kMove) {
    target = verdict.address.empty() ? nullptr : endpoints_->At(verdict.address);
    if (target == nullptr) target = endpoints_->After(address);
  }
  Rebind(entry, target, Delay(*entry, verdict));
}

void ResumableStream::Core::OnEvent(const v1::SessionEvent& event) {
  if (event.kind() == v1::SessionEvent::DELETED) {
    const auto found = deleting_.find(event.session());
    if (found != deleting_.end()) return Free(entries_[found->second].get());
  }
  if (options_.on_event) notes_.push_back({{}, [this, event] { options_.on_event(event); }});
}

void ResumableStream::Core::OnGoAway(ResumeLink* link, const v1::GoAway& go_away) {
  ++stats_.go_aways;
  link->leaving = true;
  link->next_address = go_away.new_address();
  endpoints_->MoveOn(link->address());
  if (link->bound == 0) link->HalfClose();
  for (const uint32_t handle : link->sessions) {
    if (handle != ResumeLink::kNobody) touched_.push_back(handle);
  }
}

void ResumableStream::Core::OnEnd(std::shared_ptr<ResumeLink> link, const absl::Status& status) {
  {
    MutexLock lock(&mutex_);
    ++busy_;
    links_.erase(std::find(links_.begin(), links_.end(), link));
    const Verdict verdict = Judge(status, /*pinned=*/false);
    const bool over = !cancelled_.ok() || (finished_ && in_flight_ == 0 && waits_ == 0);
    if (link->bound > 0 && !over) ++stats_.breaks;
    if (!link->served) endpoints_->MoveOn(link->address());
    Endpoint* const target = link->served && !link->leaving ? endpoints_->At(link->address()) : Next(*link);
    // One delay for all, so that they come back in one message.
    absl::Duration delay = absl::InfiniteDuration();
    for (const uint32_t handle : std::exchange(link->sessions, {})) {
      if (handle == ResumeLink::kNobody) continue;
      Entry* const entry = entries_[handle].get();
      if (verdict.recovery == Recovery::kFail) {
        End(entry, status);
      } else if (CountFailure(entry, status)) {
        if (delay == absl::InfiniteDuration()) delay = Delay(*entry, verdict);
        Rebind(entry, target, delay);
      }
    }
    ended_.push_back(std::move(link));
    changed_.SignalAll();
  }
  Deliver();
  MutexLock lock(&mutex_);
  --busy_;
  changed_.SignalAll();
}

}  // namespace lstmd::client
