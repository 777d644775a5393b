// SPDX-License-Identifier: Apache-2.0
//
// Bad input to the calls about sessions and models.
#include "tests/integration/bad_input.h"

namespace lstmd {
namespace {

// One line of the table: a call, and what its status shows.
struct ControlCase {
  const char* name;
  std::function<grpc::Status()> call;
  const char* want;
};

class BadControlTest : public BadInputTest {
 protected:
  template <typename Stub, typename Request, typename Response>
  std::function<grpc::Status()> Call(Stub* stub,
                                     grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                     std::function<void(Request&)> fill) {
    return [this, stub, method, fill] {
      Request request;
      fill(request);
      Response response;
      const auto context = Context();
      return (stub->*method)(context.get(), request, &response);
    };
  }

  void Expect(const std::vector<ControlCase>& cases) {
    for (const ControlCase& one : cases) {
      SCOPED_TRACE(one.name);
      const WireError error = Decode(one.call());
      EXPECT_EQ(Shown(error), one.want) << error.message;
      ExpectNothingLost();
    }
  }
};

using Sessions = v1::SessionService::Stub;
using Models = v1::ModelService::Stub;

TEST_F(BadControlTest, Sessions) {
  Start();
  const auto create = [this](std::function<void(v1::CreateSessionRequest&)> fill) {
    return Call<Sessions, v1::CreateSessionRequest, v1::Session>(sessions_.get(), &Sessions::CreateSession,
                                                                 [fill](v1::CreateSessionRequest& request) {
                                                                   request.set_parent("models/m");
                                                                   fill(request);
                                                                 });
  };
  const auto get = [this](std::function<void(v1::GetSessionRequest&)> fill) {
    return Call<Sessions, v1::GetSessionRequest, v1::Session>(sessions_.get(), &Sessions::GetSession, fill);
  };
  const auto list = [this](std::function<void(v1::ListSessionsRequest&)> fill) {
    return Call<Sessions, v1::ListSessionsRequest, v1::ListSessionsResponse>(sessions_.get(), &Sessions::ListSessions,
                                                                             fill);
  };
  const auto update = [this](std::function<void(v1::UpdateSessionRequest&)> fill) {
    return Call<Sessions, v1::UpdateSessionRequest, v1::Session>(sessions_.get(), &Sessions::UpdateSession,
                                                                 [this, fill](v1::UpdateSessionRequest& request) {
                                                                   request.mutable_session()->set_name(a_);
                                                                   fill(request);
                                                                 });
  };
  const auto remove = [this](std::function<void(v1::DeleteSessionRequest&)> fill) {
    return Call<Sessions, v1::DeleteSessionRequest, google::protobuf::Empty>(sessions_.get(), &Sessions::DeleteSession,
                                                                             fill);
  };
  const auto reset = [this](std::function<void(v1::ResetSessionRequest&)> fill) {
    return Call<Sessions, v1::ResetSessionRequest, v1::Session>(sessions_.get(), &Sessions::ResetSession, fill);
  };
  const v1::Tensor wrong = MakeTensor({1, 5}, std::vector<float>(5));
  const auto fork = [this](std::function<void(v1::ForkSessionRequest&)> fill) {
    return Call<Sessions, v1::ForkSessionRequest, v1::Session>(sessions_.get(), &Sessions::ForkSession,
                                                               [fill](v1::ForkSessionRequest& r) {
                                                                 r.set_name("models/m/sessions/a");
                                                                 fill(r);
                                                               });
  };
  v1::SessionSnapshot snapshot;
  v1::ExportSessionRequest exported;
  exported.set_name("models/m/sessions/a");
  ASSERT_TRUE(sessions_->ExportSession(Context().get(), exported, &snapshot).ok());
  const auto import = [this, &snapshot](std::function<void(v1::ImportSessionRequest&)> fill) {
    return Call<Sessions, v1::ImportSessionRequest, v1::Session>(sessions_.get(), &Sessions::ImportSession,
                                                                 [fill, &snapshot](v1::ImportSessionRequest& r) {
                                                                   r.set_parent("models/m");
                                                                   *r.mutable_snapshot() = snapshot;
                                                                   fill(r);
                                                                 });
  };
  Expect({
      {"parent", create([](auto& r) { r.set_parent("m"); }), "INVALID_ARGUMENT / RESOURCE_NAME at parent"},
      {"unknown model", create([](auto& r) { r.set_parent("models/none"); }), "NOT_FOUND / MODEL_NOT_FOUND"},
      {"unknown version", create([](auto& r) { r.mutable_session()->set_model_version(4); }),
       "NOT_FOUND / MODEL_NOT_FOUND"},
      {"negative version", create([](auto& r) { r.mutable_session()->set_model_version(-4); }),
       "INVALID_ARGUMENT / MODEL_VERSION at session.model_version"},
      {"bidirectional", create([](auto& r) { r.set_parent("models/bi"); }), "FAILED_PRECONDITION / NOT_STEPPABLE"},
      {"id", create([](auto& r) { r.set_session_id("a/b"); }), "INVALID_ARGUMENT / SESSION_ID at session_id"},
      {"long id", create([](auto& r) { r.set_session_id(std::string(129, 'a')); }),
       "INVALID_ARGUMENT / SESSION_ID at session_id"},
      {"taken", create([](auto& r) { r.set_session_id("a"); }), "ALREADY_EXISTS / SESSION_EXISTS"},
      {"state", create([&](auto& r) { *r.mutable_initial_state()->mutable_h() = wrong; }),
       "INVALID_ARGUMENT / TENSOR_SHAPE at initial_state.h.shape"},
      {"negative ttl", create([](auto& r) { r.mutable_session()->mutable_idle_ttl()->set_seconds(-1); }),
       "INVALID_ARGUMENT / DURATION at session.idle_ttl"},
      {"a ttl of 400 days of nanoseconds",
       create([](auto& r) { r.mutable_session()->mutable_idle_ttl()->set_nanos(2'000'000'000); }),
       "INVALID_ARGUMENT / DURATION at session.idle_ttl"},
      {"expired before it began", create([](auto& r) { r.mutable_session()->mutable_expire_time()->set_seconds(1); }),
       "INVALID_ARGUMENT / EXPIRE_TIME at session.expire_time"},
      {"durable", create([](auto& r) { r.mutable_session()->set_durability(v1::Session::EVERY_STEP); }),
       "FAILED_PRECONDITION / NO_STORE at session.durability"},
      {"durability",
       create([](auto& r) { r.mutable_session()->set_durability(static_cast<v1::Session::Durability>(9)); }),
       "INVALID_ARGUMENT / DURABILITY at session.durability"},
      {"long label", create([](auto& r) { (*r.mutable_session()->mutable_labels())[std::string(64, 'k')] = "v"; }),
       "INVALID_ARGUMENT / LABELS at session.labels"},
      {"get: name", get([](auto& r) { r.set_name("models/m/sessions/"); }), "INVALID_ARGUMENT / RESOURCE_NAME at name"},
      {"get: unknown", get([](auto& r) { r.set_name("models/m/sessions/none"); }), "NOT_FOUND / SESSION_NOT_FOUND"},
      {"list: parent", list([](auto& r) { r.set_parent("-"); }), "INVALID_ARGUMENT / RESOURCE_NAME at parent"},
      {"list: negative page", list([](auto& r) {
         r.set_parent("models/m");
         r.set_page_size(-1);
       }),
       "INVALID_ARGUMENT / PAGE_SIZE at page_size"},
      {"list: junk token", list([](auto& r) {
         r.set_parent("models/-");
         r.set_page_token("junk\x7f");
       }),
       "INVALID_ARGUMENT / PAGE_TOKEN at page_token"},
      {"update: path", update([](auto& r) { r.mutable_update_mask()->add_paths("epoch"); }),
       "INVALID_ARGUMENT / FIELD_MASK at update_mask.paths[0]"},
      {"update: name", update([](auto& r) { r.mutable_session()->set_name("a"); }),
       "INVALID_ARGUMENT / RESOURCE_NAME at session.name"},
      {"update: state", update([&](auto& r) { *r.mutable_session()->mutable_state()->mutable_h() = wrong; }),
       "INVALID_ARGUMENT / TENSOR_SHAPE at session.state.h.shape"},
      {"update: state by the mask alone", update([](auto& r) { r.mutable_update_mask()->add_paths("state"); }),
       "INVALID_ARGUMENT / TENSOR_SHAPE at session.state.h"},
      {"delete: unknown", remove([](auto& r) { r.set_name("models/m/sessions/none"); }),
       "NOT_FOUND / SESSION_NOT_FOUND"},
      {"delete: missing is allowed", remove([](auto& r) {
         r.set_name("models/m/sessions/none");
         r.set_allow_missing(true);
       }),
       "OK"},
      {"reset: state", reset([&](auto& r) {
         r.set_name("models/m/sessions/a");
         *r.mutable_initial_state()->mutable_h() = wrong;
       }),
       "INVALID_ARGUMENT / TENSOR_SHAPE at initial_state.h.shape"},
      {"fork: name", fork([](auto& r) { r.set_name("a"); }), "INVALID_ARGUMENT / RESOURCE_NAME at name"},
      {"fork: unknown", fork([](auto& r) { r.set_name("models/m/sessions/none"); }), "NOT_FOUND / SESSION_NOT_FOUND"},
      {"fork: id", fork([](auto& r) { r.set_session_id("a b"); }), "INVALID_ARGUMENT / SESSION_ID at session_id"},
      {"fork: taken", fork([](auto& r) { r.set_session_id("a"); }), "ALREADY_EXISTS / SESSION_EXISTS"},
      {"fork: ttl", fork([](auto& r) { r.mutable_session()->mutable_idle_ttl()->set_seconds(-1); }),
       "INVALID_ARGUMENT / DURATION at session.idle_ttl"},
      {"export: unknown",
       Call<Sessions, v1::ExportSessionRequest, v1::SessionSnapshot>(
           sessions_.get(), &Sessions::ExportSession, [](auto& r) { r.set_name("models/m/sessions/none"); }),
       "NOT_FOUND / SESSION_NOT_FOUND"},
      {"import: parent", import([](auto& r) { r.set_parent("m"); }), "INVALID_ARGUMENT / RESOURCE_NAME at parent"},
      {"import: nothing", import([](auto& r) { r.clear_snapshot(); }),
       "INVALID_ARGUMENT / SNAPSHOT_FORMAT at snapshot.data"},
      {"import: damaged", import([](auto& r) { r.mutable_snapshot()->mutable_data()->back() ^= 1; }),
       "DATA_LOSS / SNAPSHOT_CHECKSUM at snapshot.data"},
      {"import: taken", import([](auto& r) { r.set_session_id("a"); }), "ALREADY_EXISTS / SESSION_EXISTS"},
      {"import: another model", import([](auto& r) { r.set_parent("models/wide"); }),
       "FAILED_PRECONDITION / WEIGHTS_MISMATCH"},
      {"import: another shape", import([](auto& r) {
         r.set_parent("models/wide");
         r.set_any_weights(true);
       }),
       "INVALID_ARGUMENT / SNAPSHOT_FORMAT"},
      {"import: past its end", import([](auto& r) { r.mutable_session()->mutable_expire_time()->set_seconds(1); }),
       "INVALID_ARGUMENT / EXPIRE_TIME at session.expire_time"},
      {"checkpoint: name",
       Call<Sessions, v1::CheckpointSessionRequest, v1::Session>(sessions_.get(), &Sessions::CheckpointSession,
                                                                 [](auto&) {}),
       "INVALID_ARGUMENT / RESOURCE_NAME at name"},
      {"checkpoint without a store",
       Call<Sessions, v1::CheckpointSessionRequest, v1::Session>(sessions_.get(), &Sessions::CheckpointSession,
                                                                 [](auto& r) { r.set_name("models/m/sessions/a"); }),
       "FAILED_PRECONDITION / NO_STORE"},
  });
}

TEST_F(BadControlTest, Models) {
  Start();
  const auto load = [this](std::function<void(v1::LoadModelRequest&)> fill) {
    return Call<Models, v1::LoadModelRequest, v1::Model>(models_.get(), &Models::LoadModel, fill);
  };
  const auto unload = [this](std::function<void(v1::UnloadModelRequest&)> fill) {
    return Call<Models, v1::UnloadModelRequest, google::protobuf::Empty>(models_.get(), &Models::UnloadModel, fill);
  };
  const auto get = [this](std::function<void(v1::GetModelRequest&)> fill) {
    return Call<Models, v1::GetModelRequest, v1::Model>(models_.get(), &Models::GetModel, fill);
  };
  const auto list = [this](std::function<void(v1::ListModelsRequest&)> fill) {
    return Call<Models, v1::ListModelsRequest, v1::ListModelsResponse>(models_.get(), &Models::ListModels, fill);
  };
  const auto update = [this](std::function<void(v1::UpdateWeightsRequest&)> fill) {
    return Call<Models, v1::UpdateWeightsRequest, v1::Model>(models_.get(), &Models::UpdateWeights,
                                                             [fill](v1::UpdateWeightsRequest& r) {
                                                               r.set_name("models/m");
                                                               fill(r);
                                                             });
  };
  Expect({
      {"unload with live sessions", unload([](auto& r) { r.set_name("models/m"); }),
       "FAILED_PRECONDITION / MODEL_IN_USE"},
      {"unload: unknown", unload([](auto& r) { r.set_name("models/none"); }), "NOT_FOUND / MODEL_NOT_FOUND"},
      {"unload: name", unload([](auto& r) { r.set_name("models/a/b"); }), "INVALID_ARGUMENT / RESOURCE_NAME at name"},
      {"load: a path", load([](auto& r) { r.set_name("models/../../etc"); }),
       "INVALID_ARGUMENT / RESOURCE_NAME at name"},
      {"load: dots", load([](auto& r) { r.set_name("models/.."); }), "INVALID_ARGUMENT / RESOURCE_NAME at name"},
      {"load: unknown", load([](auto& r) { r.set_name("models/none"); }), "NOT_FOUND / MODEL_NOT_FOUND"},
      {"load: negative version", load([](auto& r) {
         r.set_name("models/m");
         r.set_version(-1);
       }),
       "INVALID_ARGUMENT / MODEL_VERSION at version"},
      {"get: unknown version", get([](auto& r) {
         r.set_name("models/m");
         r.set_version(2);
       }),
       "NOT_FOUND / MODEL_NOT_FOUND"},
      {"list: junk token", list([](auto& r) { r.set_page_token("junk"); }),
       "INVALID_ARGUMENT / PAGE_TOKEN at page_token"},
      {"update: unknown", update([](auto& r) { r.set_name("models/none"); }), "NOT_FOUND / MODEL_NOT_FOUND"},
      {"update: name", update([](auto& r) { r.set_name("m"); }), "INVALID_ARGUMENT / RESOURCE_NAME at name"},
      {"update: negative version", update([](auto& r) { r.set_version(-1); }),
       "INVALID_ARGUMENT / MODEL_VERSION at version"},
      {"update: policy", update([](auto& r) { r.set_policy(static_cast<v1::UpdatePolicy>(9)); }),
       "INVALID_ARGUMENT / UPDATE_POLICY at policy"},
      {"update: no repository", update([](auto& r) { r.set_version(2); }), "NOT_FOUND / MODEL_NOT_FOUND"},
      {"drain: negative timeout",
       Call<Models, v1::DrainRequest, v1::DrainResponse>(models_.get(), &Models::Drain,
                                                         [](auto& r) { r.mutable_timeout()->set_seconds(-1); }),
       "INVALID_ARGUMENT / DURATION at timeout"},
  });
}

TEST_F(BadControlTest, AForcedUnloadEndsItsSessionsAndSaysSo) {
  Start();
  const std::string name = Create("wide", "w").name();
  v1::UnloadModelRequest request;
  request.set_name("models/wide");
  request.set_force(true);
  google::protobuf::Empty empty;
  const auto context = Context();
  ASSERT_TRUE(models_->UnloadModel(context.get(), request, &empty).ok());
  v1::StepRequest step;
  *step.add_items() = Item(name, MakeTensor({4}, {1, 2, 3, 4}));
  v1::StepResponse response;
  WireError error = Decode(StepStatus(step, &response));
  EXPECT_EQ(Shown(error), "NOT_FOUND / SESSION_NOT_FOUND");
  EXPECT_EQ(error.metadata["last_event"], "UNLOADED");
  ExpectNothingLost();
}

}  // namespace
}  // namespace lstmd
