// SPDX-License-Identifier: Apache-2.0
//
// The tensors of the Open Inference Protocol and those of lstmd.v1.
#ifndef LSTMD_SERVER_OIP_TENSORS_H_
#define LSTMD_SERVER_OIP_TENSORS_H_

#include <cstdint>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/spec.h"
#include "inference/grpc_service.pb.h"
#include "lstmd/v1/inference_service.pb.h"

namespace lstmd::server {

enum class OipOutput : uint8_t { kOutput, kHidden, kCell };
using OipOutputs = absl::InlinedVector<OipOutput, 3>;

// What a request asks to have answered, in its order. INVALID_ARGUMENT / OUTPUT_NAME, OUTPUT_COUNT; UNIMPLEMENTED /
// OUTPUT_PARAMETER for shared memory and classification.
absl::StatusOr<OipOutputs> ReadOipOutputs(const inference::ModelInferRequest& request);

// Copies the inputs into `sequence`: a batch [N, T, I], or, with `one_row` (a request in a sequence), one [T, I].
// Checks names, kinds of contents, and what SequenceItem cannot: the shapes as the client wrote them. INVALID_ARGUMENT
// / INPUT_NAME, INPUT_CONTENTS, TENSOR_DTYPE, TENSOR_SHAPE, TENSOR_BYTES, INITIAL_STATE, SEQUENCE_LENGTH; fields
// relative to ModelInferRequest. *without_time: INPUT was [N, I].
absl::Status ReadOipInputs(const inference::ModelInferRequest& request, const ModelSpec& spec, bool one_row,
                           v1::Sequence* sequence, bool* without_time);

// Adds the outputs to `response`, taking the data out of `result`, which ReadOipInputs' sequence led to.
void WriteOipOutputs(const OipOutputs& outputs, bool one_row, bool without_time, v1::SequenceResult* result,
                     inference::ModelInferResponse* response);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_OIP_TENSORS_H_
