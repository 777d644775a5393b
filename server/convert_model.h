// SPDX-License-Identifier: Apache-2.0
//
// Models and their specs between the wire and the engine.
#ifndef LSTMD_SERVER_CONVERT_MODEL_H_
#define LSTMD_SERVER_CONVERT_MODEL_H_

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "google/protobuf/timestamp.pb.h"
#include "lstmd/v1/model.pb.h"

namespace lstmd::server {

// A validated spec, or INVALID_ARGUMENT / MODEL_SPEC with the field's path in lstmd.v1.ModelSpec.
absl::StatusOr<ModelSpec> FromProto(const v1::ModelSpec& proto);
// FromProto gives the same spec back.
void ToProto(const ModelSpec& spec, v1::ModelSpec* proto);

void ToProto(const ModelInfo& info, v1::Model* proto);

void ToProto(absl::Time time, google::protobuf::Timestamp* proto);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_CONVERT_MODEL_H_
