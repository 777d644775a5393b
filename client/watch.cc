// SPDX-License-Identifier: Apache-2.0
#include "client/watch.h"

#include <utility>

#include "client/error.h"

namespace lstmd::client {

absl::StatusOr<std::unique_ptr<Watch>> Watch::Start(v1::SessionService::Stub* stub,
                                                    std::unique_ptr<grpc::ClientContext> context,
                                                    const v1::WatchSessionsRequest& request) {
  auto reader = stub->WatchSessions(context.get(), request);
  std::unique_ptr<Watch> watch(new Watch(std::move(context), std::move(reader)));
  const absl::StatusOr<v1::SessionEvent> first = watch->Next();
  if (!first.ok()) return first.status();
  return watch;
}

Watch::~Watch() {
  context_->TryCancel();
  Finish().IgnoreError();
}

absl::StatusOr<v1::SessionEvent> Watch::Next() {
  v1::SessionEvent event;
  if (reader_ != nullptr && reader_->Read(&event)) return event;
  return Finish();
}

absl::Status Watch::Finish() {
  if (reader_ == nullptr) return end_;
  v1::SessionEvent event;
  while (reader_->Read(&event)) {
  }
  end_ = FromGrpc(reader_->Finish());
  if (end_.ok()) end_ = absl::UnavailableError("the server ended the watch");
  reader_.reset();
  return end_;
}

}  // namespace lstmd::client
