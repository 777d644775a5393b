// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/array.h"
#include "client/error.h"
#include "client/lstmctl/lane.h"

namespace lstmd::client {
namespace {

// A thread for each message that is on its way: a sequence takes long enough for that not to matter.
class SequenceLane final : public Lane {
 public:
  using Lane::Lane;

  absl::Status Open() override {
    request_.set_model(sessions_.front().substr(0, sessions_.front().find("/sessions/")));
    std::vector<float> input(size_t{options_.sequence} * input_size_);
    for (size_t i = 0; i < input.size(); ++i) input[i] = GroupInput(0)[i % input_size_];
    for (uint32_t k = 0; k < options_.handles; ++k) {
      v1::Sequence* sequence = request_.add_sequences();
      const int64_t shape[] = {options_.sequence, input_size_};
      ToTensor(input, shape, sequence->mutable_input());
      sequence->set_output_mode(v1::OUTPUT_MODE_LAST);
    }
    return client_->RunSequences(request_).status();
  }

  void Close() override {
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }

 private:
  void Prepare() override { threads_.resize(flights_.size()); }

  void Send(Flight* flight) override {
    std::thread& thread = threads_[static_cast<size_t>(flight - flights_.data())];
    if (thread.joinable()) thread.join();  // of the message before, which has landed
    thread = std::thread([this, flight] {
      do {
        Run(flight);
      } while (Land(flight));
    });
  }

  void Run(Flight* flight) {
    v1::RunSequencesRequest last;
    const int count = static_cast<int>(flight->remaining);
    const bool whole = count == request_.sequences_size();
    if (!whole) {
      last = request_;
      last.mutable_sequences()->DeleteSubrange(count, request_.sequences_size() - count);
    }
    const absl::StatusOr<v1::RunSequencesResponse> response = client_->RunSequences(whole ? request_ : last);
    for (int k = 0; k < count; ++k) {
      absl::Status item = response.status();
      size_t outputs = 0;
      if (item.ok() && response->results_size() != count) {
        item = absl::InternalError(absl::StrCat("got ", response->results_size(), " results, want ", count));
      } else if (item.ok()) {
        if (response->results(k).has_error()) item = FromProto(response->results(k).error());
        outputs = response->results(k).output().data().size() / sizeof(float);
      }
      Answer(flight, item, outputs);
    }
  }

  v1::RunSequencesRequest request_;
  std::vector<std::thread> threads_;  // one for each flight
};

}  // namespace

std::unique_ptr<Lane> MakeSequenceLane(Client* client, const LoadOptions& options, const LoadClock& clock,
                                       std::vector<std::string> sessions, uint32_t input_size, uint32_t output_size) {
  return std::make_unique<SequenceLane>(client, options, clock, std::move(sessions), input_size, output_size);
}

}  // namespace lstmd::client
