// SPDX-License-Identifier: Apache-2.0
//
// One session of a ResumableStream, without threads, clocks or wire: which steps it keeps, which number each has, what
// to send next, and what a server's word about the session means.
//
// Steps stand in one queue in the order of their numbers, which never change:
//
//   kept for a restart | delivered to the caller |  sent  | not sent
//   base_ ...            ... delivered_            ... next_ ... end
//
// A number is given when a step is taken in, and a step that cannot be answered ends the session for this stream, so
// that a number never stands for two inputs. Sending again is moving next_ back.
#ifndef LSTMD_CLIENT_RESUME_SESSION_H_
#define LSTMD_CLIENT_RESUME_SESSION_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/stream.h"

namespace lstmd::client {

// What one Send gave, shared by its steps.
struct SentSteps {
  StepCallback done;
  std::vector<float> input;  // [K, I], or [K, T, I]
  size_t step_floats = 0;    // of one of the K
  uint32_t time_steps = 0;
  bool return_state = false;

  absl::Span<const float> InputOf(uint32_t index) const {
    return absl::MakeConstSpan(input).subspan(index * step_floats, step_floats);
  }
};

// A result for the caller. `keeper` owns what `result` points to.
struct Delivery {
  std::shared_ptr<SentSteps> steps;
  StepResult result;
  std::shared_ptr<const void> keeper;
};

// What happened to the steps of one session, or of a stream.
struct ResumeCounts {
  uint64_t resends = 0;     // steps sent again before they were answered
  uint64_t replays = 0;     // steps sent again that the caller had the answer of: the server had lost them
  uint64_t duplicates = 0;  // answers that were dropped because they had been given
};

// Not thread-safe.
class ResumeSession {
 public:
  // `window`: most steps sent and not delivered. `max_replay`: most delivered steps kept for a restart.
  ResumeSession(uint32_t window, size_t max_replay) : window_(window), max_replay_(max_replay) {}

  // The owner said where the session stands (see IsStale). The first time that is where it starts. Afterwards what must
  // be sent again is sent again; not OK when the stream cannot go on from there:
  //   ABORTED    it is another session of that name, or somebody else stepped or reset it
  //   DATA_LOSS  the server lost more steps than are kept here
  absl::Status Resume(const v1::Session& session, ResumeCounts* counts);

  // Whether `session` is in an earlier epoch than this stream has seen it in: a server that was the owner once, and has
  // not heard that it is not any more.
  bool IsStale(const v1::Session& session) const { return session.uid() == uid_ && session.epoch() < epoch_; }
  // What the server says about the epoch was checked with its store.
  void ForgetEpoch() { epoch_ = 0; }

  // Takes in a step. REQUIRES: Resume was called.
  void Append(std::shared_ptr<SentSteps> steps, uint32_t index, absl::Time deadline);

  struct Outgoing {
    const SentSteps* steps;
    uint32_t index;
    uint64_t seq;
  };
  // The next step to be sent, which then counts as sent; nullopt when there is none or the window is full.
  std::optional<Outgoing> NextToSend(ResumeCounts* counts);

  // An answer. Appends what can be delivered now. Not OK when nobody but this stream may step the session and somebody
  // did (ABORTED), or the answer is of a step that was never sent (INTERNAL).
  absl::Status Answer(Delivery answer, ResumeCounts* counts, std::vector<Delivery>* deliveries);
  // The server said that all up to `seq` is in its store.
  void Durable(uint64_t seq);

  // All from `seq` on that was sent is to be sent again.
  void Rewind(uint64_t seq);
  // Same, from the first step that waits for an answer.
  void RewindUnanswered() { Rewind(settled() + 1); }
  // Takes out every step that was not delivered, with `status` for each.
  void Fail(const absl::Status& status, std::vector<Delivery>* deliveries);

  // Sent, and an answer is missing.
  bool in_flight() const { return next_ > settled() + 1; }
  // Every step taken in was delivered.
  bool idle() const { return delivered_ + 1 == end(); }
  // An answer came while one before it is missing: on one stream that one was lost.
  bool has_gap() const { return delivered_ + 1 < end() && answered_ > delivered_; }
  // Of the oldest step that was not delivered. REQUIRES: !idle().
  absl::Time deadline() const { return kept_[delivered_ + 1 - base_].deadline; }
  uint64_t delivered() const { return delivered_; }
  uint64_t sent() const { return sent_; }
  size_t kept() const { return kept_.size(); }

 private:
  struct Step {
    std::shared_ptr<SentSteps> steps;
    uint32_t index = 0;
    uint32_t sends = 0;
    absl::Time deadline;
    std::unique_ptr<Delivery> answer;  // came before that of an earlier step
  };

  Step& at(uint64_t seq) { return kept_[seq - base_]; }
  uint64_t end() const { return base_ + kept_.size(); }
  // Up to here nothing is missing, at the caller and at the server.
  uint64_t settled() const { return std::min(delivered_, applied_); }
  void Trim();

  const uint32_t window_;
  const size_t max_replay_;
  std::string uid_;
  uint64_t epoch_ = 0;
  bool periodic_ = false;
  std::deque<Step> kept_;
  uint64_t base_ = 1;       // number of kept_.front()
  uint64_t delivered_ = 0;  // up to here
  uint64_t answered_ = 0;   // the highest answer
  uint64_t applied_ = 0;    // the highest that the server is known to have applied, as it is now
  uint64_t durable_ = 0;    // the highest that is in the store
  uint64_t sent_ = 0;       // the highest that was ever sent
  uint64_t next_ = 1;
};

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_RESUME_SESSION_H_
