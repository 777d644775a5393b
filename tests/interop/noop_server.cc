// SPDX-License-Identifier: Apache-2.0
//
// noop_server ADDRESS MODEL SIZE: a server of the Open Inference Protocol that computes nothing. It answers what a load
// tester asks before it starts, and then each request with the same SIZE floats. What a client reaches against it is
// what client and gRPC allow on this machine. Prints "listening on HOST:PORT".
#include <cstdio>
#include <cstdlib>
#include <string>

#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "grpcpp/support/server_callback.h"
#include "inference/grpc_service.grpc.pb.h"

namespace lstmd {
namespace {

struct Shape {
  std::string model;
  int size = 0;
};

void Answer(const Shape& shape, const inference::ModelInferRequest& request, inference::ModelInferResponse* response) {
  response->set_model_name(shape.model);
  response->set_model_version("1");
  response->set_id(request.id());
  if (response->outputs_size() == 0) {
    auto& output = *response->add_outputs();
    output.set_name("OUTPUT");
    output.set_datatype("FP32");
    output.add_shape(1);
    output.add_shape(shape.size);
    response->add_raw_output_contents()->assign(static_cast<size_t>(shape.size) * sizeof(float), '\0');
    // As a server has to for a client that asks, as these do: replies are of the same size.
    if (request.parameters().contains("triton_enable_empty_final_response")) {
      (*response->mutable_parameters())["triton_final_response"].set_bool_param(true);
    }
  }
}

// One message in, one out, with the messages' memory kept: the client has one request in flight on a stream, or waits.
class Stream final : public grpc::ServerBidiReactor<inference::ModelInferRequest, inference::ModelStreamInferResponse> {
 public:
  explicit Stream(const Shape& shape) : shape_(shape) { StartRead(&request_); }
  void OnReadDone(bool ok) override {
    if (!ok) {
      Finish(grpc::Status::OK);
      return;
    }
    Answer(shape_, request_, response_.mutable_infer_response());
    StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (ok) {
      StartRead(&request_);
    } else {
      Finish(grpc::Status::CANCELLED);
    }
  }
  void OnDone() override { delete this; }

 private:
  const Shape& shape_;
  inference::ModelInferRequest request_;
  inference::ModelStreamInferResponse response_;
};

class Service final : public inference::GRPCInferenceService::CallbackService {
 public:
  explicit Service(Shape shape) : shape_(std::move(shape)) {}

  using Call = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;

  Reactor* ServerMetadata(Call* call, const inference::ServerMetadataRequest* /*request*/,
                          inference::ServerMetadataResponse* response) override {
    response->set_name("noop");
    response->set_version("1");
    response->add_extensions("sequence");
    return Ok(call);
  }
  Reactor* ModelMetadata(Call* call, const inference::ModelMetadataRequest* /*request*/,
                         inference::ModelMetadataResponse* response) override {
    response->set_name(shape_.model);
    response->add_versions("1");
    response->set_platform("noop");
    for (const bool input : {true, false}) {
      auto& tensor = *(input ? response->add_inputs() : response->add_outputs());
      tensor.set_name(input ? "INPUT" : "OUTPUT");
      tensor.set_datatype("FP32");
      tensor.add_shape(-1);
      tensor.add_shape(shape_.size);
    }
    return Ok(call);
  }
  Reactor* ModelConfig(Call* call, const inference::ModelConfigRequest* /*request*/,
                       inference::ModelConfigResponse* response) override {
    inference::ModelConfig& config = *response->mutable_config();
    config.set_name(shape_.model);
    config.set_max_batch_size(64);
    auto& input = *config.add_input();
    input.set_name("INPUT");
    input.set_data_type(inference::TYPE_FP32);
    input.add_dims(shape_.size);
    auto& output = *config.add_output();
    output.set_name("OUTPUT");
    output.set_data_type(inference::TYPE_FP32);
    output.add_dims(shape_.size);
    config.mutable_sequence_batching()->mutable_oldest()->set_max_candidate_sequences(1024);
    return Ok(call);
  }
  Reactor* ModelInfer(Call* call, const inference::ModelInferRequest* request,
                      inference::ModelInferResponse* response) override {
    Answer(shape_, *request, response);
    return Ok(call);
  }
  grpc::ServerBidiReactor<inference::ModelInferRequest, inference::ModelStreamInferResponse>* ModelStreamInfer(
      Call* /*call*/) override {
    return new Stream(shape_);
  }

 private:
  static Reactor* Ok(Call* call) {
    Reactor* reactor = call->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  const Shape shape_;
};

int Main(int argc, char** argv) {
  const int size = argc == 4 ? std::atoi(argv[3]) : 0;
  if (size < 1) {
    std::fprintf(stderr, "usage: noop_server ADDRESS MODEL SIZE\n");
    return 2;
  }
  Service service({argv[2], size});
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(argv[1], grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (!server) {
    std::fprintf(stderr, "noop_server: cannot listen on %s\n", argv[1]);
    return 1;
  }
  std::printf("listening on 127.0.0.1:%d\n", port);
  std::fflush(stdout);
  server->Wait();
  return 0;
}

}  // namespace
}  // namespace lstmd

int main(int argc, char** argv) { return lstmd::Main(argc, argv); }
