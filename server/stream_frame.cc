// SPDX-License-Identifier: Apache-2.0
#include "server/stream_frame.h"

namespace lstmd::server {
namespace {

constexpr size_t kKeepBytes = size_t{1} << 20;
constexpr size_t kKeepWorks = 1024;

void Reset(StepWork* work) {
  work->session.reset();
  work->model.reset();
  work->seq = 0;
  work->epoch = 0;
  work->end_session = false;
  work->steps = 0;
  work->input = nullptr;
  work->mask = nullptr;
  work->output = nullptr;
  work->output_mode = OutputMode::kAll;
  work->initial_h = work->initial_c = nullptr;
  work->final_h = work->final_c = nullptr;
  work->deadline = absl::InfiniteFuture();
  work->cancelled.store(false, std::memory_order_relaxed);
  work->sink = nullptr;
  work->alone = false;
  work->result_seq = work->result_epoch = 0;
  work->replayed = false;
  work->timing = Timing();
  work->row = Row();
}

}  // namespace

StepWork* StreamFrame::AddWork() {
  if (used_ == works_.size()) works_.push_back(std::make_unique<StepWork>());
  StepWork* work = works_[used_++].get();
  work->frame = this;
  return work;
}

bool StreamFrame::Recycle() {
  size_t bytes = 0;
  for (const v1::StepBlock& block : request.steps()) bytes += block.input().data().size();
  if (bytes > kKeepBytes || used_ > kKeepWorks || request.binds_size() + request.unbinds_size() > 1024) return false;
  for (size_t i = 0; i < used_; ++i) Reset(works_[i].get());
  used_ = 0;
  batch.clear();
  refusals.clear();
  scratch.Reset();
  return true;
}

}  // namespace lstmd::server
