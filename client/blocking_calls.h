// SPDX-License-Identifier: Apache-2.0
//
// The calls of Stream and ResumableStream that wait, over those that do not.
#ifndef LSTMD_CLIENT_BLOCKING_CALLS_H_
#define LSTMD_CLIENT_BLOCKING_CALLS_H_

#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/mutex.h"
#include "client/stream.h"

namespace lstmd::client {

// `core` has Bind(session, options, done), which calls `done` once.
template <typename Core>
absl::StatusOr<std::vector<Binding>> BindAllOf(Core* core, absl::Span<const std::string> sessions,
                                               const BindOptions& options) {
  if (core->InCallback()) {
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
    core->Bind(sessions[i], options, [&pending, i](absl::StatusOr<Binding> binding) {
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

// `core` has Send(steps, done, wait).
template <typename Core>
std::future<absl::StatusOr<std::vector<float>>> StepAsyncOf(Core* core, uint32_t handle,
                                                            absl::Span<const float> input) {
  auto promise = std::make_shared<std::promise<absl::StatusOr<std::vector<float>>>>();
  std::future<absl::StatusOr<std::vector<float>>> future = promise->get_future();
  Steps steps;
  steps.handles = absl::MakeConstSpan(&handle, 1);
  steps.input = input;
  const absl::Status sent = core->Send(
      steps,
      [promise](const StepResult& result) {
        if (result.status.ok()) {
          promise->set_value(std::vector<float>(result.output.begin(), result.output.end()));
        } else {
          promise->set_value(result.status);
        }
      },
      /*wait=*/true);
  if (!sent.ok()) promise->set_value(sent);
  return future;
}

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_BLOCKING_CALLS_H_
