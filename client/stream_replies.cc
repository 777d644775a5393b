// SPDX-License-Identifier: Apache-2.0
//
// The read side of a stream: where each reply goes, and handing it out. Nothing that the server sends is trusted: an
// answer that fits no open step breaks the stream, and every callback is still called exactly once.
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/array.h"
#include "client/error.h"
#include "client/stream_core.h"

namespace lstmd::client {

absl::Status Stream::Core::MatchOne(uint64_t id, uint32_t handle) {
  const uint64_t slot = (id & UINT32_MAX) - 1;
  if ((id & UINT32_MAX) == 0 || slot >= blocks_.size() || blocks_[slot].generation != id >> 32) {
    return BrokenProtocol(absl::StrCat("an answer has the id ", id, ", which no steps in flight have"));
  }
  Block& block = blocks_[slot];
  // Answers mostly come in the order of the block, so the first one that is still open is the one.
  uint32_t index = block.first;
  while (index < block.handles.size() && block.handles[index] != handle) ++index;
  if (index == block.handles.size()) {
    return BrokenProtocol(absl::StrCat("handle ", handle, " is not open in steps ", id));
  }
  block.handles[index] = kAnswered;
  while (block.first < block.handles.size() && block.handles[block.first] == kAnswered) ++block.first;
  --block.remaining;
  --in_flight_;
  targets_.push_back({&block, static_cast<uint32_t>(slot), index, handle});
  return absl::OkStatus();
}

absl::Status Stream::Core::Match() {
  for (const v1::ResultBlock& block : response_.results()) {
    if (block.ids_size() != block.handles_size()) return BrokenProtocol("ids and handles of a block differ in number");
    for (int k = 0; k < block.handles_size(); ++k) {
      if (absl::Status status = MatchOne(block.ids(k), block.handles(k)); !status.ok()) return status;
    }
  }
  for (const v1::StepFailure& failure : response_.failures()) {
    if (failure.steps_id() == 0) continue;
    if (absl::Status status = MatchOne(failure.steps_id(), failure.handle()); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Stream::Core::DispatchBlock(const v1::ResultBlock& block, size_t* next) {
  const size_t count = static_cast<size_t>(block.handles_size());
  absl::Status status = ReadTensor(block.output(), &scratch_);
  const auto fits = [&](int size) { return size == 0 || size == block.handles_size(); };
  if (status.ok() && (count == 0 || scratch_.size() % count != 0 || !fits(block.seqs_size()) ||
                      !fits(block.states_size()) || !fits(block.replayed_size()) || !fits(block.durable_seqs_size()))) {
    status = BrokenProtocol("arrays of a block of results differ in length");
  }
  const size_t each = status.ok() ? scratch_.size() / count : 0;
  StepResult result;
  result.timing = &block.timing();
  for (size_t k = 0; k < count; ++k) {
    const Target& target = targets_[(*next)++];
    const int i = static_cast<int>(k);
    result.status = status;
    result.handle = block.handles(i);
    result.index = target.index;
    if (status.ok()) {
      result.seq = block.seqs_size() > 0 ? block.seqs(i) : 0;
      result.durable_seq = block.durable_seqs_size() > 0 ? block.durable_seqs(i) : 0;
      result.replayed = block.replayed_size() > 0 && block.replayed(i);
      result.output = absl::MakeConstSpan(scratch_).subspan(k * each, each);
      result.state = block.states_size() > 0 ? &block.states(i) : nullptr;
    }
    target.block->done(result);
  }
  return status;
}

void Stream::Core::DispatchBound(const v1::Bound& bound) {
  BindCallback done;
  {
    MutexLock lock(&mutex_);
    if (bound.handle() >= handles_.size() || handles_[bound.handle()].state != Handle::kBinding) return;
    handles_[bound.handle()].state = Handle::kBound;
    done = std::exchange(handles_[bound.handle()].done, nullptr);
    if (bound.max_in_flight() > 0) limit_ = std::min(limit_, bound.max_in_flight());
  }
  done(Binding{bound.handle(), bound.session(), bound.input_size(), bound.output_size()});
}

void Stream::Core::DispatchFailure(const v1::StepFailure& failure, size_t* next) {
  const absl::Status status =
      failure.error().code() == 0 ? BrokenProtocol("a failure without an error") : FromProto(failure.error());
  if (failure.steps_id() != 0) {
    const Target& target = targets_[(*next)++];
    StepResult result;
    result.status = status;
    result.handle = failure.handle();
    result.index = target.index;
    result.seq = failure.seq();
    target.block->done(result);
    return;
  }
  BindCallback done;
  {
    MutexLock lock(&mutex_);
    if (failure.handle() < handles_.size() && handles_[failure.handle()].state == Handle::kBinding) {
      handles_[failure.handle()].state = Handle::kFree;
      free_handles_.push_back(failure.handle());
      done = std::exchange(handles_[failure.handle()].done, nullptr);
    }
  }
  if (done) {
    done(status);
  } else if (options_.on_failure) {
    options_.on_failure(failure.handle(), status);
  }
}

void Stream::Core::Release() {
  {
    MutexLock lock(&mutex_);
    for (const Target& target : targets_) {
      if (target.block->remaining > 0 || !target.block->done) continue;
      finished_.push_back(std::exchange(target.block->done, nullptr));
      ++target.block->generation;
      free_blocks_.push_back(target.slot);
    }
    if (!targets_.empty()) changed_.SignalAll();
  }
  targets_.clear();
  finished_.clear();  // what callbacks hold is destroyed without the lock
}

bool Stream::Core::Dispatch() {
  absl::Status status;
  {
    MutexLock lock(&mutex_);
    status = Match();
  }
  // On a broken protocol what was matched is answered all the same; the rest fails when the stream ends.
  size_t next = 0;
  for (const v1::Bound& bound : response_.bound()) DispatchBound(bound);
  if (status.ok()) {
    for (const v1::ResultBlock& block : response_.results()) {
      if (absl::Status bad = DispatchBlock(block, &next); !bad.ok()) status = bad;
    }
    for (const v1::StepFailure& failure : response_.failures()) DispatchFailure(failure, &next);
  } else {
    for (const Target& target : targets_) {
      StepResult result;
      result.status = status;
      result.handle = target.handle;
      result.index = target.index;
      target.block->done(result);
    }
  }
  Release();
  if (options_.on_event) {
    for (const v1::SessionEvent& event : response_.events()) options_.on_event(event);
  }
  if (response_.has_go_away() && options_.on_go_away) options_.on_go_away(response_.go_away());
  if (status.ok()) return true;
  MutexLock lock(&mutex_);
  broken_ = status;
  return false;
}

}  // namespace lstmd::client
