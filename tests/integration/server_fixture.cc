// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/server_fixture.h"

#include <cstring>
#include <utility>

#include "engine/cpu/cpu_backend.h"
#include "google/rpc/error_details.pb.h"
#include "server/logging.h"
#include "tests/support/models.h"

namespace lstmd {
namespace {

constexpr auto kPatience = std::chrono::seconds(60);

ModelSpec Spec(uint32_t input, uint32_t hidden) {
  ModelSpec spec;
  spec.input_size = input;
  spec.hidden_size = hidden;
  return spec;
}

}  // namespace

WireError Decode(const google::rpc::Status& status) {
  WireError error;
  error.code = static_cast<grpc::StatusCode>(status.code());
  error.message = status.message();
  for (const auto& any : status.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest bad_request;
    google::rpc::ResourceInfo resource;
    if (any.Is<google::rpc::RetryInfo>()) error.has_retry = true;
    if (any.UnpackTo(&resource)) error.resource = resource.resource_name();
    if (any.UnpackTo(&bad_request)) error.field = bad_request.field_violations(0).field();
    if (any.UnpackTo(&info) && info.domain() == "lstmd") {
      error.reason = info.reason();
      error.metadata = {info.metadata().begin(), info.metadata().end()};
    }
  }
  return error;
}

WireError Decode(const grpc::Status& status) {
  google::rpc::Status details;
  details.ParseFromString(status.error_details());
  WireError error = Decode(details);
  error.code = status.error_code();
  error.message = status.error_message();
  return error;
}

std::string Shown(const WireError& error) {
  static const char* const kNames[] = {
      "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
      "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
      "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
      "DATA_LOSS", "UNAUTHENTICATED"};
  std::string text = kNames[error.code];
  if (!error.reason.empty()) text += " / " + error.reason;
  if (!error.field.empty()) text += " at " + error.field;
  return text;
}

v1::Tensor MakeTensor(const std::vector<int64_t>& shape, const std::vector<float>& values) {
  v1::Tensor tensor;
  tensor.set_dtype(v1::DATA_TYPE_F32);
  for (const int64_t dim : shape) tensor.add_shape(dim);
  tensor.set_data(values.data(), values.size() * sizeof(float));
  return tensor;
}

std::vector<float> Values(const v1::Tensor& tensor) {
  std::vector<float> values(tensor.data().size() / sizeof(float));
  std::memcpy(values.data(), tensor.data().data(), values.size() * sizeof(float));
  return values;
}

std::vector<int64_t> Shape(const v1::Tensor& tensor) { return {tensor.shape().begin(), tensor.shape().end()}; }

std::string SessionName(const std::string& model, const std::string& id) {
  return "models/" + model + "/sessions/" + id;
}

v1::StepItem Item(const std::string& session, const v1::Tensor& input) {
  v1::StepItem item;
  item.set_session(session);
  *item.mutable_input() = input;
  return item;
}

v1::StreamStepsRequest BindFrame(const std::vector<std::string>& sessions) {
  v1::StreamStepsRequest frame;
  for (const std::string& session : sessions) {
    v1::Bind& bind = *frame.add_binds();
    bind.set_handle(static_cast<uint32_t>(frame.binds_size() - 1));
    bind.set_session(session);
    bind.set_create_if_missing(true);
  }
  return frame;
}

v1::StreamStepsRequest StepFrame(uint64_t id, const std::vector<uint32_t>& handles, const v1::Tensor& input) {
  v1::StreamStepsRequest frame;
  v1::StepBlock& block = *frame.add_steps();
  block.set_id(id);
  block.mutable_handles()->Assign(handles.begin(), handles.end());
  *block.mutable_input() = input;
  return frame;
}

void AddTestModels(Engine* engine) {
  ModelSpec m = Spec(3, 5);
  m.num_layers = 2;
  m.head.emplace();
  m.head->output_size = 2;
  ModelSpec bi = Spec(3, 5);
  bi.direction = Direction::kBidirectional;
  const std::pair<const char*, ModelSpec> models[] = {{"m", m}, {"wide", Spec(4, 8)}, {"bi", bi}};
  for (const auto& [name, spec] : models) {
    const auto added = engine->AddModel(name, 1, spec, test::SeededWeights(spec, 7));
    ASSERT_TRUE(added.ok()) << added.status();
  }
}

ServerTest::~ServerTest() {
  control_->Unblock();
  server_.reset();
  EXPECT_TRUE(control_->violations().empty()) << control_->violations().front();
}

void ServerTest::StartFake() {
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(std::make_unique<FakeBackend>(control_));
  Start(std::move(backends));
}

void ServerTest::StartCpu() {
  CpuOptions cpu;
  cpu.threads = 2;
  auto backend = CreateCpuBackend(cpu);
  ASSERT_TRUE(backend.ok()) << backend.status();
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(*std::move(backend));
  Start(std::move(backends));
}

void ServerTest::SetUpTestSuite() {
  // Failures are what many of these tests are about.
  ASSERT_TRUE(server::SetUpLogging("warn", "text").ok());
}

void ServerTest::Start(std::vector<std::unique_ptr<Backend>> backends) {
  options_.listen = {"127.0.0.1:0"};
  auto engine = Engine::Create(options_.engine, std::move(backends));
  ASSERT_TRUE(engine.ok()) << engine.status();
  AddTestModels(engine->get());
  auto server = server::Server::Start(options_, *std::move(engine));
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  address_ = server_->addresses().front();
  auto channel = NewChannel();
  inference_ = v1::InferenceService::NewStub(channel);
  sessions_ = v1::SessionService::NewStub(channel);
  models_ = v1::ModelService::NewStub(channel);
}

std::unique_ptr<grpc::ClientContext> ServerTest::Context() {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + kPatience);
  return context;
}

std::shared_ptr<grpc::Channel> ServerTest::NewChannel() {
  grpc::ChannelArguments arguments;
  // A connection of its own: channels to one address share one otherwise.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address_, grpc::InsecureChannelCredentials(), arguments);
}

v1::Session ServerTest::Create(const std::string& model, const std::string& id) {
  v1::CreateSessionRequest request;
  request.set_parent("models/" + model);
  request.set_session_id(id);
  v1::Session session;
  const auto context = Context();
  const grpc::Status status = sessions_->CreateSession(context.get(), request, &session);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return session;
}

v1::Session ServerTest::Get(const std::string& name, bool include_state) {
  v1::GetSessionRequest request;
  request.set_name(name);
  request.set_include_state(include_state);
  v1::Session session;
  const auto context = Context();
  const grpc::Status status = sessions_->GetSession(context.get(), request, &session);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return session;
}

std::vector<float> ServerTest::Step(const std::string& name, const std::vector<float>& input, uint64_t seq) {
  v1::StepRequest request;
  *request.add_items() = Item(name, MakeTensor({static_cast<int64_t>(input.size())}, input));
  request.mutable_items(0)->set_seq(seq);
  v1::StepResponse response;
  const grpc::Status status = StepStatus(request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return status.ok() ? Values(response.results(0).output()) : std::vector<float>();
}

grpc::Status ServerTest::StepStatus(const v1::StepRequest& request, v1::StepResponse* response) {
  const auto context = Context();
  return inference_->Step(context.get(), request, response);
}

grpc::Status ServerTest::RunStatus(const v1::RunSequencesRequest& request, v1::RunSequencesResponse* response) {
  const auto context = Context();
  return inference_->RunSequences(context.get(), request, response);
}

}  // namespace lstmd
