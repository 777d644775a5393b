// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_CLIENT_WATCH_H_
#define LSTMD_CLIENT_WATCH_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/sync_stream.h"
#include "lstmd/v1/session_service.grpc.pb.h"

namespace lstmd::client {

// Events of sessions, as they happen: see lstmd.v1.SessionService.WatchSessions. One thread at a time calls Next; any
// may call Cancel.
class Watch {
 public:
  // Returns when the watch is on. Client::WatchSessions makes the arguments.
  static absl::StatusOr<std::unique_ptr<Watch>> Start(v1::SessionService::Stub* stub,
                                                      std::unique_ptr<grpc::ClientContext> context,
                                                      const v1::WatchSessionsRequest& request);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  // Waits for the next event but WATCHING. An error when the watch has ended: UNAVAILABLE when the server drains or is
  // lost, CANCELLED after Cancel. Then again the same.
  absl::StatusOr<v1::SessionEvent> Next();
  void Cancel() { context_->TryCancel(); }

 private:
  Watch(std::unique_ptr<grpc::ClientContext> context, std::unique_ptr<grpc::ClientReader<v1::SessionEvent>> reader)
      : context_(std::move(context)), reader_(std::move(reader)) {}
  absl::Status Finish();

  const std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientReader<v1::SessionEvent>> reader_;  // nullptr: finished
  absl::Status end_;
};

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_WATCH_H_
