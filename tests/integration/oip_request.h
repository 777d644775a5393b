// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_TESTS_INTEGRATION_OIP_REQUEST_H_
#define LSTMD_TESTS_INTEGRATION_OIP_REQUEST_H_

#include <cstddef>
#include <cstdint>

#include "inference/grpc_service.pb.h"

namespace lstmd {

// A ModelInferRequest made of decisions, one or a few bytes each: what is asked, how often, of what kind, in what
// shape. No bytes make a good step of sequence 1 of the model "m" (I 3); each byte may spoil something. Same bytes,
// same request. At most about a megabyte.
inference::ModelInferRequest MakeOipRequest(const uint8_t* data, size_t size);

}  // namespace lstmd

#endif  // LSTMD_TESTS_INTEGRATION_OIP_REQUEST_H_
