// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_RUN_SEQUENCES_H_
#define LSTMD_SERVER_RUN_SEQUENCES_H_

#include <deque>
#include <vector>

#include "lstmd/v1/inference_service.pb.h"
#include "server/sequence_item.h"
#include "server/unary_work_call.h"

namespace lstmd::server {

// One RunSequences: every row of every sequence is a piece of work.
class RunSequencesCall final : public UnaryWorkCall {
 public:
  RunSequencesCall(const Context& context, const grpc::CallbackServerContext& call,
                   const v1::RunSequencesRequest* request, v1::RunSequencesResponse* response);

 private:
  void Begin() override;
  void AddAll(Lookup lookup);
  absl::StatusOr<std::shared_ptr<Model>> FindModel();
  void OnWorkDone(ItemWork& work, const absl::Status& status) override;
  absl::Status Complete() override;

  const v1::RunSequencesRequest& request_;
  v1::RunSequencesResponse& response_;
  std::deque<SequenceItem> items_;
  std::vector<absl::Status> errors_;  // of each item: the first of its rows to fail
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_RUN_SEQUENCES_H_
