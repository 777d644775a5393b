// SPDX-License-Identifier: Apache-2.0
//
// Events of sessions over the wire: to those who watch, and to the streams that have bound them.
#include <thread>

#include "gmock/gmock.h"
#include "tests/integration/stream_client.h"

namespace lstmd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class WatchTest : public ServerTest {
 protected:
  // A watch that is on.
  struct Watching {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<v1::SessionEvent>> reader;
    v1::SessionEvent Read() {
      v1::SessionEvent event;
      EXPECT_TRUE(reader->Read(&event));
      return event;
    }
    std::string Line() {
      const v1::SessionEvent event = Read();
      return v1::SessionEvent::Kind_Name(event.kind()) + " " + event.session();
    }
    grpc::Status Finish() {
      v1::SessionEvent event;
      while (reader->Read(&event)) {
      }
      finished = true;
      return reader->Finish();
    }
    ~Watching() {
      context.TryCancel();
      if (!finished) Finish();
    }
    bool finished = false;
  };
  std::unique_ptr<Watching> Watch(const v1::WatchSessionsRequest& request) {
    auto watching = std::make_unique<Watching>();
    watching->reader = sessions_->WatchSessions(&watching->context, request);
    EXPECT_EQ(watching->Read().kind(), v1::SessionEvent::WATCHING);
    return watching;
  }
  WireError WatchError(const v1::WatchSessionsRequest& request) {
    grpc::ClientContext context;
    auto reader = sessions_->WatchSessions(&context, request);
    v1::SessionEvent event;
    EXPECT_FALSE(reader->Read(&event)) << event.DebugString();
    return Decode(reader->Finish());
  }
  void Delete(const std::string& name) {
    v1::DeleteSessionRequest request;
    request.set_name(name);
    google::protobuf::Empty empty;
    const grpc::Status status = sessions_->DeleteSession(Context().get(), request, &empty);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
};

TEST_F(WatchTest, TellsWhatHappensAsItHappens) {
  StartFake();
  v1::WatchSessionsRequest request;
  request.set_parent("models/-");
  const auto all = Watch(request);
  request.set_parent("models/wide");
  request.add_kinds(v1::SessionEvent::DELETED);
  const auto deleted = Watch(request);
  const v1::Session a = Create("m", "a");
  Create("wide", "b");
  Delete(SessionName("m", "a"));
  Delete(SessionName("wide", "b"));

  const v1::SessionEvent first = all->Read();
  EXPECT_EQ(first.kind(), v1::SessionEvent::CREATED);
  EXPECT_EQ(first.session(), SessionName("m", "a"));
  EXPECT_EQ(first.uid(), a.uid());
  EXPECT_GT(first.time().seconds(), 0);
  EXPECT_EQ(all->Line(), "CREATED " + SessionName("wide", "b"));
  EXPECT_EQ(all->Line(), "DELETED " + SessionName("m", "a"));
  EXPECT_EQ(all->Line(), "DELETED " + SessionName("wide", "b"));
  EXPECT_EQ(deleted->Line(), "DELETED " + SessionName("wide", "b"));
}

TEST_F(WatchTest, RefusesWhatItDoesNotKnow) {
  StartFake();
  v1::WatchSessionsRequest request;
  request.set_parent("sessions");
  EXPECT_EQ(Shown(WatchError(request)), "INVALID_ARGUMENT / RESOURCE_NAME at parent");
  request.set_parent("models/-");
  request.add_kinds(v1::SessionEvent::CREATED);
  request.add_kinds(static_cast<v1::SessionEvent::Kind>(77));
  EXPECT_EQ(Shown(WatchError(request)), "INVALID_ARGUMENT / EVENT_KIND at kinds[1]");
}

TEST_F(WatchTest, AClientThatDoesNotReadMissesEventsAndHoldsUpNobody) {
  options_.engine.sessions.watch_buffer = 8;
  StartFake();
  v1::WatchSessionsRequest request;
  request.set_parent("models/-");
  const auto watching = Watch(request);
  // More than the sockets and gRPC hold between the two.
  constexpr int kSessions = 20'000;
  const std::string padding(100, 'x');
  for (int k = 0; k < kSessions; ++k) {
    ASSERT_TRUE(server_->engine().FindSession("m", padding + std::to_string(k), true).ok());
  }
  uint64_t seen = 0;
  uint64_t missed = 0;
  while (seen + missed < kSessions) {
    const v1::SessionEvent event = watching->Read();
    if (event.kind() == v1::SessionEvent::MISSED) {
      missed += event.missed();
      EXPECT_EQ(event.session(), "");
    } else {
      ASSERT_EQ(event.kind(), v1::SessionEvent::CREATED);
      ++seen;
    }
  }
  EXPECT_EQ(seen + missed, static_cast<uint64_t>(kSessions));
  EXPECT_GT(missed, 0u);
}

TEST_F(WatchTest, ADrainEndsTheWatchAfterWhatItHasToTell) {
  StartFake();
  v1::WatchSessionsRequest request;
  request.set_parent("models/-");
  auto watching = Watch(request);
  Create("m", "a");
  EXPECT_TRUE(server_->Drain(absl::Now() + absl::Seconds(30)));
  EXPECT_EQ(watching->Line(), "CREATED " + SessionName("m", "a"));
  EXPECT_EQ(Shown(Decode(watching->Finish())), "UNAVAILABLE / DRAINING");
}

TEST_F(WatchTest, AStreamIsToldOfTheEndOfWhatItHasBound) {
  options_.engine.sessions.max_sessions_per_model = 4;
  options_.engine.sessions.evict_least_recently_used = true;
  StartFake();
  StreamClient stream(inference_.get());
  ASSERT_TRUE(stream.Write(BindFrame({SessionName("m", "a"), SessionName("m", "b"), SessionName("m", "c")})));
  stream.ReadAnswers(3);
  Create("m", "other");
  Delete(SessionName("m", "other"));
  Delete(SessionName("m", "a"));
  stream.ReadAnswers(4);
  ASSERT_EQ(stream.events.size(), 1u);
  EXPECT_EQ(stream.events[0].session(), SessionName("m", "a"));
  EXPECT_EQ(stream.events[0].kind(), v1::SessionEvent::DELETED);
  EXPECT_EQ(stream.events[0].uid(), stream.bounds[0].session().uid());
  // Its steps fail until it is unbound, the others go on.
  ASSERT_TRUE(stream.Write(StepFrame(7, {0, 1}, MakeTensor({2, 3}, std::vector<float>(6)))));
  stream.ReadAnswers(6);
  ASSERT_EQ(stream.failures.size(), 1u);
  EXPECT_EQ(Decode(stream.failures[0].error()).metadata["last_event"], "DELETED");
  EXPECT_EQ(stream.results[1].size(), 1u);

  // c was not used since it was made, b was.
  Create("m", "d");
  Create("m", "e");
  Create("m", "f");
  stream.ReadAnswers(7);
  ASSERT_EQ(stream.events.size(), 2u);
  EXPECT_EQ(stream.events[1].session(), SessionName("m", "c"));
  EXPECT_EQ(stream.events[1].kind(), v1::SessionEvent::EVICTED);
  EXPECT_THAT(stream.events[1].reason(), HasSubstr("least recently used"));

  v1::UnloadModelRequest unload;
  unload.set_name("models/m");
  unload.set_force(true);
  google::protobuf::Empty empty;
  ASSERT_TRUE(models_->UnloadModel(Context().get(), unload, &empty).ok());
  stream.ReadAnswers(8);
  ASSERT_EQ(stream.events.size(), 3u);
  EXPECT_EQ(stream.events[2].session(), SessionName("m", "b"));
  EXPECT_EQ(stream.events[2].kind(), v1::SessionEvent::UNLOADED);
  stream.WritesDone();
  EXPECT_TRUE(stream.Finish().ok());
}

TEST_F(WatchTest, ASessionThatIsUnboundIsNotToldOf) {
  StartFake();
  StreamClient stream(inference_.get());
  ASSERT_TRUE(stream.Write(BindFrame({SessionName("m", "a"), SessionName("m", "b")})));
  stream.ReadAnswers(2);
  v1::StreamStepsRequest unbind;
  unbind.add_unbinds()->set_handle(0);
  *unbind.add_steps() = StepFrame(1, {1}, MakeTensor({1, 3}, {1, 2, 3})).steps(0);
  ASSERT_TRUE(stream.Write(unbind));
  stream.ReadAnswers(3);
  // The next answer of the stream shows that the frame before was done with.
  ASSERT_TRUE(stream.Write(StepFrame(2, {1}, MakeTensor({1, 3}, {1, 2, 3}))));
  stream.ReadAnswers(4);
  Delete(SessionName("m", "a"));
  Delete(SessionName("m", "b"));
  stream.ReadAnswers(5);
  ASSERT_EQ(stream.events.size(), 1u);
  EXPECT_EQ(stream.events[0].session(), SessionName("m", "b"));
  stream.WritesDone();
  EXPECT_TRUE(stream.Finish().ok());
  EXPECT_EQ(stream.events.size(), 1u);
}

TEST_F(WatchTest, SessionsAreListedByLabel) {
  StartFake();
  v1::CreateSessionRequest create;
  create.set_parent("models/m");
  for (const char* owner : {"ann", "bob", "ann"}) {
    (*create.mutable_session()->mutable_labels())["owner"] = owner;
    v1::Session session;
    ASSERT_TRUE(sessions_->CreateSession(Context().get(), create, &session).ok());
  }
  v1::ListSessionsRequest request;
  request.set_parent("models/-");
  (*request.mutable_labels())["owner"] = "ann";
  v1::ListSessionsResponse response;
  ASSERT_TRUE(sessions_->ListSessions(Context().get(), request, &response).ok());
  EXPECT_EQ(response.sessions_size(), 2);
  for (const v1::Session& session : response.sessions()) EXPECT_EQ(session.labels().at("owner"), "ann");
}

}  // namespace
}  // namespace lstmd
