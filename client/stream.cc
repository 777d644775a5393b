// SPDX-License-Identifier: Apache-2.0
#include "client/stream.h"

#include <utility>

#include "client/blocking_calls.h"
#include "client/stream_core.h"

namespace lstmd::client {

Stream::Stream(std::shared_ptr<v1::InferenceService::Stub> stub, std::unique_ptr<grpc::ClientContext> context,
               StreamOptions options)
    : core_(std::make_unique<Core>(std::move(stub), std::move(context), std::move(options))) {}

Stream::~Stream() = default;

void Stream::Bind(const std::string& session, const BindOptions& options, BindCallback done) {
  core_->Bind(session, options, std::move(done));
}

absl::StatusOr<Binding> Stream::Bind(const std::string& session, const BindOptions& options) {
  absl::StatusOr<std::vector<Binding>> bindings = BindAll(absl::MakeConstSpan(&session, 1), options);
  if (!bindings.ok()) return bindings.status();
  return std::move(bindings->front());
}

absl::StatusOr<std::vector<Binding>> Stream::BindAll(absl::Span<const std::string> sessions,
                                                     const BindOptions& options) {
  return BindAllOf(core_.get(), sessions, options);
}

absl::Status Stream::Unbind(uint32_t handle, bool delete_session) { return core_->Unbind(handle, delete_session); }

absl::Status Stream::Send(const Steps& steps, StepCallback done) {
  return core_->Send(steps, std::move(done), /*wait=*/true);
}

absl::Status Stream::TrySend(const Steps& steps, StepCallback done) {
  return core_->Send(steps, std::move(done), /*wait=*/false);
}

std::future<absl::StatusOr<std::vector<float>>> Stream::StepAsync(uint32_t handle, absl::Span<const float> input) {
  return StepAsyncOf(core_.get(), handle, input);
}

absl::StatusOr<std::vector<float>> Stream::Step(uint32_t handle, absl::Span<const float> input) {
  if (core_->InCallback()) {
    return absl::FailedPreconditionError("Step was called from a callback, for which it would wait");
  }
  return StepAsync(handle, input).get();
}

absl::Status Stream::Finish() { return core_->Finish(); }

void Stream::Cancel() { core_->Cancel(); }

}  // namespace lstmd::client
