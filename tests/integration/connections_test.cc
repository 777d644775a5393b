// SPDX-License-Identifier: Apache-2.0
//
// Bounds on connections and on what clients hold open on them, over the wire.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/channelz.h"
#include "tests/integration/monitor_fixture.h"

namespace lstmd {
namespace {

class ConnectionsTest : public MonitorTest {
 protected:
  // A client that says hello in HTTP/2, and then nothing any more.
  int ConnectAndFallSilent() {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(std::stoi(address_.substr(address_.rfind(':') + 1))));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    const std::string hello("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33);
    EXPECT_EQ(send(fd, hello.data(), hello.size(), 0), static_cast<ssize_t>(hello.size()));
    return fd;
  }
  // Whether the server has closed the connection by now, or does so within a minute.
  static bool IsClosed(int fd) {
    const timeval patience = {60, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    char data[4096];
    ssize_t got = 0;
    while ((got = recv(fd, data, sizeof data, 0)) > 0) {
    }
    const bool closed = got == 0 || errno == ECONNRESET;
    close(fd);
    return closed;
  }
};

// The server took port 0, and knows its connections all the same.
TEST_F(ConnectionsTest, ConnectionsAboveTheirBoundAreCutAndCounted) {
  options_.connections.max_connections = 2;
  StartCpu();
  Create("m", "a");
  std::vector<std::shared_ptr<grpc::Channel>> others;
  for (int i = 0; i < 4; ++i) {
    others.push_back(NewChannel());
    EXPECT_TRUE(others.back()->WaitForConnected(std::chrono::system_clock::now() + std::chrono::minutes(1)));
  }
  const std::string cut = R"(lstmd_connections_cut_total{bound="max_connections"})";
  EXPECT_GE(WaitFor(cut, [](double value) { return value >= 3; }), 3);
  EXPECT_LE(WaitFor("lstmd_connections", [](double value) { return value <= 2; }), 2);
  EXPECT_EQ(Metric("lstmd_max_connections"), 2);
  EXPECT_EQ(Step(SessionName("m", "a"), {1, 2, 3}).size(), 2u);
}

TEST_F(ConnectionsTest, ConnectionsWithTheMostCallsAreCutAndTheOthersGoOn) {
  options_.connections.max_calls = 4;
  StartCpu();
  const auto context = Context();
  const auto good = OpenStream(context.get());
  v1::StreamStepsResponse response;
  ASSERT_TRUE(good->Write(BindFrame({SessionName("m", "good")})));
  ASSERT_TRUE(good->Read(&response));
  const auto stub = v1::InferenceService::NewStub(NewChannel());
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<Stream>> streams;
  for (int i = 0; i < 5; ++i) {
    contexts.push_back(Context());
    streams.push_back(stub->StreamSteps(contexts.back().get()));
  }
  for (const auto& stream : streams) {
    while (stream->Read(&response)) {
    }
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  }
  ASSERT_TRUE(good->Write(StepFrame(1, {0}, MakeTensor({1, 3}, {1, 2, 3}))));
  while (response.results_size() == 0) ASSERT_TRUE(good->Read(&response));
  good->WritesDone();
  while (good->Read(&response)) {
  }
  EXPECT_TRUE(good->Finish().ok());
  EXPECT_GE(Metric(R"(lstmd_connections_cut_total{bound="max_calls"})"), 1);
  EXPECT_EQ(Metric("lstmd_max_calls"), 4);
}

TEST_F(ConnectionsTest, CallsThatAreOpenInAllAreKnown) {
  StartCpu();
  const int64_t server = server::NewestServer();
  const auto context = Context();
  const auto stream = OpenStream(context.get());
  v1::StreamStepsResponse response;
  ASSERT_TRUE(stream->Write(BindFrame({SessionName("m", "a")})));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(server::CountOpenCalls(server), 1u);
  stream->WritesDone();
  while (stream->Read(&response)) {
  }
  EXPECT_TRUE(stream->Finish().ok());
  const auto patience = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (server::CountOpenCalls(server) > 0) ASSERT_LT(std::chrono::steady_clock::now(), patience);
  EXPECT_EQ(server::CountOpenCalls(0), 0u);
}

TEST_F(ConnectionsTest, OneThatDoesNotAnswerAPingIsClosed) {
  options_.keepalive_time = absl::Milliseconds(50);
  options_.keepalive_timeout = absl::Milliseconds(50);
  StartFake();
  EXPECT_TRUE(IsClosed(ConnectAndFallSilent()));
}

TEST_F(ConnectionsTest, OneWithoutACallIsClosed) {
  options_.max_connection_idle = absl::Milliseconds(50);
  StartFake();
  EXPECT_TRUE(IsClosed(ConnectAndFallSilent()));
}

TEST_F(ConnectionsTest, OneThatIsOldIsClosedAndItsClientGoesOn) {
  options_.max_connection_age = absl::Milliseconds(50);
  options_.drain_timeout = absl::Milliseconds(50);
  StartFake();
  EXPECT_TRUE(IsClosed(ConnectAndFallSilent()));
  Create("m", "a");
  EXPECT_EQ(Get(SessionName("m", "a")).steps(), 0u);
}

}  // namespace
}  // namespace lstmd
