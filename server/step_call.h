// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_STEP_CALL_H_
#define LSTMD_SERVER_STEP_CALL_H_

#include <vector>

#include "lstmd/v1/inference_service.pb.h"
#include "server/step_item.h"
#include "server/unary_work_call.h"

namespace lstmd::server {

// One unary Step. Inputs that are aligned float32 are read from the request as they lie there; float32 outputs are
// written straight into the reply.
class StepCall final : public UnaryWorkCall {
 public:
  StepCall(const Context& context, const grpc::CallbackServerContext& call, const v1::StepRequest* request,
           v1::StepResponse* response);

 private:
  void Begin() override;
  void AddAll(Lookup lookup);
  absl::Status Add(size_t index, Lookup lookup, ReplyBudget* budget);
  // `cause` has a field relative to the item.
  void SetError(size_t item, const absl::Status& cause);
  void OnWorkDone(ItemWork& work, const absl::Status& status) override;
  absl::Status Complete() override;

  const v1::StepRequest& request_;
  v1::StepResponse& response_;
  absl::Time latest_;          // see LatestEnd
  absl::Status single_error_;  // of the only item
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_STEP_CALL_H_
