// SPDX-License-Identifier: Apache-2.0
//
// What works: steps, streams and sequences over a socket give the same numbers, in every type and layout.
#include <cstring>

#include "engine/half.h"
#include "gmock/gmock.h"
#include "tests/integration/server_fixture.h"
#include "tests/support/models.h"

namespace lstmd {
namespace {

using ::testing::ElementsAre;

class ServingTest : public ServerTest {
 protected:
  // Outputs of `model` for inputs [T, I], by RunSequences.
  std::vector<float> Reference(const std::string& model, int64_t steps, const std::vector<float>& input) {
    v1::RunSequencesRequest request;
    request.set_model("models/" + model);
    *request.add_sequences()->mutable_input() = MakeTensor({steps, static_cast<int64_t>(input.size()) / steps}, input);
    v1::RunSequencesResponse response;
    const grpc::Status status = RunStatus(request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return status.ok() ? Values(response.results(0).output()) : std::vector<float>();
  }
};

TEST_F(ServingTest, StepsAreTheSequence) {
  StartCpu();
  constexpr int64_t kSteps = 7;
  const std::vector<float> input = test::SeededFloats(1, kSteps * 3, 1.0f);
  const std::vector<float> want = Reference("m", kSteps, input);
  ASSERT_EQ(want.size(), kSteps * 2u);
  Create("m", "a");
  std::vector<float> got;
  for (int64_t t = 0; t < kSteps; ++t) {
    for (const float value : Step(SessionName("m", "a"), {&input[t * 3], &input[t * 3] + 3})) got.push_back(value);
  }
  EXPECT_EQ(got, want);
  EXPECT_EQ(Get(SessionName("m", "a")).steps(), 7u);
}

TEST_F(ServingTest, ManyItemsInOneCallOfSeveralModelsAndTypes) {
  StartCpu();
  const std::vector<float> input = {0.5f, -0.25f, 1.0f};
  v1::StepRequest request;
  *request.add_items() = Item(SessionName("m", "x"), MakeTensor({3}, input));
  *request.add_items() = Item(SessionName("wide", "y"), MakeTensor({2, 4}, std::vector<float>(8, 0.5f)));
  *request.add_items() = Item(SessionName("m", "z"), MakeTensor({3}, input));
  std::string f16(6, '\0');
  FloatsToF16(input.data(), 3, f16.data());
  request.mutable_items(2)->mutable_input()->set_dtype(v1::DATA_TYPE_F16);
  request.mutable_items(2)->mutable_input()->set_data(f16);
  for (v1::StepItem& item : *request.mutable_items()) item.set_create_if_missing(true);
  request.mutable_items(0)->set_return_state(true);
  v1::StepResponse response;
  const grpc::Status status = StepStatus(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.results_size(), 3);
  EXPECT_THAT(Shape(response.results(0).output()), ElementsAre(2));
  EXPECT_THAT(Shape(response.results(1).output()), ElementsAre(2, 8));
  EXPECT_THAT(Shape(response.results(0).state().h()), ElementsAre(2, 5));
  EXPECT_EQ(response.results(0).epoch(), 1u);
  EXPECT_GT(response.results(0).timing().batch_size(), 0u);
  // 0.5, -0.25 and 1 are exact in f16, so the third item is the first, rounded at the end.
  const std::vector<float> f32 = Values(response.results(0).output());
  std::string rounded(4, '\0');
  FloatsToF16(f32.data(), 2, rounded.data());
  EXPECT_EQ(response.results(2).output().dtype(), v1::DATA_TYPE_F16);
  EXPECT_EQ(response.results(2).output().data(), rounded);
}

TEST_F(ServingTest, SequenceNumbersMakeRetriesSafe) {
  StartCpu();
  const std::string name = Create("m", "a").name();
  const std::vector<float> first = Step(name, {1, 2, 3}, 1);
  EXPECT_EQ(Step(name, {1, 2, 3}, 1), first);
  EXPECT_EQ(Get(name).steps(), 1u);
  EXPECT_EQ(Get(name).last_seq(), 1u);
}

TEST_F(ServingTest, TheStateCanBeReadAndGivenToAnother) {
  StartCpu();
  const std::string a = Create("m", "a").name();
  Step(a, {1, 2, 3});
  const v1::Session session = Get(a, true);
  v1::CreateSessionRequest request;
  request.set_parent("models/m");
  *request.mutable_initial_state() = session.state();
  v1::Session copy;
  const auto context = Context();
  ASSERT_TRUE(sessions_->CreateSession(context.get(), request, &copy).ok());
  EXPECT_EQ(Step(copy.name(), {4, 5, 6}), Step(a, {4, 5, 6}));
}

TEST_F(ServingTest, BatchesOfSequencesInBothLayouts) {
  StartCpu();
  constexpr int64_t kRows = 3;
  constexpr int64_t kSteps = 4;
  const std::vector<float> input = test::SeededFloats(5, kRows * kSteps * 3, 1.0f);
  std::vector<float> time_major(input.size());
  for (int64_t n = 0; n < kRows; ++n) {
    for (int64_t t = 0; t < kSteps; ++t) std::copy_n(&input[(n * kSteps + t) * 3], 3, &time_major[(t * kRows + n) * 3]);
  }
  for (const std::string model : {"m", "bi"}) {
    v1::RunSequencesRequest request;
    request.set_model("models/" + model);
    v1::Sequence& batch = *request.add_sequences();
    *batch.mutable_input() = MakeTensor({kRows, kSteps, 3}, input);
    batch.set_return_final_state(true);
    v1::Sequence& other = *request.add_sequences();
    *other.mutable_input() = MakeTensor({kSteps, kRows, 3}, time_major);
    other.set_time_major(true);
    other.set_return_final_state(true);
    v1::RunSequencesResponse response;
    const grpc::Status status = RunStatus(request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.model_version(), 1);
    const std::vector<float> by_batch = Values(response.results(0).output());
    const std::vector<float> by_time = Values(response.results(1).output());
    const int64_t size = Shape(response.results(0).output())[2];
    EXPECT_THAT(Shape(response.results(1).output()), ElementsAre(kSteps, kRows, size));
    for (int64_t n = 0; n < kRows; ++n) {
      const std::vector<float> row(&input[n * kSteps * 3], &input[n * kSteps * 3] + kSteps * 3);
      const std::vector<float> want = Reference(model, kSteps, row);
      for (int64_t t = 0; t < kSteps; ++t) {
        for (int64_t k = 0; k < size; ++k) {
          EXPECT_EQ(by_batch[(n * kSteps + t) * size + k], want[t * size + k]);
          EXPECT_EQ(by_time[(t * kRows + n) * size + k], want[t * size + k]);
        }
      }
    }
    EXPECT_EQ(response.results(0).final_state().SerializeAsString(),
              response.results(1).final_state().SerializeAsString());
    EXPECT_EQ(Shape(response.results(0).final_state().h())[1], kRows);
  }
}

TEST_F(ServingTest, LengthsAndMasksAgreeAndThePaddingIsZero) {
  StartCpu();
  const std::vector<float> input = test::SeededFloats(6, 2 * 4 * 3, 1.0f);
  for (const std::string model : {"m", "bi"}) {
    v1::RunSequencesRequest request;
    request.set_model("models/" + model);
    for (int i = 0; i < 2; ++i) {
      *request.add_sequences()->mutable_input() = MakeTensor({2, 4, 3}, input);
      request.mutable_sequences(i)->set_return_final_state(true);
    }
    request.mutable_sequences(0)->add_lengths(2);
    request.mutable_sequences(0)->add_lengths(0);
    request.mutable_sequences(1)->set_mask(std::string("\1\1\0\0\0\0\0\0", 8));
    v1::RunSequencesResponse response;
    const grpc::Status status = RunStatus(request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.results(0).output().SerializeAsString(), response.results(1).output().SerializeAsString());
    EXPECT_EQ(response.results(0).final_state().SerializeAsString(),
              response.results(1).final_state().SerializeAsString());
    const std::vector<float> output = Values(response.results(0).output());
    const size_t size = output.size() / 8;
    EXPECT_EQ(std::vector<float>(output.begin() + 2 * size, output.end()), std::vector<float>(6 * size, 0.0f));
    EXPECT_NE(output[0], 0.0f);
  }
}

TEST_F(ServingTest, ASequenceRunsInASession) {
  StartCpu();
  const std::vector<float> input = test::SeededFloats(8, 5 * 3, 1.0f);
  const std::vector<float> want = Reference("m", 5, input);
  const std::string name = Create("m", "a").name();
  v1::RunSequencesRequest request;
  request.set_model("models/m");
  *request.add_sequences()->mutable_input() = MakeTensor({4, 3}, {input.begin(), input.begin() + 12});
  request.mutable_sequences(0)->set_session(name);
  request.mutable_sequences(0)->set_seq(1);
  v1::RunSequencesResponse response;
  ASSERT_TRUE(RunStatus(request, &response).ok());
  EXPECT_EQ(response.results(0).seq(), 1u);
  EXPECT_EQ(Step(name, {input.begin() + 12, input.end()}, 2), std::vector<float>(want.begin() + 8, want.end()));
}

TEST_F(ServingTest, AStreamStepsManyHandlesInOneFrame) {
  StartCpu();
  const auto context = Context();
  const auto stream = OpenStream(context.get());
  ASSERT_TRUE(stream->Write(BindFrame({SessionName("m", "a"), SessionName("m", "b"), SessionName("wide", "c")})));
  const std::vector<float> input = test::SeededFloats(9, 6, 1.0f);
  v1::StreamStepsRequest frame = StepFrame(77, {1, 0}, MakeTensor({2, 3}, input));
  *frame.add_steps() = StepFrame(78, {2}, MakeTensor({1, 2, 4}, std::vector<float>(8, 1.0f))).steps(0);
  frame.mutable_steps(1)->set_return_state(true);
  ASSERT_TRUE(stream->Write(frame));
  ASSERT_TRUE(stream->WritesDone());
  v1::StreamStepsResponse reply;
  std::map<uint32_t, std::vector<float>> outputs;
  int bound = 0;
  while (stream->Read(&reply)) {
    EXPECT_EQ(reply.failures_size(), 0);
    for (const v1::Bound& one : reply.bound()) {
      ++bound;
      EXPECT_EQ(one.session().epoch(), 1u);
      EXPECT_EQ(one.input_size(), one.handle() == 2 ? 4u : 3u);
      EXPECT_EQ(one.max_in_flight(), options_.limits.max_in_flight_per_stream);
    }
    for (const v1::ResultBlock& block : reply.results()) {
      const std::vector<float> values = Values(block.output());
      const size_t row = values.size() / block.handles_size();
      for (int i = 0; i < block.handles_size(); ++i) {
        EXPECT_EQ(block.ids(i), block.handles(i) == 2 ? 78u : 77u);
        outputs[block.handles(i)] = {values.begin() + i * row, values.begin() + (i + 1) * row};
      }
      EXPECT_EQ(block.states_size(), block.handles(0) == 2 ? 1 : 0);
      EXPECT_EQ(block.seqs_size(), 0);
      EXPECT_EQ(block.replayed_size(), 0);
    }
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(bound, 3);
  EXPECT_EQ(outputs[1], Reference("m", 1, {input.begin(), input.begin() + 3}));
  EXPECT_EQ(outputs[0], Reference("m", 1, {input.begin() + 3, input.end()}));
  EXPECT_EQ(outputs[2], Reference("wide", 2, std::vector<float>(8, 1.0f)));
}

TEST_F(ServingTest, ServerInfoAndModelsTellWhatIsThere) {
  StartCpu();
  v1::ServerInfo info;
  auto context = Context();
  ASSERT_TRUE(models_->GetServerInfo(context.get(), {}, &info).ok());
  EXPECT_EQ(info.models(), 3u);
  EXPECT_EQ(info.devices(0).name(), "cpu");
  v1::GetModelRequest request;
  request.set_name("models/bi");
  v1::Model model;
  context = Context();
  ASSERT_TRUE(models_->GetModel(context.get(), request, &model).ok());
  EXPECT_EQ(model.state(), v1::Model::READY);
  EXPECT_FALSE(model.steppable());
  EXPECT_EQ(model.output_size(), 10u);
  EXPECT_EQ(model.weights_sha256().size(), 64u);
}

}  // namespace
}  // namespace lstmd
