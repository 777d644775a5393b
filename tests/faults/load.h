// SPDX-License-Identifier: Apache-2.0
//
// Load that can tell afterwards whether anything was lost: sessions that the real client steps until told to stop, each
// output kept, to be compared bit by bit with a run in which nothing happened.
#ifndef LSTMD_TESTS_FAULTS_LOAD_H_
#define LSTMD_TESTS_FAULTS_LOAD_H_

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/client.h"

namespace lstmd {

struct FaultLoadOptions {
  std::string addresses;
  uint32_t sessions = 200;
  uint32_t streams = 4;
  uint32_t depth = 4;  // steps of a session in flight behind each other
  std::string prefix = "s";
};

class FaultLoad {
 public:
  explicit FaultLoad(const FaultLoadOptions& options);
  ~FaultLoad();

  // Makes the sessions and begins to step them.
  absl::Status Start();
  uint64_t results();
  // Waits for so many results in all; the error when there was one, or when nothing comes any more.
  absl::Status WaitForResults(uint64_t results);
  // Begins no more steps and waits for those that are under way. Start goes on again.
  absl::Status Stop();
  // The session's name, as of this load.
  std::string SessionOf(uint32_t session) const;
  uint64_t StepsOf(uint32_t session);
  client::ResumeStats stats() const;

  // Runs the same steps on the server at `address`, which nobody disturbs, through a plain stream; fails the test where
  // an output differs, is missing, or is one too many. REQUIRES: stopped.
  void ExpectUndisturbed(const std::string& address);

  // The input of a step; steps count from 0.
  static float Input(uint32_t session, uint64_t step);

 private:
  struct Session {
    std::mutex sending;  // from the choice of a step's input until it is sent: inputs go out in order
    uint32_t handle = 0;
    client::ResumableStream* stream = nullptr;
    uint64_t sent = 0;
    std::vector<float> outputs;
  };

  void SendNext(uint32_t session);
  void OnResult(uint32_t session, const client::StepResult& result);
  // Fails when `done` does not become true while results come.
  template <typename Done>
  absl::Status Wait(std::unique_lock<std::mutex>* lock, Done done);

  const FaultLoadOptions options_;
  std::unique_ptr<client::Client> client_;
  std::vector<std::unique_ptr<client::ResumableStream>> streams_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Session> sessions_;
  uint64_t results_ = 0;
  uint64_t in_flight_ = 0;
  bool stopping_ = false;
  absl::Status error_;
};

}  // namespace lstmd

#endif  // LSTMD_TESTS_FAULTS_LOAD_H_
