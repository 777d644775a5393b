// SPDX-License-Identifier: Apache-2.0
//
// What a client of the Open Inference Protocol asks before it sends work.
#include <memory>

#include "gmock/gmock.h"
#include "tests/integration/oip_client.h"
#include "tests/integration/server_fixture.h"

namespace lstmd {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class OipModelsTest : public ServerTest {
 protected:
  void SetUp() override {
    StartFake();
    oip_ = inference::GRPCInferenceService::NewStub(NewChannel());
  }
  template <typename Request, typename Response>
  void ExpectNotServed(const std::string& rpc,
                       grpc::Status (OipStub::*call)(grpc::ClientContext*, const Request&, Response*)) {
    Response response;
    const grpc::Status status = ((*oip_).*call)(Context().get(), {}, &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << rpc;
    EXPECT_THAT(status.error_message(), HasSubstr(rpc + " is not in this release"));
  }
  std::unique_ptr<OipStub> oip_;
};

TEST_F(OipModelsTest, LiveAndReady) {
  inference::ServerLiveResponse live;
  EXPECT_TRUE(oip_->ServerLive(Context().get(), {}, &live).ok());
  EXPECT_TRUE(live.live());
  inference::ServerReadyResponse ready;
  EXPECT_TRUE(oip_->ServerReady(Context().get(), {}, &ready).ok());
  EXPECT_TRUE(ready.ready());
  inference::ModelReadyRequest request;
  inference::ModelReadyResponse model;
  request.set_name("m");
  EXPECT_TRUE(oip_->ModelReady(Context().get(), request, &model).ok());
  EXPECT_TRUE(model.ready());
  request.set_name("none");
  EXPECT_TRUE(oip_->ModelReady(Context().get(), request, &model).ok());
  EXPECT_FALSE(model.ready());
  inference::ServerMetadataResponse metadata;
  EXPECT_TRUE(oip_->ServerMetadata(Context().get(), {}, &metadata).ok());
  EXPECT_EQ(metadata.name(), "lstmd");
  EXPECT_THAT(metadata.extensions(), Contains("sequence"));
}

TEST_F(OipModelsTest, MetadataAndConfig) {
  inference::ModelMetadataRequest request;
  inference::ModelMetadataResponse metadata;
  request.set_name("m");
  ASSERT_TRUE(oip_->ModelMetadata(Context().get(), request, &metadata).ok());
  EXPECT_THAT(metadata.versions(), ElementsAre("1"));
  ASSERT_EQ(metadata.inputs_size(), 1);
  ASSERT_EQ(metadata.outputs_size(), 1);
  EXPECT_THAT(metadata.inputs(0).shape(), ElementsAre(-1, 3));
  EXPECT_THAT(metadata.outputs(0).shape(), ElementsAre(-1, 2));
  EXPECT_EQ(metadata.inputs(0).datatype(), "FP32");

  inference::ModelConfigRequest ask;
  inference::ModelConfigResponse config;
  ask.set_name("m");
  ASSERT_TRUE(oip_->ModelConfig(Context().get(), ask, &config).ok());
  EXPECT_TRUE(config.config().has_sequence_batching());
  EXPECT_GT(config.config().max_batch_size(), 0);
  EXPECT_THAT(config.config().input(0).dims(), ElementsAre(3));
  ask.set_name("bi");
  ASSERT_TRUE(oip_->ModelConfig(Context().get(), ask, &config).ok());
  EXPECT_FALSE(config.config().has_sequence_batching());
  EXPECT_THAT(config.config().input(0).dims(), ElementsAre(-1, 3));
  ask.set_name("none");
  EXPECT_EQ(oip_->ModelConfig(Context().get(), ask, &config).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(OipModelsTest, IndexAndUnload) {
  inference::RepositoryIndexResponse index;
  ASSERT_TRUE(oip_->RepositoryIndex(Context().get(), {}, &index).ok());
  ASSERT_EQ(index.models_size(), 3);
  EXPECT_EQ(index.models(0).state(), "READY");
  Create("m", "a");
  inference::RepositoryModelUnloadRequest unload;
  inference::RepositoryModelUnloadResponse none;
  unload.set_model_name("m");
  EXPECT_EQ(oip_->RepositoryModelUnload(Context().get(), unload, &none).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
  for (int i = 0; i < 20; ++i) {  // two that are wrong, and another order of each map
    inference::RepositoryModelUnloadRequest wrong = unload;
    (*wrong.mutable_parameters())["force"].set_int64_param(1);
    (*wrong.mutable_parameters())[std::to_string(i)].set_bool_param(true);
    EXPECT_EQ(oip_->RepositoryModelUnload(Context().get(), wrong, &none).error_code(), grpc::StatusCode::UNIMPLEMENTED);
  }
  (*unload.mutable_parameters())["force"].set_bool_param(true);
  EXPECT_TRUE(oip_->RepositoryModelUnload(Context().get(), unload, &none).ok());
  inference::ModelReadyRequest request;
  inference::ModelReadyResponse ready;
  request.set_name("m");
  EXPECT_TRUE(oip_->ModelReady(Context().get(), request, &ready).ok());
  EXPECT_FALSE(ready.ready());
}

TEST_F(OipModelsTest, WhatIsNotServedSaysSoByName) {
  ExpectNotServed("SystemSharedMemoryStatus", &OipStub::SystemSharedMemoryStatus);
  ExpectNotServed("SystemSharedMemoryRegister", &OipStub::SystemSharedMemoryRegister);
  ExpectNotServed("SystemSharedMemoryUnregister", &OipStub::SystemSharedMemoryUnregister);
  ExpectNotServed("CudaSharedMemoryStatus", &OipStub::CudaSharedMemoryStatus);
  ExpectNotServed("CudaSharedMemoryRegister", &OipStub::CudaSharedMemoryRegister);
  ExpectNotServed("CudaSharedMemoryUnregister", &OipStub::CudaSharedMemoryUnregister);
  ExpectNotServed("TraceSetting", &OipStub::TraceSetting);
  ExpectNotServed("LogSettings", &OipStub::LogSettings);
}

}  // namespace
}  // namespace lstmd
