// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_OIP_INFER_H_
#define LSTMD_SERVER_OIP_INFER_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "inference/grpc_service.pb.h"
#include "server/caller.h"
#include "server/context.h"
#include "server/oip_params.h"
#include "server/oip_stats.h"
#include "server/oip_tensors.h"
#include "server/sequence_item.h"
#include "server/unary_work_call.h"

namespace lstmd::server {

// One request of the Open Inference Protocol on its way through the engine, whether it came alone or in a stream. It
// becomes a lstmd.v1.Sequence, and so the same work as RunSequences makes of one.
//
// Order of the calls: Parse; StartAtOnce or StartSession if starts(); Prepare, once those are OK; the engine; Take for
// each work that ended well and Fail for each that did not; Complete. Not thread-safe: never two calls at a time.
class OipInference {
 public:
  // `context` and `stats` outlive it.
  OipInference(const Context& context, OipStats* stats, Caller caller)
      : context_(context), stats_(*stats), caller_(std::move(caller)) {}

  // Checks all that can be without changing anything. `request` outlives the inference.
  absl::Status Parse(const inference::ModelInferRequest& request, FloatScratch* scratch);
  // Name of the session, "" where there is none, or where Parse failed before it was known.
  const std::string& session() const { return session_name_; }
  // Whether the session is to be started.
  bool starts() const { return params_.start; }
  // Whether its session may have to be brought from a store: then AllowBlocking goes before the rest, on a thread that
  // may.
  bool MayBlock() const;
  void AllowBlocking() { lookup_ = Lookup::kStore; }
  // Makes the session, if that needs no waiting: nullopt where StartSession is to be called instead.
  std::optional<absl::Status> StartAtOnce();
  // Makes or resets the session; blocks.
  absl::Status StartSession();
  // Fills in works; `add` makes one of the given row, and may have set its deadline.
  absl::Status Prepare(FloatScratch* scratch, absl::FunctionRef<ItemWork&(size_t row)> add);

  void Take(const ItemWork& work);
  void Fail(const absl::Status& status);
  // The reply, or why there is none. Counts the request. `status`: that of what went before the engine.
  absl::Status Complete(const absl::Status& status, inference::ModelInferResponse* response);

  // As new, but for the memory that it keeps.
  void Reset();

  // Of the reply's tensors. After Prepare.
  size_t reply_bytes() const;

 private:
  absl::Status Check(FloatScratch* scratch);
  absl::Status CreateSession(const std::optional<StateValues>& initial) const;
  absl::Status Explain(const absl::Status& status) const;

  const Context& context_;
  OipStats& stats_;
  const Caller caller_;
  std::string key_;  // of the session in the engine
  absl::Time arrival_ = absl::Now();
  const inference::ModelInferRequest* request_ = nullptr;
  OipParams params_;
  OipOutputs outputs_;
  bool without_time_ = false;
  std::shared_ptr<Model> model_;
  std::string session_name_;  // sequence_ has it once it is there
  v1::Sequence sequence_;
  v1::SequenceResult result_;
  std::optional<SequenceItem> item_;
  int64_t version_ = 0;
  Lookup lookup_ = Lookup::kMemory;
  OipTimes times_;
  absl::Status failure_;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_OIP_INFER_H_
