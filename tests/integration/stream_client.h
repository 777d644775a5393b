// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_TESTS_INTEGRATION_STREAM_CLIENT_H_
#define LSTMD_TESTS_INTEGRATION_STREAM_CLIENT_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/integration/server_fixture.h"

namespace lstmd {

// A result as one item.
struct StreamResult {
  uint64_t id = 0;
  uint64_t seq = 0;
  bool replayed = false;
  std::vector<float> output;
};

// One stream, and all that came over it. One thread may write while another reads.
class StreamClient {
 public:
  // `stub` and the channel outlive the client.
  explicit StreamClient(v1::InferenceService::Stub* stub) : stream_(stub->StreamSteps(&context_)) {}
  ~StreamClient() {
    if (!finished_) {
      context_.TryCancel();
      Finish();
    }
  }

  bool Write(const v1::StreamStepsRequest& frame) { return stream_->Write(frame); }
  bool WritesDone() { return stream_->WritesDone(); }
  void Cancel() { context_.TryCancel(); }

  // False at the end of the stream.
  bool ReadFrame();
  // Reads until this many answers (bounds, results, failures, events) have come in all, or the stream ends.
  void ReadAnswers(size_t count);
  // Reads to the end.
  grpc::Status Finish();

  size_t answers() const { return answers_; }
  // By handle, in the order in which they came.
  std::map<uint32_t, std::vector<StreamResult>> results;
  std::vector<v1::StepFailure> failures;
  std::vector<v1::Bound> bounds;
  std::vector<v1::SessionEvent> events;
  bool go_away = false;
  std::string new_address;                      // that the GoAway named
  std::vector<v1::StreamStepsResponse> frames;  // as they came

 private:
  grpc::ClientContext context_;
  std::unique_ptr<Stream> stream_;
  size_t answers_ = 0;
  bool finished_ = false;
};

}  // namespace lstmd

#endif  // LSTMD_TESTS_INTEGRATION_STREAM_CLIENT_H_
