// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_REPLY_TIMES_H_
#define LSTMD_SERVER_REPLY_TIMES_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/container/inlined_vector.h"
#include "absl/time/time.h"
#include "engine/model_counters.h"
#include "engine/work.h"
#include "server/slow_log.h"

namespace lstmd::server {

// The work that one reply answers: of a unary call, or of one message of a stream. Collects while work ends, and counts
// the parts that only the server knows (reply, total) once the reply is written. Not thread-safe.
class ReplyTimes {
 public:
  // Work that arrived at `received` has ended OK at `now`. `slow`: keep what the slow-request log would say of it.
  void Add(const Work& work, absl::Time received, absl::Time now, bool slow);
  // Moves what `other` has here; `other` is empty then. REQUIRES: this is empty.
  void Take(ReplyTimes* other);
  // The transport has taken the reply: counts, and forgets the work. Returns the times of what waited longest, if that
  // is slow.
  std::optional<RequestTimes> Written(absl::Time now, const SlowLog& log);
  void Clear();
  bool empty() const { return groups_.empty(); }

 private:
  // Works of one model that came and ended together.
  struct Group {
    std::shared_ptr<ModelCounters> counters;
    absl::Time received;
    absl::Time ended;
    uint64_t count = 0;
  };

  absl::InlinedVector<Group, 2> groups_;
  uint64_t items_ = 0;
  RequestTimes slowest_;              // without written
  std::shared_ptr<Session> session_;  // of slowest_
  std::shared_ptr<Model> model_;
};

// "models/m/sessions/s" or "models/m".
std::string SubjectOf(const Session* session, const Model* model);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_REPLY_TIMES_H_
