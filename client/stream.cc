// SPDX-License-Identifier: Apache-2.0
#include "client/stream.h"

#include <utility>

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
  if (core_->InCallback()) {
    return absl::FailedPreconditionError("Bind was called from a callback, for which it would wait");
  }
  struct Pending {
    Mutex mutex;
    CondVar changed;
    size_t open ABSL_GUARDED_BY(mutex);
    absl::Status status ABSL_GUARDED_BY(mutex);
    std::vector<Binding> bindings;
  } pending;
  {
    MutexLock lock(&pending.mutex);
    pending.open = sessions.size();
    pending.bindings.resize(sessions.size());
  }
  for (size_t i = 0; i < sessions.size(); ++i) {
    core_->Bind(sessions[i], options, [&pending, i](absl::StatusOr<Binding> binding) {
      MutexLock lock(&pending.mutex);
      if (binding.ok()) {
        pending.bindings[i] = *std::move(binding);
      } else if (pending.status.ok()) {
        pending.status = binding.status();
      }
      if (--pending.open == 0) pending.changed.SignalAll();
    });
  }
  MutexLock lock(&pending.mutex);
  while (pending.open > 0) pending.changed.Wait(&pending.mutex);
  if (!pending.status.ok()) return pending.status;
  return std::move(pending.bindings);
}

absl::Status Stream::Unbind(uint32_t handle, bool delete_session) { return core_->Unbind(handle, delete_session); }

absl::Status Stream::Send(const Steps& steps, StepCallback done) {
  return core_->Send(steps, std::move(done), /*wait=*/true);
}

absl::Status Stream::TrySend(const Steps& steps, StepCallback done) {
  return core_->Send(steps, std::move(done), /*wait=*/false);
}

std::future<absl::StatusOr<std::vector<float>>> Stream::StepAsync(uint32_t handle, absl::Span<const float> input) {
  auto promise = std::make_shared<std::promise<absl::StatusOr<std::vector<float>>>>();
  std::future<absl::StatusOr<std::vector<float>>> future = promise->get_future();
  Steps steps;
  steps.handles = absl::MakeConstSpan(&handle, 1);
  steps.input = input;
  const absl::Status sent = Send(steps, [promise](const StepResult& result) {
    if (result.status.ok()) {
      promise->set_value(std::vector<float>(result.output.begin(), result.output.end()));
    } else {
      promise->set_value(result.status);
    }
  });
  if (!sent.ok()) promise->set_value(sent);
  return future;
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
