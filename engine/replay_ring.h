// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_REPLAY_RING_H_
#define LSTMD_ENGINE_REPLAY_RING_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "engine/counters.h"

namespace lstmd {

// A reply to a sequenced step, kept so that a retry gets the same bytes.
struct Reply {
  uint64_t seq = 0;           // 0: nothing here
  std::vector<float> values;  // output, then h and c if they were asked for
  size_t output_size = 0;     // 0: no output was asked for
  size_t h_size = 0;          // 0: no state was asked for

  bool has_state() const { return h_size != 0; }
  absl::Span<const float> output() const { return absl::MakeConstSpan(values).first(output_size); }
  absl::Span<const float> h() const { return absl::MakeConstSpan(values).subspan(output_size, h_size); }
  absl::Span<const float> c() const { return absl::MakeConstSpan(values).subspan(output_size + h_size); }
};

// The latest replies of one session, up to a number and, since whole sequences may be large, up to a size; the latest
// one is kept whatever its size. Memory is taken as replies come, and used again. Not thread-safe.
class ReplayRing {
 public:
  static constexpr size_t kMaxBytes = 4 << 20;

  // REQUIRES: capacity >= 1.
  // What its memory grows or shrinks by is added to `total`, if there is one, which outlives it.
  explicit ReplayRing(uint32_t capacity, Gauge* total = nullptr) : capacity_(capacity), total_(total) {}
  ~ReplayRing() { Clear(); }
  ReplayRing(const ReplayRing&) = delete;
  ReplayRing& operator=(const ReplayRing&) = delete;

  // REQUIRES: seq is one more than that of the Put before, if any since Clear; h and c are both empty or both not.
  void Put(uint64_t seq, absl::Span<const float> output, absl::Span<const float> h, absl::Span<const float> c);
  // nullptr when it is not kept (any more).
  const Reply* Find(uint64_t seq) const;
  // Copies of what is kept of numbers above `seq`, ascending.
  std::vector<Reply> After(uint64_t seq) const;
  void Clear();
  size_t bytes() const { return bytes_; }

 private:
  void Drop(Reply& reply);
  // After each change.
  void Account();

  const uint32_t capacity_;
  std::vector<Reply> replies_;  // that of seq s at s % capacity_; grows to capacity_
  uint64_t oldest_ = 0;         // no reply before this one is kept
  size_t bytes_ = 0;            // capacity of all values
  size_t accounted_ = 0;        // this ring's part of *total_
  Gauge* const total_;
};

}  // namespace lstmd

#endif  // LSTMD_ENGINE_REPLAY_RING_H_
