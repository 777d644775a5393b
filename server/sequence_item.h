// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_SEQUENCE_ITEM_H_
#define LSTMD_SERVER_SEQUENCE_ITEM_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/engine.h"
#include "lstmd/v1/inference_service.pb.h"
#include "server/step_item.h"
#include "server/unary_work_call.h"

namespace lstmd::server {

// One item of RunSequences: splits a Sequence into rows of engine work, and puts their results together again.
//
// A row's buffers lie in the messages themselves where they can: inputs of a batch-major float32 tensor, outputs of the
// same. Everything else (16-bit types, time-major batches, states of a batch, which are [L*D, N, …]) goes through
// scratch memory.
class SequenceItem {
 public:
  // All outlive the item. `model` is the request's.
  SequenceItem(const v1::Sequence& sequence, std::shared_ptr<Model> model, v1::SequenceResult* result)
      : sequence_(sequence), model_(std::move(model)), result_(*result) {}

  // Checks everything and sizes the reply; errors have fields relative to the Sequence. Makes no work yet.
  // `rows_left`: bound on the rows of the call, counted down.
  absl::Status Check(const Context& context, const Caller& caller, Lookup lookup, FloatScratch* scratch,
                     ReplyBudget* budget, int64_t* rows_left);

  int64_t rows() const { return rows_; }
  // Fills in the work of row `n`. REQUIRES: Check was OK.
  void Prepare(int64_t n, ItemWork* work);
  // A row has ended well: keeps what its work says.
  void Take(const ItemWork& work);
  // All rows have: completes the result.
  void Assemble();

 private:
  absl::Status CheckInput(const Limits& limits);
  absl::Status CheckLengths();
  absl::Status CheckSession(Engine* engine, const Caller& caller, Lookup lookup);
  absl::Status CheckOutput(ReplyBudget* budget);
  const float* RowInput(int64_t n);
  const uint8_t* RowMask(int64_t n, uint32_t* steps);
  const ModelSpec& spec() const { return SpecOf(session_ ? ModelOf(*session_) : std::as_const(*model_)); }
  bool last_only() const { return mode_ != OutputMode::kAll; }
  uint64_t row_output() const { return (last_only() ? 1 : static_cast<uint64_t>(steps_)) * spec().output_size(); }

  const v1::Sequence& sequence_;
  const std::shared_ptr<Model> model_;
  v1::SequenceResult& result_;
  FloatScratch* scratch_ = nullptr;

  std::shared_ptr<Session> session_;
  TensorView input_;
  StateView initial_;
  OutputMode mode_ = OutputMode::kAll;
  bool batched_ = false;
  int64_t rows_ = 1;          // N
  int64_t steps_ = 0;         // T
  float* outputs_ = nullptr;  // [N, T, O] or [N, O]: in the reply or in scratch
  bool in_reply_ = false;
  float* final_h_ = nullptr;  // [N, L*D, P or H]
  float* final_c_ = nullptr;  // [N, L*D, H]
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_SEQUENCE_ITEM_H_
