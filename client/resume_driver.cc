// SPDX-License-Identifier: Apache-2.0
//
// What a resumable stream does by the clock, and the links it does it on.
#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/error.h"
#include "client/resume_core.h"

namespace lstmd::client {
namespace {

// Handles of one link end here; sessions that are bound after that get a new one.
constexpr size_t kMaxLinkHandles = 1 << 20;
// Waits in vain on a connection that says nothing at all, until it is given up.
constexpr int kSilences = 2;

}  // namespace

void ResumableStream::Core::Drive() {
  absl::Time next_tick = absl::Now() + tick_;
  while (true) {
    std::vector<std::shared_ptr<ResumeLink>> ended;
    std::vector<Doubt> doubts;
    {
      MutexLock lock(&mutex_);
      if (quit_ && notes_.empty()) return;
      ended.swap(ended_);
      doubts.swap(doubts_);
      absl::Time now = absl::Now();
      RunDue(now);
      if (now >= next_tick) {
        Tick(now);
        next_tick = now + tick_;
      }
      Flush();
      if ((notes_.empty() || delivering_) && ended.empty() && doubts.empty()) {
        absl::Time until = next_tick;
        if (!due_.empty()) until = std::min(until, due_.top().first);
        if (until > now) wake_.WaitFor(&mutex_, until - now);
        continue;
      }
    }
    Deliver();
    Settle(std::move(doubts));
  }
}

void ResumableStream::Core::Settle(std::vector<Doubt> doubts) {
  for (Doubt& doubt : doubts) {
    const std::unique_ptr<grpc::ClientContext> context = new_context_();
    context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(1));
    v1::CheckpointSessionRequest request;
    request.set_name(doubt.session);
    v1::Session session;
    doubt.answer = FromGrpc(doubt.endpoint->sessions->CheckpointSession(context.get(), request, &session));
  }
  MutexLock lock(&mutex_);
  for (const Doubt& doubt : doubts) {
    Entry* const entry = entries_[doubt.handle].get();
    if (entry == nullptr || entry->phase != Phase::kWaiting || entry->session != doubt.session) continue;
    // Without a store there is nobody else who could own it.
    if (doubt.answer.ok() || doubt.answer.code() == absl::StatusCode::kFailedPrecondition) entry->steps.ForgetEpoch();
    AddDue(entry, absl::Now() + Delay(*entry, Verdict()));
  }
}

void ResumableStream::Core::AddDue(Entry* entry, absl::Time due) {
  entry->due = due;
  due_.emplace(due, entry->handle);
  if (due_.top().second == entry->handle) wake_.SignalAll();
}

void ResumableStream::Core::RunDue(absl::Time now) {
  while (!due_.empty() && due_.top().first <= now) {
    const auto [time, handle] = due_.top();
    due_.pop();
    Entry* const entry = entries_[handle].get();
    if (entry == nullptr || entry->due != time) continue;  // it has gone another way since
    entry->due = absl::InfinitePast();
    if (entry->phase == Phase::kWaiting) {
      StartBind(entry);
    } else if (entry->phase == Phase::kPaused) {
      entry->phase = Phase::kLive;
      Pump(entry);
    }
  }
}

void ResumableStream::Core::Tick(absl::Time now) {
  for (size_t handle = 0; handle < entries_.size(); ++handle) {
    Entry* const entry = entries_[handle].get();
    if (entry == nullptr || entry->phase == Phase::kEnded || entry->phase == Phase::kIdle) continue;
    const bool late = entry->bound ? entry->bind_by <= now : !entry->steps.idle() && entry->steps.deadline() <= now;
    if (late) {
      std::string message =
          absl::StrCat(entry->bound ? absl::StrCat("bind of '", entry->session, "'")
                                    : absl::StrCat("step ", entry->steps.delivered() + 1, " of '", entry->session, "'"),
                       " had no answer within ", absl::FormatDuration(options_.timeout));
      if (!entry->error.ok()) absl::StrAppend(&message, "; the last error was: ", Describe(entry->error));
      End(entry, absl::DeadlineExceededError(message));
      continue;
    }
    const bool waits = entry->phase == Phase::kBinding || entry->phase == Phase::kDeleting ||
                       (entry->phase == Phase::kLive && entry->steps.in_flight());
    if (waits && now - entry->waiting_since >= options_.resend_after * (1 << std::min(entry->silences, 10))) {
      OnSilence(entry, now);
    }
  }
}

void ResumableStream::Core::OnSilence(Entry* entry, absl::Time now) {
  ResumeLink* const link = entry->link.get();
  if (!CountFailure(entry, absl::DeadlineExceededError("the server did not answer"))) return;
  ++entry->silences;
  if (entry->silences >= kSilences && link->heard < entry->waiting_since) {
    link->served = false;  // so that the next address is tried
    link->Cancel();        // and its end takes all sessions off it
    entry->waiting_since = now;
  } else if (entry->phase == Phase::kLive && !link->leaving) {
    Resend(entry);
  } else {
    Rebind(entry, link->leaving ? Next(*link) : endpoints_->At(link->address()), absl::ZeroDuration());
  }
}

std::shared_ptr<ResumeLink> ResumableStream::Core::LinkTo(Endpoint* endpoint) {
  for (const auto& link : links_) {
    if (link->address() == endpoint->address && !link->leaving && link->sessions.size() < kMaxLinkHandles) return link;
  }
  // The channel's own back-off is for callers that have none.
  grpc::experimental::ChannelResetConnectionBackoff(endpoint->channel.get());
  links_.push_back(ResumeLink::Open(*endpoint, new_context_(), this));
  links_.back()->heard = absl::Now();
  ++stats_.connects;
  return links_.back();
}

void ResumableStream::Core::StartBind(Entry* entry) {
  Endpoint* const endpoint = entry->target != nullptr ? entry->target : endpoints_->Current();
  entry->target = nullptr;
  entry->link = LinkTo(endpoint);
  entry->link_handle = static_cast<uint32_t>(entry->link->sessions.size());
  entry->link->sessions.push_back(entry->handle);
  ++entry->link->bound;
  // Once it was bound, a session that is not there any more was lost, and must not begin anew unnoticed.
  const bool create = entry->options.create_if_missing && entry->bound;
  entry->link->AddBind(entry->link_handle, entry->session, entry->options.epoch, create);
  entry->phase = Phase::kBinding;
  entry->waiting_since = absl::Now();
}

void ResumableStream::Core::Flush() {
  for (const auto& link : links_) link->Flush();
}

absl::Duration ResumableStream::Core::Delay(const Entry& entry, const Verdict& verdict) {
  return BackoffDelay(options_.backoff, std::max(entry.failures - 1, 0), verdict.retry_after,
                      std::uniform_real_distribution<double>(0, 1)(random_));
}

}  // namespace lstmd::client
