// SPDX-License-Identifier: Apache-2.0
//
// An engine over a FakeBackend, and pieces of work that own their buffers.
#ifndef LSTMD_TESTS_ENGINE_FIXTURE_H_
#define LSTMD_TESTS_ENGINE_FIXTURE_H_

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "engine/errors.h"
#include "engine/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_backend.h"
#include "tests/support/fake_clock.h"

namespace lstmd {

// The threads between OnDone and OnBatchEnd of a sink, which must outlive them. Guarded by the sink's lock.
using OpenReports = std::set<std::thread::id>;

// Remembers the order of endings; counts OnBatchEnd.
class Recorder final : public WorkSink {
 public:
  ~Recorder() override;
  void OnDone(Work* work, const absl::Status& status) override;
  void OnBatchEnd() override;

  // Of earlier work at the same address.
  void Forget(const Work* work);
  // Waits until `work` has ended.
  absl::Status Wait(const Work* work);
  // Waits for this many ends in all.
  void WaitForEnds(size_t count);
  std::optional<absl::Status> Ended(const Work* work) const;
  std::vector<const Work*> order() const;
  // Ends that were not OK.
  size_t failures() const;
  int batch_ends() const;

 private:
  mutable Mutex mutex_;
  CondVar changed_;
  std::vector<std::pair<const Work*, absl::Status>> ends_ ABSL_GUARDED_BY(mutex_);
  int batch_ends_ ABSL_GUARDED_BY(mutex_) = 0;
  OpenReports open_ ABSL_GUARDED_BY(mutex_);
};

// Work with its buffers.
struct Job {
  Work work;
  std::vector<float> input, output, initial_h, initial_c, final_h, final_c;
  std::vector<uint8_t> mask;
};

ModelSpec SmallSpec();  // I 2, H 3, L 1
Weights SomeWeights(const ModelSpec& spec);

// `seed` sets the inputs. The sink is set, nothing is submitted.
std::unique_ptr<Job> MakeStep(const std::shared_ptr<Session>& session, WorkSink* sink, float seed, uint32_t steps = 1,
                              uint64_t seq = 0);
std::unique_ptr<Job> MakeSequence(const std::shared_ptr<Model>& model, WorkSink* sink, float seed, uint32_t steps);
void AskForState(Job* job, const ModelSpec& spec);

// What FakeStep makes of inputs, from zeros.
class FakeModelRun {
 public:
  explicit FakeModelRun(const ModelSpec& spec) : spec_(spec), h(spec.h_size()), c(spec.c_size()) {}
  // Output [T, O] of the next steps.
  std::vector<float> Run(const std::vector<float>& input);

 private:
  const ModelSpec spec_;

 public:
  std::vector<float> h, c;
};

class EngineTest : public ::testing::Test {
 protected:
  EngineTest() { options_.clock = &clock_; }
  ~EngineTest() override;

  // With one fake backend "fake".
  void Start();
  void AddSmall(const std::string& name = "m", int64_t version = 1);
  std::shared_ptr<Session> NewSession(const std::string& id, const std::string& model = "m");
  absl::Status CreateError(const CreateSessionParams& params);
  StateValues StateOf(const std::string& id, const std::string& model = "m");
  absl::Status Run(Job* job);

  FakeClock clock_;
  EngineOptions options_;
  std::shared_ptr<FakeControl> control_ = std::make_shared<FakeControl>();
  Recorder sink_;
  std::unique_ptr<Engine> engine_;
};

// "NOT_FOUND / MODEL_NOT_FOUND", "OK".
std::string Shown(const absl::Status& status);
// Value of the metadata `key`, "" if none.
std::string Metadata(const absl::Status& status, const std::string& key);

}  // namespace lstmd

#endif  // LSTMD_TESTS_ENGINE_FIXTURE_H_
