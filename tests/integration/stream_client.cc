// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/stream_client.h"

namespace lstmd {

bool StreamClient::ReadFrame() {
  v1::StreamStepsResponse& frame = frames.emplace_back();
  if (!stream_->Read(&frame)) {
    frames.pop_back();
    return false;
  }
  for (const v1::ResultBlock& block : frame.results()) {
    const std::vector<float> values = Values(block.output());
    const size_t row = values.size() / static_cast<size_t>(block.handles_size());
    for (int i = 0; i < block.handles_size(); ++i) {
      StreamResult result;
      if (block.ids_size() > 0) result.id = block.ids(i);
      if (block.seqs_size() > 0) result.seq = block.seqs(i);
      if (block.replayed_size() > 0) result.replayed = block.replayed(i);
      const auto begin = values.begin() + static_cast<std::ptrdiff_t>(row) * i;
      result.output.assign(begin, begin + static_cast<std::ptrdiff_t>(row));
      results[block.handles(i)].push_back(std::move(result));
      ++answers_;
    }
  }
  failures.insert(failures.end(), frame.failures().begin(), frame.failures().end());
  bounds.insert(bounds.end(), frame.bound().begin(), frame.bound().end());
  events.insert(events.end(), frame.events().begin(), frame.events().end());
  answers_ += static_cast<size_t>(frame.failures_size() + frame.bound_size() + frame.events_size());
  if (frame.has_go_away()) {
    go_away = true;
    new_address = frame.go_away().new_address();
  }
  return true;
}

void StreamClient::ReadAnswers(size_t count) {
  while (answers_ < count) {
    if (!ReadFrame()) {
      ADD_FAILURE() << "the stream ended after " << answers_ << " answers of " << count;
      return;
    }
  }
}

grpc::Status StreamClient::Finish() {
  while (ReadFrame()) {
  }
  finished_ = true;
  return stream_->Finish();
}

}  // namespace lstmd
