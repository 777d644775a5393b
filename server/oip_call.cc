// SPDX-License-Identifier: Apache-2.0
#include "server/oip_call.h"

#include "server/rpc.h"

namespace lstmd::server {

OipCall::OipCall(const Context& context, OipStats* stats, const grpc::CallbackServerContext& call,
                 const inference::ModelInferRequest* request, inference::ModelInferResponse* response)
    : UnaryWorkCall(context, call, "ModelInfer"),
      inference_(context, stats, caller()),
      request_(*request),
      response_(*response) {}

void OipCall::Begin() {
  if (absl::Status status = inference_.Parse(request_, &scratch()); !status.ok()) {
    End(status);
  } else if (inference_.MayBlock()) {
    inference_.AllowBlocking();
    if (!context().session_pool->Run([this] { Submit(); })) End(PoolFull());
  } else if (!inference_.starts()) {
    Submit();
  } else if (std::optional<absl::Status> started = inference_.StartAtOnce()) {
    started->ok() ? Submit() : End(*started);
  } else if (!context().session_pool->Run([this] { StartSession(); })) {
    End(PoolFull());
  }
}

void OipCall::StartSession() {
  if (absl::Status status = inference_.StartSession(); !status.ok()) {
    End(status);
  } else {
    Submit();
  }
}

void OipCall::Submit() {
  const absl::Status status =
      inference_.Prepare(&scratch(), [this](size_t row) -> ItemWork& { return AddWork(0, row); });
  if (status.ok()) {
    Run();
  } else {
    End(status);
  }
}

void OipCall::End(const absl::Status& status) { Fail(inference_.Complete(status, &response_)); }

void OipCall::OnWorkDone(ItemWork& work, const absl::Status& status) {
  if (status.ok()) {
    inference_.Take(work);
  } else {
    inference_.Fail(status);
  }
}

absl::Status OipCall::Complete() { return inference_.Complete(absl::OkStatus(), &response_); }

}  // namespace lstmd::server
