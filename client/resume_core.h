// SPDX-License-Identifier: Apache-2.0
//
// What is behind ResumableStream. Three kinds of threads meet under one lock: callers, gRPC's (replies and ends of
// links), and one of its own, the driver, which does what is due at a time: bind after a back-off, send again, give up.
//
// A session (Entry) is live on at most one link, under a handle of that link that no other session ever has, so that a
// late reply of an earlier life finds nobody. Within one life, rounds tell failures apart: sending again begins a new
// round, and failures of steps of earlier rounds mean nothing any more. Results are good whatever their round, for a
// number stands for one input.
//
// What callers are to hear is queued under the lock and handed out without it, by one thread at a time.
#ifndef LSTMD_CLIENT_RESUME_CORE_H_
#define LSTMD_CLIENT_RESUME_CORE_H_

#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "client/endpoints.h"
#include "client/mutex.h"
#include "client/recovery.h"
#include "client/resumable_stream.h"
#include "client/resume_link.h"
#include "client/resume_session.h"

namespace lstmd::client {

class ResumableStream::Core final : private ResumeLink::Owner {
 public:
  Core(std::shared_ptr<Endpoints> endpoints, NewContext new_context, ResumeOptions options);
  ~Core();

  void Bind(const std::string& session, const BindOptions& options, BindCallback done);
  absl::Status Unbind(uint32_t handle, bool delete_session);
  absl::Status Send(const Steps& steps, StepCallback done, bool wait);
  absl::Status Finish();
  void Cancel();
  ResumeStats stats() const;
  // The calling thread is in a callback of this stream and must not wait for it.
  bool InCallback() const { return calling_ == this; }

 private:
  enum class Phase {
    kIdle,      // has no link, and needs none
    kWaiting,   // to be bound at `due`
    kBinding,   // on a link, not answered
    kLive,      // on a link; steps are sent
    kPaused,    // on a link; steps are sent again from `due` on
    kDeleting,  // on a link, which is to delete it
    kEnded,     // failed, with `error`
  };
  struct Entry {
    Entry(std::string session, const BindOptions& options, const ResumeOptions& limits)
        : session(std::move(session)),
          options(options),
          steps(std::max<uint32_t>(limits.max_in_flight_per_session, 1), limits.max_replay) {}
    const std::string session;
    const BindOptions options;
    Phase phase = Phase::kIdle;
    uint32_t handle = 0;
    BindCallback bound;  // until the first bind is answered
    uint32_t input_size = 0;
    ResumeSession steps;
    std::shared_ptr<ResumeLink> link;
    uint32_t link_handle = 0;
    uint64_t round = 1;
    Endpoint* target = nullptr;  // where to bind; nullptr: the current one
    absl::Time due;
    absl::Time bind_by;           // of the first bind
    absl::Time waiting_since;     // nothing was answered since
    int failures = 0;             // since the last answer
    int silences = 0;             // times that it was waited in vain since the last answer
    size_t not_found = 0;         // addresses in a row that do not have it
    uint64_t gap = 0;             // the missing answer that was asked for at once
    bool unbinding = false;       // as soon as it is idle
    bool delete_session = false;  // then
    absl::Status error;           // the last one
  };
  // What a caller is to hear.
  struct Note {
    Delivery delivery;           // of a step, or
    std::function<void()> call;  // anything else
  };
  // A session at a server that may not own it any more.
  struct Doubt {
    uint32_t handle;
    Endpoint* endpoint;
    std::string session;
    absl::Status answer;
  };
  using Due = std::pair<absl::Time, uint32_t>;

  void OnReply(ResumeLink* link, std::shared_ptr<Reply> reply) override;
  void OnEnd(std::shared_ptr<ResumeLink> link, const absl::Status& status) override;

  // Replies. `touched_` collects those that may have something to send or to finish.
  void OnBound(ResumeLink* link, const v1::Bound& bound) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnResults(ResumeLink* link, const std::shared_ptr<Reply>& reply) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnFailure(ResumeLink* link, const v1::StepFailure& failure) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnBindFailure(Entry* entry, const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnEvent(const v1::SessionEvent& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnGoAway(ResumeLink* link, const v1::GoAway& go_away) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // --- What one session does ---
  // Sends what can be sent, or sees to it that it will be.
  void Pump(Entry* entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // One more failure, or the end when that was one too many (false).
  bool CountFailure(Entry* entry, const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Sends again from `seq` on, after `delay`.
  void Pause(Entry* entry, uint64_t seq, absl::Duration delay) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Resend(Entry* entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Off its link, and bound again at `target` when it needs to be.
  void Rebind(Entry* entry, Endpoint* target, absl::Duration delay) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void StartBind(Entry* entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Off its link, which is told where that makes a difference.
  void Detach(Entry* entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void End(Entry* entry, const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Asks the server to delete it.
  void Delete(Entry* entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Free(Entry* entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Duration Delay(const Entry& entry, const Verdict& verdict) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool NeedsLink(const Entry& entry) const { return entry.bound || !entry.steps.idle() || entry.unbinding; }

  // Where sessions go that cannot stay at this server.
  Endpoint* Next(const ResumeLink& link) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Entry* Find(const ResumeLink& link, uint32_t link_handle) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::shared_ptr<ResumeLink> LinkTo(Endpoint* endpoint) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Flush() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Why nothing can be sent any more, or OK.
  absl::Status Sendable() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // --- The driver ---
  // Has servers look at their store, which tells those that own a session no more; it is then bound again.
  void Settle(std::vector<Doubt> doubts) ABSL_LOCKS_EXCLUDED(mutex_);
  void Drive();
  void AddDue(Entry* entry, absl::Time due) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RunDue(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Looks at every session: deadlines, and answers that do not come.
  void Tick(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnSilence(Entry* entry, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Hands out notes_ unless another thread does.
  void Deliver() ABSL_LOCKS_EXCLUDED(mutex_);

  static thread_local const Core* calling_;

  const std::shared_ptr<Endpoints> endpoints_;
  const NewContext new_context_;
  const ResumeOptions options_;
  const absl::Duration tick_;

  mutable Mutex mutex_;
  CondVar changed_;                                                      // anything that a caller may wait for
  CondVar wake_;                                                         // the driver
  std::vector<std::unique_ptr<Entry>> entries_ ABSL_GUARDED_BY(mutex_);  // by handle
  std::vector<uint32_t> free_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<ResumeLink>> links_ ABSL_GUARDED_BY(mutex_);  // that have not ended
  std::vector<std::shared_ptr<ResumeLink>> ended_ ABSL_GUARDED_BY(mutex_);  // for the driver to destroy
  std::priority_queue<Due, std::vector<Due>, std::greater<Due>> due_ ABSL_GUARDED_BY(mutex_);
  std::vector<Doubt> doubts_ ABSL_GUARDED_BY(mutex_);
  std::multimap<std::string, uint32_t> deleting_ ABSL_GUARDED_BY(mutex_);  // session -> handle
  std::vector<Note> notes_ ABSL_GUARDED_BY(mutex_);
  std::vector<Delivery> deliveries_ ABSL_GUARDED_BY(mutex_);  // scratch
  std::vector<uint32_t> touched_ ABSL_GUARDED_BY(mutex_);     // scratch
  std::minstd_rand random_ ABSL_GUARDED_BY(mutex_);
  ResumeStats stats_ ABSL_GUARDED_BY(mutex_);
  ResumeCounts counts_ ABSL_GUARDED_BY(mutex_);
  uint32_t in_flight_ ABSL_GUARDED_BY(mutex_) = 0;  // steps taken in whose callback was not called
  size_t waits_ ABSL_GUARDED_BY(mutex_) = 0;        // binds and unbinds that are not done
  int busy_ ABSL_GUARDED_BY(mutex_) = 0;            // gRPC threads in OnReply and OnEnd
  bool delivering_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool quit_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status cancelled_ ABSL_GUARDED_BY(mutex_);
  absl::Status first_error_ ABSL_GUARDED_BY(mutex_);
  std::thread driver_;
};

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_RESUME_CORE_H_
