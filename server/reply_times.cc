// SPDX-License-Identifier: Apache-2.0
#include "server/reply_times.h"

#include <utility>

#include "server/names.h"

namespace lstmd::server {

void ReplyTimes::Add(const Work& work, absl::Time received, absl::Time now, bool slow) {
  ++items_;
  if (groups_.empty() || groups_.back().received != received || groups_.back().ended != now ||
      groups_.back().counters != CountersOf(work)) {
    groups_.push_back({CountersOf(work), received, now, 0});
  }
  ++groups_.back().count;
  // Of those that came first: the one that ended last.
  const bool slower =
      items_ == 1 || received < slowest_.received || (received == slowest_.received && now > slowest_.ended);
  if (!slower) return;
  slowest_.received = received;
  slowest_.ended = now;
  if (!slow) return;
  slowest_.timing = work.timing;
  session_ = work.session;
  model_ = work.model;
}

void ReplyTimes::Take(ReplyTimes* other) {
  std::swap(*this, *other);
  other->Clear();
}

std::optional<RequestTimes> ReplyTimes::Written(absl::Time now, const SlowLog& log) {
  for (const Group& group : groups_) {
    group.counters->reply.Add(ToTicks(now - group.ended), group.count);
    group.counters->total.Add(ToTicks(now - group.received), group.count);
  }
  std::optional<RequestTimes> slow;
  if (!groups_.empty() && log.IsSlow(now - slowest_.received)) {
    slow = slowest_;
    slow->written = now;
    slow->items = items_;
    slow->subject = SubjectOf(session_.get(), model_.get());
  }
  Clear();
  return slow;
}

void ReplyTimes::Clear() {
  groups_.clear();
  items_ = 0;
  session_.reset();
  model_.reset();
}

std::string SubjectOf(const Session* session, const Model* model) {
  if (session != nullptr) return FormatSessionName(NameOf(ModelOf(*session)), IdOf(*session));
  return model == nullptr ? std::string() : FormatModelName(NameOf(*model));
}

}  // namespace lstmd::server
