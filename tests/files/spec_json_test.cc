// SPDX-License-Identifier: Apache-2.0
//
// The engine's JSON and protobuf's must be one: what either writes, both read as the same spec.
#include <string>
#include <string_view>
#include <vector>

#include "engine/errors.h"
#include "engine/spec.h"
#include "engine/spec_draft.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/json_util.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"
#include "lstmd/v1/model.pb.h"

namespace lstmd {
namespace {

using ::testing::HasSubstr;

v1::ModelSpec ProtoFromJson(const std::string& json) {
  v1::ModelSpec proto;
  const auto status = google::protobuf::util::JsonStringToMessage(json, &proto);
  EXPECT_TRUE(status.ok()) << status.ToString() << "\n" << json;
  return proto;
}

std::string JsonFromProto(const v1::ModelSpec& proto, bool snake_case, bool with_defaults) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = snake_case;
  options.always_print_primitive_fields = with_defaults;
  std::string json;
  EXPECT_TRUE(google::protobuf::util::MessageToJsonString(proto, &json, options).ok());
  return json;
}

// Together they set every field, and every value of every enum.
const std::vector<std::string>& Specs() {
  static const auto* specs = new std::vector<std::string>{
      R"({"input_size":1,"hidden_size":1})",
      R"({"input_size":65536,"hidden_size":65536,"num_layers":64,"bias":false,"direction":"DIRECTION_REVERSE"})",
      R"({"input_size":10,"hidden_size":20,"num_layers":2,"direction":"DIRECTION_BIDIRECTIONAL",
          "merge_mode":"MERGE_MODE_SUM","projection_size":7,
          "activations":{"gate":{"function":"HARD_SIGMOID","alpha":0.2,"beta":0.5},"cell":{"function":"ELU"}},
          "reverse_activations":{"output":{"function":"AFFINE","alpha":1.7,"beta":-0.1}},
          "peepholes":true,"clip":3.4e-5,"input_forget":true,
          "head":{"output_size":4,"bias":true,"activation":{"function":"SOFTSIGN"}},
          "precision":"PRECISION_INT8_WEIGHTS","learned_initial_state":true,
          "padding_output":"PADDING_OUTPUT_REPEAT_LAST","zero_length_state":"ZERO_LENGTH_STATE_ZEROS"})",
      R"({"input_size":1,"hidden_size":1,"direction":"DIRECTION_GO_BACKWARDS","head":{"output_size":1},
          "activations":{"gate":{"function":"HARD_SIGMOID","alpha":0.16666667},"cell":{"function":"LEAKY_RELU"},
                         "output":{"function":"LINEAR"}},"precision":"PRECISION_BF16",
          "padding_output":"PADDING_OUTPUT_CELL"})",
      R"({"input_size":1,"hidden_size":1,"direction":"DIRECTION_BIDIRECTIONAL","merge_mode":"MERGE_MODE_MUL",
          "activations":{"gate":{"function":"THRESHOLDED_RELU","alpha":0.3},
                         "cell":{"function":"SCALED_TANH","alpha":1,"beta":0.7},"output":{"function":"SOFTPLUS"}},
          "reverse_activations":{},"precision":"PRECISION_BF16_WEIGHTS"})",
      R"({"input_size":1,"hidden_size":1,"direction":"DIRECTION_BIDIRECTIONAL","merge_mode":"MERGE_MODE_AVE",
          "activations":{"gate":{"function":"SELU"},"cell":{"function":"SILU"},"output":{"function":"GELU"}},
          "precision":"PRECISION_F16"})",
      R"({"input_size":1,"hidden_size":1,"direction":"DIRECTION_BIDIRECTIONAL","merge_mode":"MERGE_MODE_CONCAT",
          "activations":{"gate":{"function":"RELU"},"cell":{"function":"SIGMOID"},"output":{"function":"TANH"}},
          "reverse_activations":{"gate":{"function":"RELU"},"cell":{"function":"SIGMOID"}},
          "precision":"PRECISION_F32","zero_length_state":"ZERO_LENGTH_STATE_INITIAL",
          "padding_output":"PADDING_OUTPUT_ZEROS"})",
      R"({"input_size":1,"hidden_size":1,"num_layers":0,"direction":"DIRECTION_UNSPECIFIED","clip":0,
          "precision":"PRECISION_UNSPECIFIED","activations":{"gate":{"function":"FUNCTION_UNSPECIFIED"}}})",
  };
  return *specs;
}

TEST(SpecJsonTest, ReadsWhatItWrites) {
  for (const std::string& json : Specs()) {
    const absl::StatusOr<ModelSpec> spec = ParseSpecJson(json);
    ASSERT_TRUE(spec.ok()) << spec.status() << "\n" << json;
    const std::string written = SpecToJson(*spec);
    const absl::StatusOr<ModelSpec> again = ParseSpecJson(written);
    ASSERT_TRUE(again.ok()) << again.status() << "\n" << written;
    EXPECT_EQ(SpecToJson(*again), written);
  }
}

// protobuf writes in each of its forms; the engine reads the same spec every time.
TEST(SpecJsonTest, ReadsWhatProtobufWrites) {
  for (const std::string& json : Specs()) {
    const v1::ModelSpec proto = ProtoFromJson(json);
    const std::string want = SpecToJson(*ParseSpecJson(json));
    for (const bool snake_case : {false, true}) {
      for (const bool with_defaults : {false, true}) {
        const std::string text = JsonFromProto(proto, snake_case, with_defaults);
        const absl::StatusOr<ModelSpec> spec = ParseSpecJson(text);
        ASSERT_TRUE(spec.ok()) << spec.status() << "\n" << text;
        EXPECT_EQ(SpecToJson(*spec), want) << text;
      }
    }
  }
}

// The engine writes; protobuf reads it, writes it back, and nothing has changed. Then once more, so that the message
// itself is compared and not only what the engine sees of it.
TEST(SpecJsonTest, ProtobufReadsWhatItWrites) {
  for (const std::string& json : Specs()) {
    const std::string written = SpecToJson(*ParseSpecJson(json));
    const v1::ModelSpec proto = ProtoFromJson(written);
    const absl::StatusOr<ModelSpec> back = ParseSpecJson(JsonFromProto(proto, true, false));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(SpecToJson(*back), written);
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(ProtoFromJson(SpecToJson(*back)), proto));
  }
}

// Every field of the message, none at its default, just as the engine writes it: nothing is lost or put elsewhere.
TEST(SpecJsonTest, WritesEveryField) {
  const std::string json =
      R"({"input_size":10,"hidden_size":20,"num_layers":2,"direction":"DIRECTION_BIDIRECTIONAL",)"
      R"("merge_mode":"MERGE_MODE_SUM","projection_size":7,"bias":false,)"
      R"("activations":{"gate":{"function":"HARD_SIGMOID","alpha":0.25,"beta":0.4},"cell":{"function":"ELU"},)"
      R"("output":{"function":"THRESHOLDED_RELU","alpha":0.3}},)"
      R"("reverse_activations":{"output":{"function":"AFFINE","alpha":1.7,"beta":-0.1}},)"
      R"("peepholes":true,"clip":3.5,"input_forget":true,)"
      R"("head":{"output_size":4,"bias":true,"activation":{"function":"SOFTSIGN"}},)"
      R"("precision":"PRECISION_INT8_WEIGHTS","learned_initial_state":true,)"
      R"("padding_output":"PADDING_OUTPUT_REPEAT_LAST","zero_length_state":"ZERO_LENGTH_STATE_ZEROS"})";
  const v1::ModelSpec proto = ProtoFromJson(json);
  std::vector<const google::protobuf::FieldDescriptor*> set;
  proto.GetReflection()->ListFields(proto, &set);
  EXPECT_EQ(set.size(), static_cast<size_t>(v1::ModelSpec::descriptor()->field_count()));

  const absl::StatusOr<ModelSpec> spec = ParseSpecJson(json);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(SpecToJson(*spec), json);
  EXPECT_EQ(spec->projection_size, 7u);
  EXPECT_FALSE(spec->bias);
  EXPECT_EQ(spec->activations[0].gate, (Activation{Function::kHardSigmoid, 0.25f, 0.4f}));
  EXPECT_EQ(spec->activations[0].cell, (Activation{Function::kElu, 1, 0}));
  EXPECT_EQ(spec->activations[0].output, (Activation{Function::kThresholdedRelu, 0.3f, 0}));
  EXPECT_EQ(spec->activations[1].gate, Activation{Function::kSigmoid});
  EXPECT_EQ(spec->activations[1].output, (Activation{Function::kAffine, 1.7f, -0.1f}));
  EXPECT_TRUE(spec->peepholes && spec->input_forget && spec->learned_initial_state);
}

// A field added to the message must be added to the engine: set each field of the message alone, and see it read.
TEST(SpecJsonTest, KnowsEveryFieldOfTheMessage) {
  const auto check = [](const google::protobuf::Descriptor* type, auto&& check, const std::string& before,
                        const std::string& after) -> void {
    for (int i = 0; i < type->field_count(); ++i) {
      const google::protobuf::FieldDescriptor* field = type->field(i);
      const std::string open = before + "\"" + std::string(field->name()) + "\":";
      if (field->message_type() != nullptr) {
        check(field->message_type(), check, open + "{", "}" + after);
        continue;
      }
      std::string value = "1";
      if (field->type() == google::protobuf::FieldDescriptor::TYPE_BOOL) value = "false";
      if (field->enum_type() != nullptr) value = "\"" + std::string(field->enum_type()->value(1)->name()) + "\"";
      SpecDraft draft;
      const absl::Status status = ReadSpecJson(open + value + after, &draft);
      // A parameter that the default function does not have is an error of its own kind.
      EXPECT_THAT(std::string(status.message()), ::testing::Not(HasSubstr("no such field"))) << open;
      if (!status.ok()) {
        EXPECT_THAT(GetCause(status).field, ::testing::AnyOf(HasSubstr("alpha"), HasSubstr("beta")));
      }
    }
  };
  check(v1::ModelSpec::descriptor(), check, "{", "}");
}

TEST(SpecJsonTest, EveryEnumValueHasItsName) {
  const auto check = [](const google::protobuf::EnumDescriptor* type, auto of_index) {
    for (int i = 0; i + 1 < type->value_count(); ++i) {
      EXPECT_EQ(Name(of_index(i)), std::string(type->value(i + 1)->name()));
    }
    EXPECT_EQ(Name(of_index(type->value_count() - 1)), "");
  };
  check(v1::Activation::Function_descriptor(), [](int i) { return static_cast<Function>(i); });
  check(v1::Direction_descriptor(), [](int i) { return static_cast<Direction>(i); });
  check(v1::MergeMode_descriptor(), [](int i) { return static_cast<MergeMode>(i); });
  check(v1::Precision_descriptor(), [](int i) { return static_cast<Precision>(i); });
  check(v1::PaddingOutput_descriptor(), [](int i) { return static_cast<PaddingOutput>(i); });
  check(v1::ZeroLengthState_descriptor(), [](int i) { return static_cast<ZeroLengthState>(i); });
}

struct BadJson {
  std::string json;
  const char* field;
  const char* message;
};

TEST(SpecJsonTest, BadJsonIsNamed) {
  const auto with = [](const std::string& rest) { return R"({"input_size":3,"hidden_size":5,)" + rest + "}"; };
  const BadJson cases[] = {
      {"", "", "not JSON"},
      {"{", "", "not JSON at byte"},
      {"{} {}", "", "not JSON"},
      {"[]", "", "want an object"},
      {"null", "", "want an object"},
      {R"({"input_size":1,"input_size":1})", "", "twice"},
      {R"({"input_size":1,"inputSize":1})", "input_size", "both spellings"},
      {"{\"a\xff\":1}", "", "not JSON"},
      {std::string(2000, '['), "", "deep"},
      {std::string(2 << 20, ' '), "", "bytes, want at most"},
      {"{\"input_size\":1e999}", "", "not JSON"},
      {with(R"("units":3)"), "units", "units: there is no such field"},
      {with(R"("head":{"output_size":1,"size":2})"), "head.size", "no such field"},
      {with(R"("activations":{"gate":{"fn":"TANH"}})"), "activations.gate.fn", "no such field"},
      {with(R"("num_layers":-1)"), "num_layers", "got -1, want an integer"},
      {with(R"("num_layers":1.5)"), "num_layers", "got 1.5, want an integer"},
      {with(R"("num_layers":4294967297)"), "num_layers", "want an integer"},
      {with(R"("num_layers":"two")"), "num_layers", "got \"two\""},
      {with(R"("num_layers":true)"), "num_layers", "got true"},
      {with(R"("bias":1)"), "bias", "want true or false"},
      {with(R"("clip":"NaN")"), "clip", "want a finite number"},
      {with(R"("clip":1e300)"), "clip", "want a finite number"},
      {with(R"("direction":"REVERSE")"), "direction", "want one of DIRECTION_FORWARD, DIRECTION_REVERSE"},
      {with(R"("direction":2)"), "direction", "got 2"},
      {with(R"("activations":"TANH")"), "activations", "want an object"},
      {with(R"("activations":{"gate":{"function":"RELU6"}})"), "activations.gate.function", "got \"RELU6\""},
      {with(R"("activations":{"gate":{"function":"AFFINE","alpha":1}})"), "activations.gate.beta", "AFFINE needs it"},
      {with(R"("reverse_activations":{})"), "reverse_activations", "DIRECTION_BIDIRECTIONAL"},
      {with(R"("projection_size":5)"), "projection_size", "got 5"},
      {R"({"hidden_size":5})", "input_size", "got 0"},
  };
  for (const BadJson& c : cases) {
    const absl::Status status = ParseSpecJson(c.json).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.json;
    EXPECT_EQ(GetCause(status).reason, "MODEL_SPEC") << c.json;
    EXPECT_EQ(GetCause(status).field, c.field) << c.json;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.message)) << c.json;
  }
}

TEST(SpecJsonTest, NumbersAreWrittenShort) {
  ModelSpec spec;
  spec.input_size = 1;
  spec.hidden_size = 2;
  spec.clip = 0.1f;
  EXPECT_EQ(SpecToJson(spec), R"({"input_size":1,"hidden_size":2,"clip":0.1})");
}

TEST(SpecJsonTest, ASecondTextOverridesTheFirst) {
  SpecDraft draft;
  ASSERT_TRUE(ReadSpecJson(R"({"hidden_size":4,"activations":{"gate":{"function":"RELU"}},"clip":2})", &draft).ok());
  ASSERT_TRUE(ReadSpecJson(R"({"input_size":3,"clip":1})", &draft).ok());
  EXPECT_EQ(SpecToJson(draft.spec),
            R"({"input_size":3,"hidden_size":4,"activations":{"gate":{"function":"RELU"}},"clip":1.0})");
  EXPECT_EQ(draft.spec.activations[1].gate.function, Function::kRelu);
}

}  // namespace
}  // namespace lstmd
