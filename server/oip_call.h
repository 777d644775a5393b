// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_OIP_CALL_H_
#define LSTMD_SERVER_OIP_CALL_H_

#include "server/oip_infer.h"
#include "server/unary_work_call.h"

namespace lstmd::server {

// One unary ModelInfer.
class OipCall final : public UnaryWorkCall {
 public:
  OipCall(const Context& context, OipStats* stats, const grpc::CallbackServerContext& call,
          const inference::ModelInferRequest* request, inference::ModelInferResponse* response);

 private:
  void Begin() override;
  // Not on gRPC's threads: it may wait for a device.
  void StartSession();
  void Submit();
  void End(const absl::Status& status);
  void OnWorkDone(ItemWork& work, const absl::Status& status) override;
  absl::Status Complete() override;

  OipInference inference_;
  const inference::ModelInferRequest& request_;
  inference::ModelInferResponse& response_;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_OIP_CALL_H_
