// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "gmock/gmock.h"
#include "tests/integration/oip_client.h"
#include "tests/integration/server_fixture.h"
#include "tests/support/models.h"

namespace lstmd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class OipInferTest : public ServerTest {
 protected:
  void SetUp() override {
    StartCpu();
    oip_ = inference::GRPCInferenceService::NewStub(NewChannel());
  }

  grpc::Status Infer(const inference::ModelInferRequest& request, inference::ModelInferResponse* response) {
    response->Clear();
    return oip_->ModelInfer(Context().get(), request, response);
  }
  inference::ModelInferResponse Infer(const inference::ModelInferRequest& request) {
    inference::ModelInferResponse response;
    const grpc::Status status = Infer(request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }

  std::unique_ptr<OipStub> oip_;
};

TEST_F(OipInferTest, StepsOfASequenceEqualThoseOfASession) {
  Create("m", "native");
  for (int t = 0; t < 5; ++t) {
    const std::vector<float> input = test::SeededFloats(static_cast<uint64_t>(t), 3, 1);
    const inference::ModelInferResponse response = Infer(OipStep("m", 7, input, t == 0));
    EXPECT_EQ(RawFloats(response), Step(SessionName("m", "native"), input)) << "step " << t;
    EXPECT_THAT(OutputShape(response), ElementsAre(1, 2));
    EXPECT_EQ(response.id(), "r");
    EXPECT_EQ(response.model_name(), "m");
    EXPECT_EQ(response.model_version(), "1");
  }
  EXPECT_EQ(Get(SessionName("m", "seq-7")).steps(), 5u);
}

TEST_F(OipInferTest, StringIdsAndSeveralSteps) {
  const std::vector<float> input = test::SeededFloats(1, 12, 1);
  inference::ModelInferRequest request = OipRequest("m", {1, 4, 3}, input);
  (*request.mutable_parameters())["sequence_id"].set_string_param("alice");
  (*request.mutable_parameters())["sequence_start"].set_bool_param(true);
  const inference::ModelInferResponse together = Infer(request);
  EXPECT_THAT(OutputShape(together), ElementsAre(1, 4, 2));
  std::vector<float> apart;
  for (size_t t = 0; t < 4; ++t) {
    const std::vector<float> step(input.begin() + static_cast<ptrdiff_t>(3 * t),
                                  input.begin() + static_cast<ptrdiff_t>(3 * t + 3));
    for (const float value : RawFloats(Infer(OipStep("m", 8, step, t == 0)))) apart.push_back(value);
  }
  EXPECT_EQ(RawFloats(together), apart);
  EXPECT_EQ(Get(SessionName("m", "alice")).steps(), 4u);
}

TEST_F(OipInferTest, StartOnALiveIdRestartsAndEndDeletes) {
  const std::vector<float> input = {1, 2, 3};
  const inference::ModelInferResponse first = Infer(OipStep("m", 1, input, true));
  EXPECT_NE(RawFloats(Infer(OipStep("m", 1, input))), RawFloats(first));
  const inference::ModelInferResponse again = Infer(OipStep("m", 1, input, true, true));
  EXPECT_EQ(RawFloats(again), RawFloats(first));
  inference::ModelInferResponse response;
  const grpc::Status status = Infer(OipStep("m", 1, input), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(),
              HasSubstr("inference request for sequence 1 to model 'm' must specify the START flag on the first "
                        "request of the sequence"));
  EXPECT_EQ(Decode(status).reason, "SESSION_NOT_FOUND");
}

TEST_F(OipInferTest, BatchesOfWholeSequencesWithStatesAndLengths) {
  for (const std::string model : {"m", "bi"}) {
    const std::vector<float> input = test::SeededFloats(3, 2 * 4 * 3, 1);
    const size_t state_size = 2 * 2 * 5;
    const std::vector<float> h = test::SeededFloats(4, state_size, 1);
    const std::vector<float> c = test::SeededFloats(5, state_size, 1);
    v1::RunSequencesRequest native;
    native.set_model("models/" + model);
    v1::Sequence& sequence = *native.add_sequences();
    *sequence.mutable_input() = MakeTensor({2, 4, 3}, input);
    sequence.add_lengths(4);
    sequence.add_lengths(2);
    *sequence.mutable_initial_state()->mutable_h() = MakeTensor({2, 2, 5}, h);
    *sequence.mutable_initial_state()->mutable_c() = MakeTensor({2, 2, 5}, c);
    sequence.set_return_final_state(true);
    v1::RunSequencesResponse want;
    ASSERT_TRUE(RunStatus(native, &want).ok());

    inference::ModelInferRequest request = OipRequest(model, {2, 4, 3}, input);
    AddInput("c_0", {2, 2, 5}, c, &request);
    AddInput("h_0", {2, 2, 5}, h, &request);
    auto& lengths = *request.add_inputs();
    lengths.set_name("lengths");
    lengths.set_datatype("INT32");
    lengths.add_shape(2);
    const int32_t numbers[] = {4, 2};
    request.add_raw_input_contents(numbers, sizeof(numbers));
    for (const char* name : {"c_n", "OUTPUT", "h_n"}) request.add_outputs()->set_name(name);
    const inference::ModelInferResponse got = Infer(request);
    EXPECT_EQ(RawFloats(got, 0), Values(want.results(0).final_state().c())) << model;
    EXPECT_EQ(RawFloats(got, 1), Values(want.results(0).output())) << model;
    EXPECT_EQ(RawFloats(got, 2), Values(want.results(0).final_state().h())) << model;
    EXPECT_EQ(got.outputs(0).name(), "c_n");
    EXPECT_EQ(OutputShape(got, 1), Shape(want.results(0).output()));
    EXPECT_THAT(OutputShape(got, 2), ElementsAre(2, 2, 5));
  }
}

TEST_F(OipInferTest, TypedContentsEqualRawOnes) {
  const std::vector<float> input = {0.5f, -1, 2, 1, 0, 3};
  inference::ModelInferRequest typed = OipRequest("m", {2, 3}, input);
  typed.clear_raw_input_contents();
  for (const float value : input) typed.mutable_inputs(0)->mutable_contents()->add_fp32_contents(value);
  const inference::ModelInferResponse response = Infer(typed);
  EXPECT_EQ(RawFloats(response), RawFloats(Infer(OipRequest("m", {2, 3}, input))));
  EXPECT_THAT(OutputShape(response), ElementsAre(2, 2));
}

TEST_F(OipInferTest, InitialStateOfASequence) {
  const std::vector<float> state = test::SeededFloats(6, 10, 1);
  inference::ModelInferRequest request = OipStep("m", 3, {1, 2, 3}, true);
  AddInput("h_0", {2, 1, 5}, state, &request);
  AddInput("c_0", {2, 5}, state, &request);
  inference::ModelInferRequest whole = OipRequest("m", {1, 1, 3}, {1, 2, 3});
  AddInput("h_0", {2, 1, 5}, state, &whole);
  AddInput("c_0", {2, 1, 5}, state, &whole);
  EXPECT_EQ(RawFloats(Infer(request)), RawFloats(Infer(whole)));
  // The same on a live id.
  EXPECT_EQ(RawFloats(Infer(request)), RawFloats(Infer(whole)));
}

TEST_F(OipInferTest, NumberedStepsAreDoneOnce) {
  Infer(OipStep("m", 4, {1, 2, 3}, true));
  inference::ModelInferRequest request = OipStep("m", 4, {3, 2, 1});
  (*request.mutable_parameters())["lstmd_seq"].set_string_param("1");
  const inference::ModelInferResponse first = Infer(request);
  EXPECT_EQ(first.parameters().at("lstmd_seq").int64_param(), 1);
  EXPECT_EQ(first.parameters().count("lstmd_replayed"), 0u);
  const inference::ModelInferResponse again = Infer(request);
  EXPECT_EQ(RawFloats(again), RawFloats(first));
  EXPECT_TRUE(again.parameters().at("lstmd_replayed").bool_param());
  (*request.mutable_parameters())["lstmd_seq"].set_int64_param(2);
  (*request.mutable_parameters())["lstmd_epoch"].set_int64_param(99);
  inference::ModelInferResponse response;
  EXPECT_EQ(Infer(request, &response).error_code(), grpc::StatusCode::ABORTED);
}

TEST_F(OipInferTest, RepliesHaveTheParametersThatWereAskedFor) {
  inference::ModelInferRequest request = OipStep("m", 5, {1, 2, 3}, true);
  EXPECT_EQ(Infer(request).parameters_size(), 0);
  (*request.mutable_parameters())["triton_enable_empty_final_response"].set_bool_param(false);
  EXPECT_EQ(Infer(request).parameters_size(), 0);
  (*request.mutable_parameters())["triton_enable_empty_final_response"].set_bool_param(true);
  (*request.mutable_parameters())["lstmd_seq"].set_int64_param(1);
  const inference::ModelInferResponse response = Infer(request);
  EXPECT_EQ(response.parameters_size(), 3);
  EXPECT_TRUE(response.parameters().at("triton_final_response").bool_param());
  EXPECT_EQ(response.parameters().at("lstmd_seq").int64_param(), 1);
  EXPECT_GE(response.parameters().at("lstmd_epoch").int64_param(), 1);
}

TEST_F(OipInferTest, StatisticsGrow) {
  inference::ModelStatisticsRequest request;
  request.set_name("m");
  const auto read = [&] {
    inference::ModelStatisticsResponse response;
    const grpc::Status status = oip_->ModelStatistics(Context().get(), request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.model_stats_size(), 1);
    return response.model_stats_size() == 1 ? response.model_stats(0) : inference::ModelStatistics();
  };
  EXPECT_EQ(read().inference_stats().queue().count(), 0u);
  Infer(OipRequest("m", {3, 2, 3}, std::vector<float>(18, 1)));
  inference::ModelInferResponse response;
  EXPECT_FALSE(Infer(OipStep("m", 50, {1, 2, 3}), &response).ok());
  const inference::ModelStatistics statistics = read();
  EXPECT_EQ(statistics.version(), "1");
  EXPECT_EQ(statistics.inference_count(), 3u);
  EXPECT_GE(statistics.execution_count(), 1u);
  EXPECT_EQ(statistics.inference_stats().success().count(), 1u);
  EXPECT_EQ(statistics.inference_stats().queue().count(), 1u);
  EXPECT_EQ(statistics.inference_stats().fail().count(), 1u);
}

}  // namespace
}  // namespace lstmd
