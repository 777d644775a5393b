// SPDX-License-Identifier: Apache-2.0
//
// Sessions and their states between the wire and the engine.
#ifndef LSTMD_SERVER_CONVERT_SESSION_H_
#define LSTMD_SERVER_CONVERT_SESSION_H_

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "lstmd/v1/inference_service.pb.h"
#include "lstmd/v1/session_service.pb.h"

namespace lstmd::server {

// `spec` is needed where info.state is set.
void ToProto(const SessionInfo& info, const ModelSpec* spec, v1::Session* proto);

void ToProto(const Timing& timing, v1::Timing* proto);

// INVALID_ARGUMENT / TENSOR_* with fields "h.shape" …; always float32 afterwards.
absl::StatusOr<StateValues> FromProto(const v1::LstmState& state, const ModelSpec& spec);

// INVALID_ARGUMENT / DURATION when negative or out of range.
absl::StatusOr<absl::Duration> FromProto(const google::protobuf::Duration& proto);
// INVALID_ARGUMENT / TIMESTAMP when out of range.
absl::StatusOr<absl::Time> FromProto(const google::protobuf::Timestamp& proto);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_CONVERT_SESSION_H_
