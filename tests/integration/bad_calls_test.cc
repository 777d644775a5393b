// SPDX-License-Identifier: Apache-2.0
//
// Bad input to the unary calls of the data plane.
#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "tests/integration/bad_input.h"
#include "tests/support/models.h"

namespace lstmd {
namespace {

using BadStep = BadCase<v1::StepRequest>;
using BadRun = BadCase<v1::RunSequencesRequest>;

TEST_F(BadInputTest, Step) {
  Start();
  const auto item = [](v1::StepRequest& request) { return request.mutable_items(0); };
  const auto input = [](v1::StepRequest& request) { return request.mutable_items(0)->mutable_input(); };
  const std::vector<BadStep> cases = {
      {"no items", [](auto& r) { r.clear_items(); }, "INVALID_ARGUMENT / ITEM_COUNT at items"},
      {"too many items",
       [](auto& r) {
         const v1::StepItem one = r.items(0);
         while (r.items_size() <= 4096) *r.add_items() = one;
       },
       "INVALID_ARGUMENT / ITEM_COUNT at items"},
      {"no name", [&](auto& r) { item(r)->clear_session(); }, "INVALID_ARGUMENT / RESOURCE_NAME at items[0].session"},
      {"a model's name", [&](auto& r) { item(r)->set_session("models/m"); },
       "INVALID_ARGUMENT / RESOURCE_NAME at items[0].session"},
      {"a path", [&](auto& r) { item(r)->set_session("models/../sessions/a"); },
       "INVALID_ARGUMENT / RESOURCE_NAME at items[0].session"},
      {"a long name", [&](auto& r) { item(r)->set_session(SessionName("m", std::string(1 << 20, 'a'))); },
       "INVALID_ARGUMENT / RESOURCE_NAME at items[0].session"},
      {"odd characters", [&](auto& r) { item(r)->set_session(SessionName("m", "a\n\"\xc3\xa9\x01")); },
       "INVALID_ARGUMENT / RESOURCE_NAME at items[0].session"},
      {"unknown model", [&](auto& r) { item(r)->set_session(SessionName("none", "a")); },
       "NOT_FOUND / MODEL_NOT_FOUND"},
      {"unknown session", [&](auto& r) { item(r)->set_session(SessionName("m", "none")); },
       "NOT_FOUND / SESSION_NOT_FOUND"},
      {"unknown model, to create",
       [&](auto& r) {
         item(r)->set_session(SessionName("none", "a"));
         item(r)->set_create_if_missing(true);
       },
       "NOT_FOUND / MODEL_NOT_FOUND"},
      {"bidirectional", [&](auto& r) { item(r)->set_session(SessionName("bi", "a")); },
       "FAILED_PRECONDITION / NOT_STEPPABLE"},
      {"bidirectional, to create",
       [&](auto& r) {
         item(r)->set_session(SessionName("bi", "a"));
         item(r)->set_create_if_missing(true);
       },
       "FAILED_PRECONDITION / NOT_STEPPABLE"},
      {"no input", [&](auto& r) { item(r)->clear_input(); }, "INVALID_ARGUMENT / TENSOR_SHAPE at items[0].input.shape"},
      {"dtype", [&](auto& r) { input(r)->set_dtype(static_cast<v1::DataType>(99)); },
       "INVALID_ARGUMENT / TENSOR_DTYPE at items[0].input.dtype"},
      {"size",
       [&](auto& r) {
         *input(r) = MakeTensor({4}, {1, 2, 3, 4});
       },
       "INVALID_ARGUMENT / TENSOR_SHAPE at items[0].input.shape"},
      {"rank",
       [&](auto& r) {
         SetShape(input(r), {1, 1, 3});
       },
       "INVALID_ARGUMENT / TENSOR_SHAPE at items[0].input.shape"},
      {"rank 9",
       [&](auto& r) {
         SetShape(input(r), {1, 1, 1, 1, 1, 1, 1, 1, 3});
       },
       "INVALID_ARGUMENT / TENSOR_SHAPE at items[0].input.shape"},
      {"a negative dimension",
       [&](auto& r) {
         SetShape(input(r), {-1, 3});
       },
       "INVALID_ARGUMENT / TENSOR_SHAPE at items[0].input.shape"},
      {"a product that overflows",
       [&](auto& r) {
         SetShape(input(r), {int64_t{1} << 62, 16, 3});
       },
       "INVALID_ARGUMENT / TENSOR_SHAPE at items[0].input.shape"},
      {"a product that overflows to the right size",
       [&](auto& r) {
         SetShape(input(r), {(std::numeric_limits<int64_t>::max() / 2) + 1, 4, 3});
       },
       "INVALID_ARGUMENT / TENSOR_SHAPE at items[0].input.shape"},
      {"no steps",
       [&](auto& r) {
         *input(r) = MakeTensor({0, 3}, {});
       },
       "INVALID_ARGUMENT / TENSOR_SHAPE at items[0].input.shape"},
      {"too few bytes", [&](auto& r) { input(r)->mutable_data()->pop_back(); },
       "INVALID_ARGUMENT / TENSOR_BYTES at items[0].input.data"},
      {"too many bytes", [&](auto& r) { input(r)->mutable_data()->push_back('x'); },
       "INVALID_ARGUMENT / TENSOR_BYTES at items[0].input.data"},
      {"bytes of another type", [&](auto& r) { input(r)->set_dtype(v1::DATA_TYPE_F16); },
       "INVALID_ARGUMENT / TENSOR_BYTES at items[0].input.data"},
      {"a gap", [&](auto& r) { item(r)->set_seq(3); }, "OUT_OF_RANGE / STEP_GAP at items[0].seq"},
      {"a stale epoch", [&](auto& r) { item(r)->set_epoch(9); }, "ABORTED / SESSION_FENCED at items[0].epoch"},
  };
  for (const BadStep& bad : cases) {
    SCOPED_TRACE(bad.name);
    v1::StepRequest request;
    *request.add_items() = Item(a_, MakeTensor({3}, {1, 2, 3}));
    bad.spoil(request);
    v1::StepResponse response;
    const WireError error = Decode(StepStatus(request, &response));
    EXPECT_EQ(Shown(error), bad.want) << error.message;
    EXPECT_FALSE(error.message.empty());
    ExpectNothingLost();
  }
}

TEST_F(BadInputTest, AmongSeveralItemsOnlyTheBadOnesFail) {
  Start();
  v1::StepRequest request;
  *request.add_items() = Item(SessionName("m", "none"), MakeTensor({3}, {1, 2, 3}));
  *request.add_items() = Item(other_, MakeTensor({3}, {1, 2, 3}));
  *request.add_items() = Item(a_, MakeTensor({2}, {1, 2}));
  *request.add_items() = Item(a_, MakeTensor({3}, {1, 2, 3}));
  request.mutable_items(3)->set_seq(7);
  v1::StepResponse response;
  ASSERT_TRUE(StepStatus(request, &response).ok());
  EXPECT_EQ(Shown(Decode(response.results(0).error())), "NOT_FOUND / SESSION_NOT_FOUND");
  EXPECT_FALSE(response.results(1).has_error());
  EXPECT_EQ(Values(response.results(1).output()).size(), 2u);
  EXPECT_EQ(Shown(Decode(response.results(2).error())), "INVALID_ARGUMENT / TENSOR_SHAPE at items[2].input.shape");
  EXPECT_EQ(Shown(Decode(response.results(3).error())), "OUT_OF_RANGE / STEP_GAP at items[3].seq");
  EXPECT_FALSE(response.results(3).has_output());
  EXPECT_EQ(Decode(response.results(3).error()).metadata["expected_seq"], "2");
  ExpectNothingLost();
}

TEST_F(BadInputTest, ABadStepCreatesNoSession) {
  Start();
  v1::StepRequest request;
  *request.add_items() = Item(SessionName("m", "fresh"), MakeTensor({4}, {1, 2, 3, 4}));
  request.mutable_items(0)->set_create_if_missing(true);
  v1::StepResponse response;
  EXPECT_FALSE(StepStatus(request, &response).ok());
  *request.mutable_items(0) = Item(SessionName("m", "fresh"), MakeTensor({3}, {1, 2, 3}));
  EXPECT_EQ(Shown(Decode(StepStatus(request, &response))), "NOT_FOUND / SESSION_NOT_FOUND");
}

TEST_F(BadInputTest, RunSequences) {
  options_.limits.max_message_bytes = 1 << 20;
  Start();
  Create("wide", "w");
  const auto sequence = [](v1::RunSequencesRequest& request) { return request.mutable_sequences(0); };
  const auto input = [](v1::RunSequencesRequest& request) { return request.mutable_sequences(0)->mutable_input(); };
  const auto zeros = [](const std::vector<int64_t>& shape) {
    int64_t size = 1;
    for (const int64_t dim : shape) size *= dim;
    return MakeTensor(shape, std::vector<float>(static_cast<size_t>(size)));
  };
  const std::vector<BadRun> cases = {
      {"no sequences", [](auto& r) { r.clear_sequences(); }, "INVALID_ARGUMENT / ITEM_COUNT at sequences"},
      {"no model", [](auto& r) { r.clear_model(); }, "INVALID_ARGUMENT / RESOURCE_NAME at model"},
      {"a path", [](auto& r) { r.set_model("models/../m"); }, "INVALID_ARGUMENT / RESOURCE_NAME at model"},
      {"unknown model", [](auto& r) { r.set_model("models/none"); }, "NOT_FOUND / MODEL_NOT_FOUND"},
      {"unknown version", [](auto& r) { r.set_version(7); }, "NOT_FOUND / MODEL_NOT_FOUND"},
      {"a negative version", [](auto& r) { r.set_version(-1); }, "INVALID_ARGUMENT / MODEL_VERSION at version"},
      {"no input", [&](auto& r) { sequence(r)->clear_input(); },
       "INVALID_ARGUMENT / TENSOR_SHAPE at sequences[0].input.shape"},
      {"size",
       [&](auto& r) {
         *input(r) = zeros({4, 2});
       },
       "INVALID_ARGUMENT / TENSOR_SHAPE at sequences[0].input.shape"},
      {"rank 1", [&](auto& r) { *input(r) = zeros({3}); },
       "INVALID_ARGUMENT / TENSOR_SHAPE at sequences[0].input.shape"},
      {"rank 4",
       [&](auto& r) {
         *input(r) = zeros({1, 1, 4, 3});
       },
       "INVALID_ARGUMENT / TENSOR_SHAPE at sequences[0].input.shape"},
      {"bytes", [&](auto& r) { input(r)->mutable_data()->resize(7); },
       "INVALID_ARGUMENT / TENSOR_BYTES at sequences[0].input.data"},
      {"dtype", [&](auto& r) { input(r)->set_dtype(static_cast<v1::DataType>(4)); },
       "INVALID_ARGUMENT / TENSOR_DTYPE at sequences[0].input.dtype"},
      {"rows without end",
       [&](auto& r) {
         *input(r) = zeros({int64_t{1} << 40, 0, 3});
       },
       "INVALID_ARGUMENT / ROW_COUNT at sequences[0].input.shape"},
      {"steps without end in an empty batch",
       [&](auto& r) {
         *input(r) = zeros({0, int64_t{1} << 60, 4});
       },
       "INVALID_ARGUMENT / TENSOR_SHAPE at sequences[0].input.shape"},
      {"a reply too large",
       [&](auto& r) {
         r.set_model("models/bi");
         *input(r) = zeros({40'000, 3});
       },
       "INVALID_ARGUMENT / REPLY_TOO_LARGE at sequences[0].input"},
      {"time_major without a batch", [&](auto& r) { sequence(r)->set_time_major(true); },
       "INVALID_ARGUMENT / TIME_MAJOR at sequences[0].time_major"},
      {"two lengths for one", [&](auto& r) { sequence(r)->mutable_lengths()->Resize(2, 1); },
       "INVALID_ARGUMENT / SEQUENCE_LENGTH at sequences[0].lengths"},
      {"a length beyond T", [&](auto& r) { sequence(r)->add_lengths(5); },
       "INVALID_ARGUMENT / SEQUENCE_LENGTH at sequences[0].lengths[0]"},
      {"a short mask", [&](auto& r) { sequence(r)->set_mask(std::string(3, '\1')); },
       "INVALID_ARGUMENT / MASK at sequences[0].mask"},
      {"a 2 in the mask", [&](auto& r) { sequence(r)->set_mask(std::string("\1\2\1\1", 4)); },
       "INVALID_ARGUMENT / MASK at sequences[0].mask"},
      {"lengths and a mask",
       [&](auto& r) {
         sequence(r)->add_lengths(4);
         sequence(r)->set_mask(std::string(4, '\1'));
       },
       "INVALID_ARGUMENT / MASK at sequences[0].mask"},
      {"half a state",
       [&](auto& r) {
         *sequence(r)->mutable_initial_state()->mutable_h() = zeros({2, 5});
       },
       "INVALID_ARGUMENT / TENSOR_SHAPE at sequences[0].initial_state.c"},
      {"a state of another shape",
       [&](auto& r) {
         *sequence(r)->mutable_initial_state()->mutable_h() = zeros({2, 1, 5});
         *sequence(r)->mutable_initial_state()->mutable_c() = zeros({2, 5});
       },
       "INVALID_ARGUMENT / TENSOR_SHAPE at sequences[0].initial_state.h.shape"},
      {"output mode", [&](auto& r) { sequence(r)->set_output_mode(static_cast<v1::OutputMode>(9)); },
       "INVALID_ARGUMENT / OUTPUT_MODE at sequences[0].output_mode"},
      {"a number without a session", [&](auto& r) { sequence(r)->set_seq(1); },
       "INVALID_ARGUMENT / SESSION_REQUIRED at sequences[0].seq"},
      {"a batch in a session",
       [&](auto& r) {
         sequence(r)->set_session(SessionName("m", "a"));
         *input(r) = zeros({1, 4, 3});
       },
       "INVALID_ARGUMENT / TENSOR_SHAPE at sequences[0].input.shape"},
      {"no step in a session",
       [&](auto& r) {
         sequence(r)->set_session(SessionName("m", "a"));
         *input(r) = zeros({0, 3});
       },
       "INVALID_ARGUMENT / TENSOR_SHAPE at sequences[0].input.shape"},
      {"a session and a state",
       [&](auto& r) {
         sequence(r)->set_session(SessionName("m", "a"));
         *sequence(r)->mutable_initial_state()->mutable_h() = zeros({2, 5});
       },
       "INVALID_ARGUMENT / INITIAL_STATE at sequences[0].initial_state"},
      {"a session of another model", [&](auto& r) { sequence(r)->set_session(SessionName("wide", "w")); },
       "INVALID_ARGUMENT / SESSION_MODEL at sequences[0].session"},
      {"unknown session", [&](auto& r) { sequence(r)->set_session(SessionName("m", "none")); },
       "NOT_FOUND / SESSION_NOT_FOUND"},
      {"a gap",
       [&](auto& r) {
         sequence(r)->set_session(SessionName("m", "a"));
         sequence(r)->set_seq(9);
       },
       "OUT_OF_RANGE / STEP_GAP at sequences[0].seq"},
  };
  for (const BadRun& bad : cases) {
    SCOPED_TRACE(bad.name);
    v1::RunSequencesRequest request;
    request.set_model("models/m");
    *request.add_sequences()->mutable_input() = zeros({4, 3});
    bad.spoil(request);
    v1::RunSequencesResponse response;
    const WireError error = Decode(RunStatus(request, &response));
    EXPECT_EQ(Shown(error), bad.want) << error.message;
    ExpectNothingLost();
  }
}

TEST_F(BadInputTest, AmongSeveralSequencesOnlyTheBadOnesFail) {
  Start();
  v1::RunSequencesRequest request;
  request.set_model("models/m");
  *request.add_sequences()->mutable_input() = MakeTensor({1, 2}, {1, 2});
  *request.add_sequences()->mutable_input() = MakeTensor({1, 3}, {1, 2, 3});
  *request.add_sequences()->mutable_input() = MakeTensor({0, 3}, {});
  v1::RunSequencesResponse response;
  ASSERT_TRUE(RunStatus(request, &response).ok());
  EXPECT_EQ(Shown(Decode(response.results(0).error())), "INVALID_ARGUMENT / TENSOR_SHAPE at sequences[0].input.shape");
  EXPECT_FALSE(response.results(0).has_output());
  EXPECT_EQ(Values(response.results(1).output()).size(), 2u);
  EXPECT_FALSE(response.results(2).has_error());
  EXPECT_THAT(Shape(response.results(2).output()), ::testing::ElementsAre(0, 2));
}

TEST_F(BadInputTest, AnOversizedMessageIsRefusedAndTheServerGoesOn) {
  options_.limits.max_message_bytes = 1 << 20;
  Start();
  v1::StepRequest request;
  *request.add_items() = Item(a_, MakeTensor({200'000, 3}, std::vector<float>(600'000)));
  v1::StepResponse response;
  EXPECT_EQ(StepStatus(request, &response).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  ExpectNothingLost();
}

TEST_F(BadInputTest, NumbersThatAreNoneAreComputedWithAndHarmNobodyElse) {
  Start();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> output = Step(SessionName("m", "a"), {nan, 0, 0});
  EXPECT_TRUE(std::isnan(output[0]));
  for (const float value : Step(other_, {1, 2, 3})) EXPECT_TRUE(std::isfinite(value));
}

}  // namespace
}  // namespace lstmd
