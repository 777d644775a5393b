// SPDX-License-Identifier: Apache-2.0
//
// Requests that must fail with a reason, and leave the server serving.
#include <functional>
#include <limits>
#include <memory>

#include "gmock/gmock.h"
#include "tests/integration/oip_client.h"
#include "tests/integration/server_fixture.h"

namespace lstmd {
namespace {

using inference::ModelInferRequest;

struct BadCase {
  const char* name;
  const char* reason;
  std::function<void(ModelInferRequest*)> spoil;  // a good step of sequence 1, which lives
};

inference::InferParameter& Parameter(ModelInferRequest* request, const char* key) {
  return (*request->mutable_parameters())[key];
}

void SetShape(ModelInferRequest* request, const std::vector<int64_t>& shape) {
  request->mutable_inputs(0)->mutable_shape()->Assign(shape.begin(), shape.end());
}

constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();

std::vector<BadCase> BadCases() {
  return {
      {"raw too short", "TENSOR_BYTES", [](auto* r) { r->mutable_raw_input_contents(0)->resize(11); }},
      {"raw too long", "TENSOR_BYTES", [](auto* r) { r->mutable_raw_input_contents(0)->resize(13); }},
      {"raw empty", "TENSOR_BYTES", [](auto* r) { r->mutable_raw_input_contents(0)->clear(); }},
      {"two raw for one input", "INPUT_CONTENTS", [](auto* r) { r->add_raw_input_contents("abcd"); }},
      {"contents and raw", "INPUT_CONTENTS",
       [](auto* r) { r->mutable_inputs(0)->mutable_contents()->add_fp32_contents(1); }},
      {"contents of another type", "INPUT_CONTENTS",
       [](auto* r) {
         r->clear_raw_input_contents();
         for (int i = 0; i < 3; ++i) r->mutable_inputs(0)->mutable_contents()->add_int_contents(1);
       }},
      {"no contents", "TENSOR_BYTES", [](auto* r) { r->clear_raw_input_contents(); }},
      {"shape with -1", "TENSOR_SHAPE",
       [](auto* r) {
         SetShape(r, {-1, 3});
       }},
      {"shape with -1 steps", "TENSOR_SHAPE",
       [](auto* r) {
         SetShape(r, {1, -1, 3});
       }},
      {"no steps in a sequence", "TENSOR_SHAPE",
       [](auto* r) {
         SetShape(r, {1, 0, 3});
       }},
      {"empty shape", "TENSOR_SHAPE", [](auto* r) { SetShape(r, {}); }},
      {"rank 1", "TENSOR_SHAPE", [](auto* r) { SetShape(r, {3}); }},
      {"rank 4", "TENSOR_SHAPE",
       [](auto* r) {
         SetShape(r, {1, 1, 1, 3});
       }},
      {"rank 1000", "TENSOR_SHAPE", [](auto* r) { SetShape(r, std::vector<int64_t>(1000, 1)); }},
      {"another input size", "TENSOR_SHAPE",
       [](auto* r) {
         SetShape(r, {1, 4});
       }},
      {"a batch in a sequence", "TENSOR_SHAPE",
       [](auto* r) {
         SetShape(r, {2, 3});
       }},
      {"shape that overflows", "TENSOR_SHAPE",
       [](auto* r) {
         SetShape(r, {1, kHuge, 3});
       }},
      {"shape that is huge", "TENSOR_BYTES",
       [](auto* r) {
         SetShape(r, {1, int64_t{1} << 40, 3});
       }},
      {"batch that overflows", "TENSOR_SHAPE",
       [](auto* r) {
         r->clear_parameters();
         SetShape(r, {kHuge, kHuge, 3});
       }},
      {"empty batch of too many", "ROW_COUNT",
       [](auto* r) {
         r->clear_parameters();
         SetShape(r, {kHuge, 0, 3});
         r->mutable_raw_input_contents(0)->clear();
       }},
      {"datatype", "TENSOR_DTYPE", [](auto* r) { r->mutable_inputs(0)->set_datatype("INT8"); }},
      {"no datatype", "TENSOR_DTYPE", [](auto* r) { r->mutable_inputs(0)->clear_datatype(); }},
      {"no inputs", "INPUT_NAME",
       [](auto* r) {
         r->clear_inputs();
         r->clear_raw_input_contents();
       }},
      {"unknown input", "INPUT_NAME", [](auto* r) { r->mutable_inputs(0)->set_name("input"); }},
      {"an input twice", "INPUT_NAME",
       [](auto* r) {
         AddInput("INPUT", {1, 3}, {1, 2, 3}, r);
       }},
      {"10,000 inputs", "INPUT_COUNT",
       [](auto* r) {
         while (r->inputs_size() < 10'000) r->add_inputs();
       }},
      {"h_0 alone", "INITIAL_STATE",
       [](auto* r) {
         AddInput("h_0", {2, 1, 5}, std::vector<float>(10), r);
       }},
      {"state in a running sequence", "INITIAL_STATE",
       [](auto* r) {
         AddInput("h_0", {2, 1, 5}, std::vector<float>(10), r);
         AddInput("c_0", {2, 1, 5}, std::vector<float>(10), r);
       }},
      {"shape of h_0", "TENSOR_SHAPE",
       [](auto* r) {
         Parameter(r, "sequence_start").set_bool_param(true);
         AddInput("h_0", {1, 2, 5}, std::vector<float>(10), r);
         AddInput("c_0", {2, 1, 5}, std::vector<float>(10), r);
       }},
      {"type of lengths", "TENSOR_DTYPE", [](auto* r) { AddInput("lengths", {1}, {1}, r); }},
      {"length beyond the steps", "SEQUENCE_LENGTH",
       [](auto* r) {
         AddInput("lengths", {1}, {1}, r);
         r->mutable_inputs(1)->set_datatype("INT32");
       }},
      {"10,000 outputs", "OUTPUT_COUNT",
       [](auto* r) {
         while (r->outputs_size() < 10'000) r->add_outputs()->set_name("OUTPUT");
       }},
      {"an output twice", "OUTPUT_NAME",
       [](auto* r) {
         for (int i = 0; i < 2; ++i) r->add_outputs()->set_name("h_n");
       }},
      {"unknown output", "OUTPUT_NAME", [](auto* r) { r->add_outputs()->set_name("out"); }},
      {"shared memory", "SHARED_MEMORY",
       [](auto* r) { (*r->mutable_inputs(0)->mutable_parameters())["shared_memory_region"].set_string_param("x"); }},
      {"no model", "MODEL_NOT_FOUND", [](auto* r) { r->clear_model_name(); }},
      {"unknown model", "MODEL_NOT_FOUND", [](auto* r) { r->set_model_name("none"); }},
      {"version that is no number", "MODEL_VERSION", [](auto* r) { r->set_model_version("latest"); }},
      {"negative version", "MODEL_VERSION", [](auto* r) { r->set_model_version("-1"); }},
      {"sequence_id of the wrong kind", "PARAMETER", [](auto* r) { Parameter(r, "sequence_id").set_bool_param(true); }},
      {"sequence_id of no kind", "PARAMETER", [](auto* r) { Parameter(r, "sequence_id").Clear(); }},
      {"sequence_start of the wrong kind", "PARAMETER",
       [](auto* r) { Parameter(r, "sequence_start").set_int64_param(1); }},
      {"sequence_end of the wrong kind", "PARAMETER",
       [](auto* r) { Parameter(r, "sequence_end").set_string_param("true"); }},
      {"lstmd_seq below 0", "PARAMETER", [](auto* r) { Parameter(r, "lstmd_seq").set_int64_param(-1); }},
      {"lstmd_seq as words", "PARAMETER", [](auto* r) { Parameter(r, "lstmd_seq").set_string_param("two"); }},
      {"timeout of the wrong kind", "PARAMETER", [](auto* r) { Parameter(r, "timeout").set_double_param(1); }},
      {"start without an id", "SEQUENCE_REQUIRED",
       [](auto* r) {
         Parameter(r, "sequence_id").set_int64_param(0);
         Parameter(r, "sequence_start").set_bool_param(true);
       }},
      {"end without an id", "SEQUENCE_REQUIRED",
       [](auto* r) {
         Parameter(r, "sequence_id").set_string_param("");
         Parameter(r, "sequence_end").set_bool_param(true);
       }},
      {"an id that is no session's", "SESSION_ID",
       [](auto* r) { Parameter(r, "sequence_id").set_string_param("../etc"); }},
      {"end without start", "SESSION_NOT_FOUND",
       [](auto* r) {
         Parameter(r, "sequence_id").set_int64_param(99);
         Parameter(r, "sequence_end").set_bool_param(true);
       }},
      {"sequence of a bidirectional model", "NOT_STEPPABLE", [](auto* r) { r->set_model_name("bi"); }},
  };
}

class OipBadInputTest : public ServerTest {
 protected:
  void SetUp() override {
    StartCpu();
    oip_ = inference::GRPCInferenceService::NewStub(NewChannel());
    inference::ModelInferResponse response;
    ASSERT_TRUE(oip_->ModelInfer(Context().get(), OipStep("m", 1, {1, 2, 3}, true), &response).ok());
  }
  std::unique_ptr<OipStub> oip_;
};

TEST_F(OipBadInputTest, UnaryErrorsHaveReasonsAndChangeNothing) {
  for (const BadCase& bad : BadCases()) {
    SCOPED_TRACE(bad.name);
    ModelInferRequest request = OipStep("m", 1, {1, 2, 3});
    bad.spoil(&request);
    inference::ModelInferResponse response;
    const grpc::Status status = oip_->ModelInfer(Context().get(), request, &response);
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(Decode(status).reason, bad.reason) << status.error_message();
  }
  EXPECT_EQ(Get(SessionName("m", "seq-1")).steps(), 1u);
  EXPECT_EQ(server_->engine().Stats().sessions, 1u);
}

TEST_F(OipBadInputTest, OfTwoWrongParametersTheFirstByNameIsTold) {
  for (int i = 0; i < 50; ++i) {
    ModelInferRequest request = OipStep("m", 1, {1, 2, 3});
    // Another order of each map.
    Parameter(&request, std::to_string(i).c_str()).set_bool_param(true);
    Parameter(&request, "sequence_id").set_string_param("../etc");
    Parameter(&request, "sequence_end").set_int64_param(1);
    inference::ModelInferResponse response;
    const grpc::Status status = oip_->ModelInfer(Context().get(), request, &response);
    ASSERT_EQ(Decode(status).reason, "PARAMETER") << i << ": " << status.error_message();
  }
}

TEST_F(OipBadInputTest, StreamErrorsAreMessagesAndTheStreamGoesOn) {
  const std::unique_ptr<grpc::ClientContext> context = Context();
  const std::unique_ptr<OipClientStream> stream = oip_->ModelStreamInfer(context.get());
  int number = 0;
  for (const BadCase& bad : BadCases()) {
    SCOPED_TRACE(bad.name);
    ModelInferRequest request = OipStep("m", 1, {1, 2, 3});
    bad.spoil(&request);
    request.set_id(std::to_string(++number));
    ASSERT_TRUE(stream->Write(request));
    inference::ModelStreamInferResponse response;
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.error_message().rfind(std::string("[") + bad.reason + "] ", 0), 0u) << response.error_message();
    EXPECT_EQ(response.infer_response().id(), request.id());
  }
  ASSERT_TRUE(stream->Write(OipStep("m", 1, {1, 2, 3})));
  inference::ModelStreamInferResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.error_message(), "");
  stream->WritesDone();
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(Get(SessionName("m", "seq-1")).steps(), 2u);
}

}  // namespace
}  // namespace lstmd
