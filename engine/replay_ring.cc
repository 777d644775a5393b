// SPDX-License-Identifier: Apache-2.0
#include "engine/replay_ring.h"

#include <algorithm>

namespace lstmd {

void ReplayRing::Put(uint64_t seq, absl::Span<const float> output, absl::Span<const float> h,
                     absl::Span<const float> c) {
  const size_t index = seq % capacity_;
  if (index >= replies_.size()) replies_.resize(index + 1);
  if (oldest_ == 0) oldest_ = seq;

  Reply& reply = replies_[index];
  bytes_ -= reply.values.capacity() * sizeof(float);
  reply.seq = seq;
  reply.output_size = output.size();
  reply.h_size = h.size();
  reply.values.clear();
  reply.values.reserve(output.size() + h.size() + c.size());
  reply.values.insert(reply.values.end(), output.begin(), output.end());
  reply.values.insert(reply.values.end(), h.begin(), h.end());
  reply.values.insert(reply.values.end(), c.begin(), c.end());
  bytes_ += reply.values.capacity() * sizeof(float);

  if (seq >= capacity_ && oldest_ <= seq - capacity_) oldest_ = seq - capacity_ + 1;
  for (; bytes_ > kMaxBytes && oldest_ < seq; ++oldest_) Drop(replies_[oldest_ % capacity_]);
  Account();
}

const Reply* ReplayRing::Find(uint64_t seq) const {
  const size_t index = seq % capacity_;
  if (seq == 0 || index >= replies_.size() || replies_[index].seq != seq) return nullptr;
  return &replies_[index];
}

std::vector<Reply> ReplayRing::After(uint64_t seq) const {
  std::vector<Reply> found;
  for (const Reply& reply : replies_) {
    if (reply.seq > seq) found.push_back(reply);
  }
  std::sort(found.begin(), found.end(), [](const Reply& a, const Reply& b) { return a.seq < b.seq; });
  return found;
}

void ReplayRing::Clear() {
  replies_.clear();
  replies_.shrink_to_fit();
  oldest_ = 0;
  bytes_ = 0;
  Account();
}

void ReplayRing::Account() {
  if (total_ == nullptr) return;
  const size_t now = bytes_ + replies_.capacity() * sizeof(Reply);
  if (now != accounted_) total_->Add(static_cast<int64_t>(now) - static_cast<int64_t>(accounted_));
  accounted_ = now;
}

void ReplayRing::Drop(Reply& reply) {
  bytes_ -= reply.values.capacity() * sizeof(float);
  reply = Reply();
}

}  // namespace lstmd
