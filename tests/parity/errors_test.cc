// SPDX-License-Identifier: Apache-2.0
//
// cases/errors.json lists what the frameworks' pages forbid. errors_api.json has a row for each: the same mistake over
// this API (as a spec, a model file or a request) with the field and the words its error must name; that it is no
// mistake here, with a request that must succeed; or why there is nothing like it.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "engine/checkpoint/layouts.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/create_channel.h"
#include "gtest/gtest.h"
#include "lstmd/v1/inference_service.grpc.pb.h"
#include "lstmd/v1/model_service.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "tests/parity/server_process.h"

namespace lstmd::parity {
namespace {

using Json = nlohmann::json;

Json Load(const std::string& name) {
  std::ifstream in(absl::StrCat(LSTMD_PARITY_FOLDER, "/", name));
  return Json::parse(in);
}

FloatArray Numbers(uint64_t count) { return FloatArray(std::vector<float>(count, 0.125f)); }

// A model of the sizes {I, H, L, D} with biases.
ModelFiles Build(const Json& sizes) {
  ModelFiles model;
  model.spec.input_size = sizes.at("I");
  model.spec.hidden_size = sizes.at("H");
  model.spec.num_layers = sizes.value("L", 1);
  if (sizes.value("D", 1) == 2) model.spec.direction = Direction::kBidirectional;
  const uint64_t hidden = model.spec.hidden_size;
  for (uint32_t layer = 0; layer < model.spec.num_layers; ++layer) {
    for (uint32_t d = 0; d < model.spec.directions(); ++d) {
      CellWeights cell;
      cell.w = Numbers(4 * hidden * model.spec.layer_input_size(layer));
      cell.r = Numbers(4 * hidden * hidden);
      cell.bias = Numbers(4 * hidden);
      model.weights.cells.push_back(cell);
    }
  }
  return model;
}

void Fill(const Json& shape, int dtype, v1::Tensor* tensor) {
  int64_t count = 1;
  for (const Json& size : shape) {
    tensor->add_shape(size.get<int64_t>());
    count *= size.get<int64_t>();
  }
  tensor->set_dtype(static_cast<v1::DataType>(dtype));
  tensor->set_data(std::string(static_cast<size_t>(count) * (dtype == v1::DATA_TYPE_F16 ? 2 : 4), '\0'));
}

v1::RunSequencesRequest Request(const Json& row, const std::string& model) {
  v1::RunSequencesRequest request;
  request.set_model("models/" + model);
  v1::Sequence* sequence = request.add_sequences();
  const Json& in = row.at("request");
  Fill(in.at("input"), in.value("dtype", 1), sequence->mutable_input());
  sequence->set_time_major(in.value("time_major", false));
  for (const Json& length : in.value("lengths", Json::array())) sequence->add_lengths(length.get<uint32_t>());
  if (in.contains("h")) Fill(in["h"], in.value("state_dtype", 1), sequence->mutable_initial_state()->mutable_h());
  if (in.contains("c")) Fill(in["c"], in.value("state_dtype", 1), sequence->mutable_initial_state()->mutable_c());
  return request;
}

class ErrorsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    absl::StatusOr<std::unique_ptr<TemporaryFolder>> folder = TemporaryFolder::Create();
    ASSERT_TRUE(folder.ok()) << folder.status();
    folder_ = folder->release();
    std::filesystem::create_directory(Repository());
    auto server = ServerProcess::Start(LSTMD_BINARY, Repository(), "cpu", "", folder_->path());
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = server->release();
    const auto channel = grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials());
    ASSERT_TRUE(channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(60)))
        << server_->Log();
    models_ = v1::ModelService::NewStub(channel);
    inference_ = v1::InferenceService::NewStub(channel);
  }

  static void TearDownTestSuite() {
    inference_.reset();
    models_.reset();
    delete server_;
    delete folder_;
  }

  static std::string Repository() { return folder_->path() + "/models"; }

  // A new entry of the repository; `spec` becomes its lstm.json.
  static std::string NewEntry(const Json& spec) {
    const std::string name = absl::StrCat("m", ++entries_);
    std::filesystem::create_directories(File(name, ""));
    if (!spec.is_null()) std::ofstream(File(name, "lstm.json")) << spec.dump();
    return name;
  }

  static std::string File(const std::string& name, const std::string& file) {
    return absl::StrCat(Repository(), "/", name, "/1/", file);
  }

  static grpc::Status LoadModel(const std::string& name) {
    grpc::ClientContext context;
    v1::LoadModelRequest request;
    request.set_name("models/" + name);
    v1::Model response;
    return models_->LoadModel(&context, request, &response);
  }

  // The name of a loaded model of these sizes.
  static std::string ModelOf(const Json& sizes) {
    std::string& name = loaded_[sizes.dump()];
    if (name.empty()) {
      name = NewEntry(nullptr);
      EXPECT_TRUE(WriteModel(File(name, "model.safetensors"), Build(sizes)).ok());
      const grpc::Status status = LoadModel(name);
      EXPECT_TRUE(status.ok()) << status.error_message();
    }
    return name;
  }

  static grpc::Status Run(const Json& row) {
    grpc::ClientContext context;
    v1::RunSequencesResponse response;
    return inference_->RunSequences(&context, Request(row, ModelOf(row.at("model"))), &response);
  }

  // A model of sizes 5 and 7 whose lstm.json is the row's.
  static grpc::Status LoadSpec(const Json& row) {
    const std::string name = NewEntry(row.at("spec"));
    EXPECT_TRUE(WriteModel(File(name, "model.safetensors"), Build({{"I", 5}, {"H", 7}})).ok());
    return LoadModel(name);
  }

  // A model file with tensors of the row's shapes.
  static grpc::Status LoadFile(const Json& row) {
    const std::string name = NewEntry(row.at("spec"));
    std::map<std::string, TensorView> tensors;
    const FloatArray numbers = Numbers(4096);
    for (const auto& [tensor, shape] : row.at("tensors").items()) {
      TensorView view;
      view.shape = shape.get<std::vector<uint64_t>>();
      view.elements = 1;
      for (uint64_t size : view.shape) view.elements *= size;
      view.data = reinterpret_cast<const char*>(numbers.data());
      tensors[tensor] = view;
    }
    EXPECT_TRUE(WriteSafetensors(File(name, "model.safetensors"), tensors, {{"layout", row.at("layout")}}).ok());
    return LoadModel(name);
  }

  static void ExpectError(const Json& row, const grpc::Status& status) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
    google::rpc::Status details;
    ASSERT_TRUE(details.ParseFromString(status.error_details()));
    std::set<std::string> fields;
    std::string reason;
    for (const auto& any : details.details()) {
      google::rpc::BadRequest bad;
      google::rpc::ErrorInfo info;
      if (any.UnpackTo(&info)) reason = info.reason();
      if (!any.UnpackTo(&bad)) continue;
      for (const auto& violation : bad.field_violations()) fields.insert(violation.field());
    }
    EXPECT_NE(reason, "");
    if (row.contains("field")) {
      const std::string field = row["field"];
      const bool named = std::any_of(fields.begin(), fields.end(), [&](const std::string& f) {
        return f == field ||
               (row["as"] == "spec" && f.size() > field.size() && f.substr(f.size() - field.size() - 1) == "." + field);
      });
      EXPECT_TRUE(named) << "want the field " << field << ", got " << testing::PrintToString(fields)
                         << " in: " << status.error_message();
    }
    for (const std::string word : row["says"]) {
      EXPECT_NE(status.error_message().find(word), std::string::npos)
          << word << " is not in: " << status.error_message();
    }
  }

  static inline TemporaryFolder* folder_ = nullptr;
  static inline ServerProcess* server_ = nullptr;
  static inline std::unique_ptr<v1::ModelService::Stub> models_;
  static inline std::unique_ptr<v1::InferenceService::Stub> inference_;
  static inline std::map<std::string, std::string> loaded_;
  static inline int entries_ = 0;
};

TEST_F(ErrorsTest, EveryRecordedMistakeHasARow) {
  const Json recorded = Load("cases/errors.json"), rows = Load("errors_api.json");
  ASSERT_EQ(recorded.size(), rows.size());
  for (size_t k = 0; k < rows.size(); ++k) {
    EXPECT_EQ(rows[k]["framework"], recorded[k]["framework"]) << k;
    EXPECT_EQ(rows[k]["call"], recorded[k]["call"]) << k;
  }
}

TEST_F(ErrorsTest, TheSameMistakesAreRefusedByName) {
  int refused = 0;
  for (const Json& row : Load("errors_api.json")) {
    SCOPED_TRACE(absl::StrCat(row["framework"].get<std::string>(), ": ", row["call"].get<std::string>()));
    const std::string as = row["as"];
    if (as == "none") {
      EXPECT_NE(row["why"], "");
    } else if (as == "accepted") {
      const grpc::Status status = Run(row);
      EXPECT_TRUE(status.ok()) << status.error_message();
    } else {
      ExpectError(row, as == "spec" ? LoadSpec(row) : as == "file" ? LoadFile(row) : Run(row));
      ++refused;
    }
  }
  EXPECT_GE(refused, 80);
}

}  // namespace
}  // namespace lstmd::parity
