// SPDX-License-Identifier: Apache-2.0
#include "client/resume_session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace lstmd::client {

absl::Status ResumeSession::Resume(const v1::Session& session, ResumeCounts* counts) {
  const uint64_t last = session.last_seq();
  periodic_ = session.durability() == v1::Session::PERIODIC;
  if (uid_.empty()) {
    uid_ = session.uid();
    epoch_ = session.epoch();
    base_ = last + 1;
    next_ = base_;
    delivered_ = answered_ = applied_ = sent_ = last;
    durable_ = session.durable_seq();
    return absl::OkStatus();
  }
  if (session.uid() != uid_) {
    return absl::AbortedError(absl::StrCat("'", session.name(), "' ended, and another session has its name now"));
  }
  if (last > sent_) {
    return absl::AbortedError(absl::StrCat("'", session.name(), "' is at step ", last,
                                           " and this stream has sent only ", sent_, ": somebody else steps it"));
  }
  if (last < durable_) {
    return absl::AbortedError(absl::StrCat("'", session.name(), "' is at step ", last, ", before step ", durable_,
                                           ", which was safe: somebody else has reset it"));
  }
  if (last + 1 < base_) {
    return absl::DataLossError(absl::StrCat("'", session.name(), "' was restored at step ", last, ", ", delivered_,
                                            " were answered, and only the inputs from step ", base_,
                                            " on are still kept"));
  }
  epoch_ = session.epoch();
  applied_ = last;
  durable_ = std::max(durable_, session.durable_seq());
  next_ = settled() + 1;
  if (delivered_ > last) counts->replays += delivered_ - last;
  Trim();
  return absl::OkStatus();
}

void ResumeSession::Append(std::shared_ptr<SentSteps> steps, uint32_t index, absl::Time deadline) {
  Step& step = kept_.emplace_back();
  step.steps = std::move(steps);
  step.index = index;
  step.deadline = deadline;
}

std::optional<ResumeSession::Outgoing> ResumeSession::NextToSend(ResumeCounts* counts) {
  while (next_ < end() && next_ <= settled() + window_) {
    Step& step = at(next_);
    const bool known = next_ <= delivered_ || step.answer != nullptr;
    if (next_ <= applied_ && known) {
      ++next_;
      continue;
    }
    if (++step.sends > 1 && next_ > delivered_) ++counts->resends;
    sent_ = std::max(sent_, next_);
    return Outgoing{step.steps.get(), step.index, next_++};
  }
  return std::nullopt;
}

absl::Status ResumeSession::Answer(Delivery answer, ResumeCounts* counts, std::vector<Delivery>* deliveries) {
  const uint64_t seq = answer.result.seq;
  if (seq == 0 || seq > sent_) {
    return absl::InternalError(absl::StrCat("the server answered step ", seq, ", which was not sent"));
  }
  const bool again = seq <= applied_;
  applied_ = std::max(applied_, seq);
  answered_ = std::max(answered_, seq);
  next_ = std::max(next_, settled() + 1);
  if (seq <= delivered_ || at(seq).answer != nullptr) {
    if (again) ++counts->duplicates;  // otherwise it is the answer to a replay
    return absl::OkStatus();
  }
  Step& step = at(seq);
  if (answer.result.replayed && step.sends == 1) {
    return absl::AbortedError(
        absl::StrCat("step ", seq, " was taken before this stream sent it: somebody else steps the session"));
  }
  answer.steps = step.steps;
  answer.result.index = step.index;
  step.answer = std::make_unique<Delivery>(std::move(answer));
  while (delivered_ + 1 < end() && at(delivered_ + 1).answer != nullptr) {
    deliveries->push_back(std::move(*at(++delivered_).answer));
    at(delivered_).answer.reset();
  }
  next_ = std::max(next_, settled() + 1);
  Trim();
  return absl::OkStatus();
}

void ResumeSession::Durable(uint64_t seq) {
  if (seq <= durable_) return;
  durable_ = seq;
  Trim();
}

void ResumeSession::Rewind(uint64_t seq) { next_ = std::clamp(seq, settled() + 1, next_); }

void ResumeSession::Fail(const absl::Status& status, std::vector<Delivery>* deliveries) {
  for (uint64_t seq = delivered_ + 1; seq < end(); ++seq) {
    Delivery delivery;
    delivery.steps = std::move(at(seq).steps);
    delivery.result.status = status;
    delivery.result.index = at(seq).index;
    delivery.result.seq = seq;
    deliveries->push_back(std::move(delivery));
  }
  kept_.clear();
  base_ = next_ = delivered_ + 1;
}

void ResumeSession::Trim() {
  uint64_t keep_from = delivered_ + 1;
  if (periodic_) {
    keep_from = std::min(delivered_, durable_) + 1;
    if (delivered_ >= max_replay_) keep_from = std::max(keep_from, delivered_ - max_replay_ + 1);
  }
  while (base_ < keep_from) {
    kept_.pop_front();
    ++base_;
  }
}

}  // namespace lstmd::client
