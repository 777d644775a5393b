// SPDX-License-Identifier: Apache-2.0
//
// Requests of the Open Inference Protocol, and what comes back.
#ifndef LSTMD_TESTS_INTEGRATION_OIP_CLIENT_H_
#define LSTMD_TESTS_INTEGRATION_OIP_CLIENT_H_

#include <cstring>
#include <string>
#include <vector>

#include "inference/grpc_service.grpc.pb.h"

namespace lstmd {

using OipStub = inference::GRPCInferenceService::Stub;
using OipClientStream = grpc::ClientReaderWriter<inference::ModelInferRequest, inference::ModelStreamInferResponse>;

inline void AddInput(const std::string& name, const std::vector<int64_t>& shape, const std::vector<float>& values,
                     inference::ModelInferRequest* request) {
  auto& input = *request->add_inputs();
  input.set_name(name);
  input.set_datatype("FP32");
  for (const int64_t dim : shape) input.add_shape(dim);
  request->add_raw_input_contents(values.data(), values.size() * sizeof(float));
}

inline inference::ModelInferRequest OipRequest(const std::string& model, const std::vector<int64_t>& shape,
                                               const std::vector<float>& values) {
  inference::ModelInferRequest request;
  request.set_model_name(model);
  request.set_id("r");
  AddInput("INPUT", shape, values, &request);
  return request;
}

// One step of the sequence `id`.
inline inference::ModelInferRequest OipStep(const std::string& model, int64_t id, const std::vector<float>& values,
                                            bool start = false, bool end = false) {
  inference::ModelInferRequest request = OipRequest(model, {1, static_cast<int64_t>(values.size())}, values);
  (*request.mutable_parameters())["sequence_id"].set_int64_param(id);
  (*request.mutable_parameters())["sequence_start"].set_bool_param(start);
  (*request.mutable_parameters())["sequence_end"].set_bool_param(end);
  return request;
}

inline std::vector<float> RawFloats(const inference::ModelInferResponse& response, int index = 0) {
  if (index >= response.raw_output_contents_size()) return {};
  const std::string& bytes = response.raw_output_contents(index);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

inline std::vector<int64_t> OutputShape(const inference::ModelInferResponse& response, int index = 0) {
  if (index >= response.outputs_size()) return {};
  return {response.outputs(index).shape().begin(), response.outputs(index).shape().end()};
}

}  // namespace lstmd

#endif  // LSTMD_TESTS_INTEGRATION_OIP_CLIENT_H_
