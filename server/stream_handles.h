// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_STREAM_HANDLES_H_
#define LSTMD_SERVER_STREAM_HANDLES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "lstmd/v1/inference_service.pb.h"
#include "server/caller.h"
#include "server/context.h"
#include "server/step_item.h"
#include "server/stream_frame.h"

namespace lstmd::server {

// The sessions that a stream has bound to its handles. Only the stream's reader uses it: not thread-safe.
class StreamHandles {
 public:
  StreamHandles(const Context& context, Caller caller) : context_(context), caller_(std::move(caller)) {}

  // Fields relative to Bind. On success `bound` is filled in but for max_in_flight, and `watch` follows the session.
  absl::Status Bind(const v1::Bind& bind, Lookup lookup, SessionWatch* watch, v1::Bound* bound);
  // The session that was bound; no longer followed. HANDLE_UNBOUND with field "handle".
  absl::StatusOr<std::shared_ptr<Session>> Unbind(uint32_t handle, SessionWatch* watch);

  // Turns the blocks of frame->request into frame->batch, and those steps that cannot be into frame->refusals. Fields
  // are relative to StreamStepsRequest. Leaves `sink` to who calls, and the batch's share of the quota (Caller::Leave).
  void Decode(StreamFrame* frame) const;

 private:
  struct Binding {
    std::shared_ptr<Session> session;
    const ModelSpec* spec = nullptr;
    uint64_t epoch = 0;  // fences every step; 0: any
  };

  // Takes the batch from the caller's quota, or refuses all of it.
  void Charge(StreamFrame* frame) const;
  absl::Status CheckBlock(const v1::StepBlock& block, TensorView* input) const;
  absl::Status DecodeStep(const v1::StepBlock& block, int index, const TensorView& input, const float* floats,
                          ReplyBudget* budget, StreamFrame* frame) const;

  const Context& context_;
  const Caller caller_;
  absl::flat_hash_map<uint32_t, Binding> bindings_;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_STREAM_HANDLES_H_
