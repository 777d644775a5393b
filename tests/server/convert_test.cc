// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/errors.h"
#include "gmock/gmock.h"
#include "server/convert_model.h"
#include "server/convert_session.h"
#include "server/convert_tensor.h"
#include "server/names.h"

namespace lstmd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::Tensor Tensor(v1::DataType dtype, const std::vector<int64_t>& shape, size_t bytes) {
  v1::Tensor tensor;
  tensor.set_dtype(dtype);
  for (const int64_t dim : shape) tensor.add_shape(dim);
  tensor.set_data(std::string(bytes, '\0'));
  return tensor;
}

std::string Reason(const absl::Status& status) { return GetCause(status).reason + " at " + GetCause(status).field; }

TEST(TensorTest, ChecksTypeShapeAndBytes) {
  struct Case {
    v1::Tensor tensor;
    const char* want;  // "" where it is good
  };
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  const Case cases[] = {
      {Tensor(v1::DATA_TYPE_F32, {2, 3}, 24), ""},
      {Tensor(v1::DATA_TYPE_UNSPECIFIED, {2, 3}, 24), ""},
      {Tensor(v1::DATA_TYPE_F16, {2, 3}, 12), ""},
      {Tensor(v1::DATA_TYPE_BF16, {6}, 12), ""},
      {Tensor(v1::DATA_TYPE_F32, {0, 3}, 0), ""},
      {Tensor(v1::DATA_TYPE_F32, {kMax, kMax, 0}, 0), ""},
      {Tensor(static_cast<v1::DataType>(77), {2}, 8), "TENSOR_DTYPE at dtype"},
      {Tensor(static_cast<v1::DataType>(-1), {2}, 8), "TENSOR_DTYPE at dtype"},
      {Tensor(v1::DATA_TYPE_F32, {}, 4), "TENSOR_SHAPE at shape"},
      {Tensor(v1::DATA_TYPE_F32, {-1}, 0), "TENSOR_SHAPE at shape"},
      {Tensor(v1::DATA_TYPE_F32, {std::numeric_limits<int64_t>::min()}, 0), "TENSOR_SHAPE at shape"},
      {Tensor(v1::DATA_TYPE_F32, {kMax, kMax}, 4), "TENSOR_SHAPE at shape"},
      {Tensor(v1::DATA_TYPE_F32, {int64_t{1} << 32, int64_t{1} << 32}, 0), "TENSOR_SHAPE at shape"},
      {Tensor(v1::DATA_TYPE_F32, {int64_t{1} << 61, 2, 2}, 0), "TENSOR_SHAPE at shape"},
      {Tensor(v1::DATA_TYPE_F32, {1, 1, 1, 1, 1, 1, 1, 1, 1}, 4), "TENSOR_SHAPE at shape"},
      {Tensor(v1::DATA_TYPE_F32, {2, 3}, 23), "TENSOR_BYTES at data"},
      {Tensor(v1::DATA_TYPE_F32, {2, 3}, 0), "TENSOR_BYTES at data"},
      {Tensor(v1::DATA_TYPE_F16, {2, 3}, 24), "TENSOR_BYTES at data"},
      {Tensor(v1::DATA_TYPE_F32, {0, 3}, 4), "TENSOR_BYTES at data"},
  };
  for (const Case& one : cases) {
    const absl::StatusOr<TensorView> view = ViewTensor(one.tensor);
    SCOPED_TRACE(one.tensor.ShortDebugString());
    if (*one.want == '\0') {
      EXPECT_TRUE(view.ok()) << view.status();
    } else {
      ASSERT_FALSE(view.ok());
      EXPECT_EQ(view.status().code(), absl::StatusCode::kInvalidArgument);
      EXPECT_EQ(Reason(view.status()), one.want);
    }
  }
}

TEST(TensorTest, ReadsAndWritesEveryTypeAtAnyAddress) {
  const std::vector<float> values = {0.0f, -1.5f, 0.333333f, 65504.0f, 1e-7f, INFINITY};
  for (const v1::DataType dtype : {v1::DATA_TYPE_F32, v1::DATA_TYPE_F16, v1::DATA_TYPE_BF16}) {
    std::string bytes(1 + values.size() * ElementSize(dtype), '\0');
    WriteFloats(values.data(), values.size(), dtype, bytes.data() + 1);
    TensorView view;
    view.dtype = dtype;
    view.data = bytes.data() + 1;
    view.elements = values.size();
    std::vector<float> back(values.size());
    ReadFloats(view, 0, back.size(), back.data());
    for (size_t i = 0; i + 1 < values.size(); ++i) {
      EXPECT_NEAR(back[i], values[i], std::abs(values[i]) * (dtype == v1::DATA_TYPE_BF16 ? 0.01f : 0.001f) + 1e-7f);
    }
    EXPECT_EQ(back.back(), INFINITY);
    ReadFloats(view, 1, 1, back.data());
    EXPECT_EQ(back[0], -1.5f);
    EXPECT_FALSE(view.in_place());
  }
}

TEST(TensorTest, SetTensorMakesRoom) {
  v1::Tensor tensor;
  SetTensor(v1::DATA_TYPE_BF16, {2, 5}, &tensor);
  SetTensor(v1::DATA_TYPE_F32, {3, 4}, &tensor);
  EXPECT_THAT(tensor.shape(), ElementsAre(3, 4));
  EXPECT_EQ(tensor.data().size(), 48u);
  EXPECT_TRUE(ViewTensor(tensor).ok());
}

TEST(ScratchTest, PointersAreStableAndApart) {
  FloatScratch scratch;
  for (int round = 0; round < 3; ++round) {
    std::vector<std::pair<float*, size_t>> pieces;
    for (size_t size : {0u, 1u, 5000u, 3u, 100'000u, 7u}) {
      pieces.emplace_back(scratch.Allocate(size), size);
      std::fill_n(pieces.back().first, size, static_cast<float>(pieces.size()));
    }
    for (size_t i = 0; i < pieces.size(); ++i) {
      for (size_t k = 0; k < pieces[i].second; ++k) ASSERT_EQ(pieces[i].first[k], static_cast<float>(i + 1));
    }
    scratch.Reset();
  }
}

ModelSpec Spec() {
  ModelSpec spec;
  spec.input_size = 3;
  spec.hidden_size = 5;
  spec.num_layers = 2;
  return spec;
}

TEST(StateTest, ShapesAreTheModels) {
  const ModelSpec spec = Spec();
  v1::LstmState state;
  const std::vector<float> h(10, 1.0f), c(10, 2.0f);
  SetState(spec, h.data(), c.data(), &state);
  EXPECT_THAT(state.h().shape(), ElementsAre(2, 5));
  const absl::StatusOr<StateValues> back = FromProto(state, spec);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->h, h);
  EXPECT_EQ(back->c, c);
  EXPECT_EQ(Reason(ViewState(state, spec, 1).status()), "TENSOR_SHAPE at h.shape");
  state.clear_c();
  EXPECT_EQ(Reason(FromProto(state, spec).status()), "TENSOR_SHAPE at c");
}

TEST(SpecTest, RoundTripsEveryOption) {
  std::vector<ModelSpec> specs(6, Spec());
  specs[1].direction = Direction::kBidirectional;
  specs[1].merge_mode = MergeMode::kAve;
  specs[1].activations[1].cell = *MakeActivation(Function::kScaledTanh, 1.7159f, 0.6667f);
  specs[2].direction = Direction::kGoBackwards;
  specs[2].projection_size = 2;
  specs[2].bias = false;
  specs[3].peepholes = true;
  specs[3].clip = 3.5f;
  specs[3].input_forget = true;
  specs[3].activations[0].gate = *MakeActivation(Function::kHardSigmoid);
  specs[3].activations[1] = specs[3].activations[0];
  specs[4].head.emplace();
  specs[4].head->output_size = 7;
  specs[4].head->bias = false;
  specs[4].head->activation = *MakeActivation(Function::kLeakyRelu, 0.3f);
  specs[4].precision = Precision::kInt8Weights;
  specs[5].learned_initial_state = true;
  specs[5].padding_output = PaddingOutput::kCell;
  specs[5].zero_length_state = ZeroLengthState::kZeros;
  for (const ModelSpec& spec : specs) {
    v1::ModelSpec proto;
    ToProto(spec, &proto);
    SCOPED_TRACE(proto.ShortDebugString());
    const absl::StatusOr<ModelSpec> back = FromProto(proto);
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(SpecToJson(*back), SpecToJson(spec));
  }
}

TEST(SpecTest, DefaultsAreFilledInAndMistakesNamed) {
  v1::ModelSpec proto;
  proto.set_input_size(3);
  proto.set_hidden_size(5);
  ASSERT_TRUE(FromProto(proto).ok());
  EXPECT_EQ(SpecToJson(*FromProto(proto)), SpecToJson([] {
              ModelSpec spec = Spec();
              spec.num_layers = 1;
              return spec;
            }()));
  EXPECT_TRUE(FromProto(proto)->bias);

  v1::ModelSpec wrong = proto;
  wrong.set_hidden_size(0);
  EXPECT_EQ(Reason(FromProto(wrong).status()), "MODEL_SPEC at hidden_size");
  wrong = proto;
  wrong.set_direction(static_cast<v1::Direction>(9));
  EXPECT_EQ(Reason(FromProto(wrong).status()), "MODEL_SPEC at direction");
  wrong = proto;
  wrong.mutable_activations()->mutable_cell()->set_alpha(1.0f);
  EXPECT_EQ(Reason(FromProto(wrong).status()), "MODEL_SPEC at activations.cell.function");
  wrong = proto;
  wrong.mutable_head()->set_output_size(1);
  wrong.mutable_head()->mutable_activation()->set_function(v1::Activation::TANH);
  wrong.mutable_head()->mutable_activation()->set_beta(2.0f);
  EXPECT_THAT(Reason(FromProto(wrong).status()), HasSubstr("MODEL_SPEC at head.activation."));
}

TEST(TimeTest, RangesAreKept) {
  google::protobuf::Duration duration;
  duration.set_seconds(2);
  duration.set_nanos(500'000'000);
  EXPECT_EQ(*FromProto(duration), absl::Milliseconds(2500));
  duration.set_seconds(std::numeric_limits<int64_t>::max());
  EXPECT_EQ(GetCause(FromProto(duration).status()).reason, "DURATION");
  google::protobuf::Timestamp timestamp;
  const absl::Time time = absl::FromUnixNanos(-1);
  ToProto(time, &timestamp);
  EXPECT_EQ(timestamp.seconds(), -1);
  EXPECT_EQ(timestamp.nanos(), 999'999'999);
  EXPECT_EQ(*FromProto(timestamp), time);
  ToProto(absl::InfiniteFuture(), &timestamp);
  EXPECT_TRUE(FromProto(timestamp).ok());
  timestamp.set_nanos(-1);
  EXPECT_EQ(GetCause(FromProto(timestamp).status()).reason, "TIMESTAMP");
}

TEST(NamesTest, ParseWhatFormatWrites) {
  const std::string model = FormatModelName("sunspots-2.b_c");
  EXPECT_EQ(*ParseModelName(model, Caller()), "sunspots-2.b_c");
  const std::string session = FormatSessionName("m", "a~b");
  const absl::StatusOr<SessionName> name = ParseSessionName(session, Caller());
  ASSERT_TRUE(name.ok());
  EXPECT_EQ(name->model, "m");
  EXPECT_EQ(name->key, "a~b");
  EXPECT_EQ(*ParseModelNameOrAll("models/-", Caller()), "-");
}

TEST(NamesTest, EverythingElseIsAnError) {
  const std::string long_name = "models/m/sessions/" + std::string(100'000, 'x');
  for (const std::string_view name :
       {"", "m", "models/", "models//", "models/-", "models/..", "models/a/b", "models/.a", "Models/m", "models/m ",
        "models/m/sessions/a", "models/\xff", "models/m\n", "models/../../etc"}) {
    const absl::Status status = ParseModelName(name, Caller()).status();
    EXPECT_EQ(GetCause(status).reason, "RESOURCE_NAME") << name;
  }
  for (const std::string_view name :
       {std::string_view(), std::string_view("models/m"), std::string_view("models/m/sessions"),
        std::string_view("models/m/sessions/"), std::string_view("models//sessions/a"),
        std::string_view("models/m/sessions/a/b"), std::string_view("models/m/sessions/team-b:a"),
        std::string_view("models/m/sessions/../../x"), std::string_view("models/m/sessions/\0a", 20),
        std::string_view(long_name)}) {
    const absl::Status status = ParseSessionName(name, Caller()).status();
    EXPECT_EQ(GetCause(status).reason, "RESOURCE_NAME") << name.substr(0, 100);
    EXPECT_LT(status.message().size(), 600u);
  }
}

}  // namespace
}  // namespace lstmd::server
