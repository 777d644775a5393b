// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_TESTS_CLIENT_RESUMABLE_FIXTURE_H_
#define LSTMD_TESTS_CLIENT_RESUMABLE_FIXTURE_H_

#include <future>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "client/client.h"
#include "client/error.h"
#include "gtest/gtest.h"
#include "tests/client/fake_lstmd.h"

namespace lstmd::client {

// A resumable stream against one or two servers of the test, with back-off and resends so short that nothing waits.
class ResumableStreamTest : public testing::Test {
 protected:
  ResumableStreamTest() {
    options_.backoff.initial = absl::Microseconds(100);
    options_.backoff.max = absl::Milliseconds(5);
    options_.resend_after = absl::Minutes(1);  // only tests of lost replies wait, and choose for how long
    options_.timeout = absl::Seconds(60);
  }

  // Both addresses with `two`.
  void Open(bool two = false) {
    std::string addresses = a_.address();
    if (two) addresses += "," + b_.address();
    absl::StatusOr<std::unique_ptr<Client>> client = Client::Connect(addresses);
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
    stream_ = client_->OpenResumableStream(options_);
  }
  FakeSession& Make(const std::string& id, v1::Session::Durability durability = v1::Session::NONE) {
    return store_->Create(SessionName("m", id), durability);
  }
  // Orders what this thread and those of the servers do to sessions and scripts: ThreadSanitizer does not see it
  // through gRPC.
  void Meet() { const std::lock_guard<std::mutex> lock(store_->mutex); }
  uint32_t Bind(const std::string& id, const BindOptions& options = {}) {
    Meet();
    const absl::StatusOr<Binding> binding = stream_->Bind(SessionName("m", id), options);
    Meet();
    EXPECT_TRUE(binding.ok()) << binding.status();
    return binding.ok() ? binding->handle : UINT32_MAX;
  }
  // Steps that are answered in the order of their sends; their statuses.
  using Futures = std::vector<std::future<absl::StatusOr<std::vector<float>>>>;
  void SendAll(uint32_t handle, int count, Futures* futures) {
    Meet();
    for (int i = 0; i < count; ++i) {
      const float input = static_cast<float>(next_input_++ % 17) - 8;
      inputs_.push_back(input);
      futures->push_back(stream_->StepAsync(handle, absl::MakeConstSpan(&input, 1)));
    }
  }
  // All are answered, as if nothing had happened, and each step was applied once.
  void ExpectUndisturbed(Futures* futures, const FakeSession& session) {
    float state = 0;
    for (size_t i = 0; i < futures->size(); ++i) {
      state = state / 2 + inputs_[i];
      const absl::StatusOr<std::vector<float>> output = (*futures)[i].get();
      ASSERT_TRUE(output.ok()) << "step " << i + 1 << ": " << output.status();
      ASSERT_EQ(*output, std::vector<float>{state}) << "step " << i + 1;
    }
    std::lock_guard<std::mutex> lock(store_->mutex);
    EXPECT_EQ(session.last_seq, futures->size());
  }

  const std::shared_ptr<FakeStore> store_ = std::make_shared<FakeStore>();
  FakeLstmd a_{store_};
  FakeLstmd b_{store_};
  ResumeOptions options_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<ResumableStream> stream_;
  std::vector<float> inputs_;
  int next_input_ = 0;
};

}  // namespace lstmd::client

#endif  // LSTMD_TESTS_CLIENT_RESUMABLE_FIXTURE_H_
