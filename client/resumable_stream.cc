// SPDX-License-Identifier: Apache-2.0
#include "client/resumable_stream.h"

#include <utility>

#include "client/blocking_calls.h"
#include "client/resume_core.h"

namespace lstmd::client {

ResumableStream::ResumableStream(std::shared_ptr<Endpoints> endpoints, NewContext new_context, ResumeOptions options)
    : core_(std::make_unique<Core>(std::move(endpoints), std::move(new_context), std::move(options))) {}

ResumableStream::~ResumableStream() = default;

void ResumableStream::Bind(const std::string& session, const BindOptions& options, BindCallback done) {
  core_->Bind(session, options, std::move(done));
}

absl::StatusOr<Binding> ResumableStream::Bind(const std::string& session, const BindOptions& options) {
  absl::StatusOr<std::vector<Binding>> bindings = BindAll(absl::MakeConstSpan(&session, 1), options);
  if (!bindings.ok()) return bindings.status();
  return std::move(bindings->front());
}

absl::StatusOr<std::vector<Binding>> ResumableStream::BindAll(absl::Span<const std::string> sessions,
                                                              const BindOptions& options) {
  return BindAllOf(core_.get(), sessions, options);
}

absl::Status ResumableStream::Unbind(uint32_t handle, bool delete_session) {
  return core_->Unbind(handle, delete_session);
}

absl::Status ResumableStream::Send(const Steps& steps, StepCallback done) {
  return core_->Send(steps, std::move(done), /*wait=*/true);
}

absl::Status ResumableStream::TrySend(const Steps& steps, StepCallback done) {
  return core_->Send(steps, std::move(done), /*wait=*/false);
}

std::future<absl::StatusOr<std::vector<float>>> ResumableStream::StepAsync(uint32_t handle,
                                                                           absl::Span<const float> input) {
  return StepAsyncOf(core_.get(), handle, input);
}

absl::StatusOr<std::vector<float>> ResumableStream::Step(uint32_t handle, absl::Span<const float> input) {
  if (core_->InCallback()) {
    return absl::FailedPreconditionError("Step was called from a callback, for which it would wait");
  }
  return StepAsync(handle, input).get();
}

absl::Status ResumableStream::Finish() { return core_->Finish(); }

void ResumableStream::Cancel() { core_->Cancel(); }

ResumeStats ResumableStream::stats() const { return core_->stats(); }

}  // namespace lstmd::client
