// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/fixture.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace lstmd {

Recorder::~Recorder() {
  MutexLock lock(&mutex_);
  while (!open_.empty()) changed_.Wait(&mutex_);
}

void Recorder::OnDone(Work* work, const absl::Status& status) {
  MutexLock lock(&mutex_);
  open_.insert(std::this_thread::get_id());
  ends_.emplace_back(work, status);
  changed_.SignalAll();
}

void Recorder::OnBatchEnd() {
  MutexLock lock(&mutex_);
  ++batch_ends_;
  open_.erase(std::this_thread::get_id());
  changed_.SignalAll();
}

void Recorder::Forget(const Work* work) {
  MutexLock lock(&mutex_);
  ends_.erase(std::remove_if(ends_.begin(), ends_.end(), [work](const auto& end) { return end.first == work; }),
              ends_.end());
}

std::optional<absl::Status> Recorder::Ended(const Work* work) const {
  MutexLock lock(&mutex_);
  for (const auto& [one, status] : ends_) {
    if (one == work) return status;
  }
  return std::nullopt;
}

absl::Status Recorder::Wait(const Work* work) {
  MutexLock lock(&mutex_);
  for (;;) {
    for (const auto& [one, status] : ends_) {
      if (one == work) return status;
    }
    changed_.Wait(&mutex_);
  }
}

void Recorder::WaitForEnds(size_t count) {
  MutexLock lock(&mutex_);
  while (ends_.size() < count) changed_.Wait(&mutex_);
}

std::vector<const Work*> Recorder::order() const {
  MutexLock lock(&mutex_);
  std::vector<const Work*> order;
  for (const auto& end : ends_) order.push_back(end.first);
  return order;
}

size_t Recorder::failures() const {
  MutexLock lock(&mutex_);
  return static_cast<size_t>(
      std::count_if(ends_.begin(), ends_.end(), [](const auto& end) { return !end.second.ok(); }));
}

int Recorder::batch_ends() const {
  MutexLock lock(&mutex_);
  return batch_ends_;
}

ModelSpec SmallSpec() {
  ModelSpec spec;
  spec.input_size = 2;
  spec.hidden_size = 3;
  return spec;
}

Weights SomeWeights(const ModelSpec& spec) {
  const auto array = [](size_t size) { return FloatArray(std::vector<float>(size, 0.25f)); };
  Weights weights;
  for (uint32_t k = 0; k < spec.cells(); ++k) {
    CellWeights cell;
    cell.w = array(4 * spec.hidden_size * spec.layer_input_size(k / spec.directions()));
    cell.r = array(4 * spec.hidden_size * spec.hidden_state_size());
    if (spec.bias) cell.bias = array(4 * spec.hidden_size);
    if (spec.projection_size != 0) cell.projection = array(spec.projection_size * spec.hidden_size);
    if (spec.peepholes) cell.peepholes = array(3 * spec.hidden_size);
    weights.cells.push_back(std::move(cell));
  }
  if (spec.head) {
    weights.head_weight = array(spec.head->output_size * spec.layer_output_size());
    if (spec.head->bias) weights.head_bias = array(spec.head->output_size);
  }
  if (spec.learned_initial_state) {
    weights.initial_h = array(spec.h_size());
    weights.initial_c = array(spec.c_size());
  }
  return weights;
}

namespace {

std::unique_ptr<Job> MakeJob(const ModelSpec& spec, WorkSink* sink, float seed, uint32_t steps) {
  auto job = std::make_unique<Job>();
  for (size_t k = 0; k < size_t{steps} * spec.input_size; ++k)
    job->input.push_back(seed + 0.125f * static_cast<float>(k));
  job->output.assign(std::max(size_t{steps}, size_t{1}) * spec.output_size(), -77.0f);
  job->work.steps = steps;
  job->work.input = job->input.data();
  job->work.output = job->output.data();
  job->work.sink = sink;
  return job;
}

}  // namespace

std::unique_ptr<Job> MakeStep(const std::shared_ptr<Session>& session, WorkSink* sink, float seed, uint32_t steps,
                              uint64_t seq) {
  std::unique_ptr<Job> job = MakeJob(SpecOf(ModelOf(*session)), sink, seed, steps);
  job->work.session = session;
  job->work.seq = seq;
  return job;
}

std::unique_ptr<Job> MakeSequence(const std::shared_ptr<Model>& model, WorkSink* sink, float seed, uint32_t steps) {
  std::unique_ptr<Job> job = MakeJob(SpecOf(*model), sink, seed, steps);
  job->work.model = model;
  return job;
}

void AskForState(Job* job, const ModelSpec& spec) {
  job->final_h.assign(spec.h_size(), -55.0f);
  job->final_c.assign(spec.c_size(), -55.0f);
  job->work.final_h = job->final_h.data();
  job->work.final_c = job->final_c.data();
}

std::vector<float> FakeModelRun::Run(const std::vector<float>& input) {
  const size_t steps = input.size() / spec_.input_size;
  std::vector<float> output(steps * spec_.output_size());
  for (size_t t = 0; t < steps; ++t) {
    FakeStep(spec_, &input[t * spec_.input_size], h, c, &output[t * spec_.output_size()]);
  }
  return output;
}

EngineTest::~EngineTest() {
  control_->Unblock();
  engine_.reset();
  EXPECT_THAT(control_->violations(), ::testing::IsEmpty());
}

void EngineTest::Start() {
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(std::make_unique<FakeBackend>(control_));
  auto engine = Engine::Create(options_, std::move(backends));
  ASSERT_TRUE(engine.ok()) << engine.status();
  engine_ = *std::move(engine);
}

void EngineTest::AddSmall(const std::string& name, int64_t version) {
  const auto info = engine_->AddModel(name, version, SmallSpec(), SomeWeights(SmallSpec()));
  ASSERT_TRUE(info.ok()) << info.status();
}

std::shared_ptr<Session> EngineTest::NewSession(const std::string& id, const std::string& model) {
  CreateSessionParams params;
  params.model = model;
  params.id = id;
  const auto info = engine_->CreateSession(params);
  EXPECT_TRUE(info.ok()) << info.status();
  auto session = engine_->FindSession(model, id, false);
  EXPECT_TRUE(session.ok()) << session.status();
  return *session;
}

absl::Status EngineTest::CreateError(const CreateSessionParams& params) {
  return engine_->CreateSession(params).status();
}

StateValues EngineTest::StateOf(const std::string& id, const std::string& model) {
  const auto info = engine_->GetSession(model, id, true);
  EXPECT_TRUE(info.ok()) << info.status();
  return info.ok() && info->state ? *info->state : StateValues();
}

absl::Status EngineTest::Run(Job* job) {
  Recorder* const recorder = static_cast<Recorder*>(job->work.sink);
  recorder->Forget(&job->work);
  engine_->Submit(&job->work);
  return recorder->Wait(&job->work);
}

std::string Shown(const absl::Status& status) {
  if (status.ok()) return "OK";
  return absl::StrCat(absl::StatusCodeToString(status.code()), " / ", GetCause(status).reason);
}

std::string Metadata(const absl::Status& status, const std::string& key) {
  for (const auto& [name, value] : GetCause(status).metadata) {
    if (name == key) return value;
  }
  return "";
}

}  // namespace lstmd
