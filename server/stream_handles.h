// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_STREAM_HANDLES_H_
#define LSTMD_SERVER_STREAM_HANDLES_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "lstmd/v1/inference_service.pb.h"
#include "server/context.h"
#include "server/step_item.h"
#include "server/stream_frame.h"

namespace lstmd::server {

// The sessions that a stream has bound to its handles. Only the stream's reader uses it: not thread-safe.
class StreamHandles {
 public:
  explicit StreamHandles(const Context& context) : context_(context) {}

  // Fields relative to Bind. On success `bound` is filled in but for max_in_flight.
  absl::Status Bind(const v1::Bind& bind, v1::Bound* bound);
  // The session that was bound. HANDLE_UNBOUND with field "handle".
  absl::StatusOr<std::shared_ptr<Session>> Unbind(uint32_t handle);

  // Turns the blocks of frame->request into frame->batch, and those steps that cannot be into frame->refusals. Fields
  // are relative to StreamStepsRequest. Leaves `sink` to the caller.
  void Decode(StreamFrame* frame) const;

 private:
  struct Binding {
    std::shared_ptr<Session> session;
    const ModelSpec* spec = nullptr;
    uint64_t epoch = 0;  // fences every step; 0: any
  };

  absl::Status CheckBlock(const v1::StepBlock& block, TensorView* input) const;
  absl::Status DecodeStep(const v1::StepBlock& block, int index, const TensorView& input, const float* floats,
                          ReplyBudget* budget, StreamFrame* frame) const;

  const Context& context_;
  absl::flat_hash_map<uint32_t, Binding> bindings_;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_STREAM_HANDLES_H_
