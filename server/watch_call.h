// SPDX-License-Identifier: Apache-2.0
//
// One WatchSessions call: events out, one message each, at most one write under way. What is not written yet waits in
// the engine's watch, whose size is bounded.
#ifndef LSTMD_SERVER_WATCH_CALL_H_
#define LSTMD_SERVER_WATCH_CALL_H_

#include <functional>
#include <memory>
#include <vector>

#include "engine/engine.h"
#include "engine/mutex.h"
#include "engine/session_events.h"
#include "grpcpp/support/server_callback.h"
#include "lstmd/v1/session_service.pb.h"
#include "server/context.h"
#include "server/stream_registry.h"

namespace lstmd::server {

v1::SessionEvent::Kind KindOf(SessionEventKind kind);
void ToProto(const SessionEvent& event, v1::SessionEvent* proto);

class WatchCall final : public grpc::ServerWriteReactor<v1::SessionEvent>, private DrainableStream {
 public:
  explicit WatchCall(const Context& context) : context_(context) {}
  // Begins to watch, and says so. Once, before the reactor is given to gRPC.
  void Start(std::function<bool(const Session&, SessionEventKind)> filter);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  void SendGoAway(absl::Time /*deadline*/, const std::string& /*new_address*/) override {}
  void StopReading() override;

  // Starts the next write, or the end, if it may be started now.
  void Advance();

  const Context& context_;
  Mutex mutex_;
  std::unique_ptr<SessionWatch> watch_ ABSL_GUARDED_BY(mutex_);
  std::vector<SessionEvent> taken_ ABSL_GUARDED_BY(mutex_);  // out of the watch, to be written
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;                  // of them
  v1::SessionEvent message_;                                 // gRPC's while writing_
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;    // the client is gone
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;  // the server drains
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_WATCH_CALL_H_
