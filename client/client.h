// SPDX-License-Identifier: Apache-2.0
//
// The C++ client of lstmd.
//
//   absl::StatusOr<std::unique_ptr<Client>> client = Client::Connect("127.0.0.1:8001");
//   absl::StatusOr<Session> session = (*client)->CreateSession("sunspots");
//   absl::StatusOr<std::vector<float>> forecast = session->Step({0.42f});
//
// Errors of every call are the server's, with its details (client/error.h), or UNAVAILABLE where it could not be
// reached and DEADLINE_EXCEEDED where it did not answer in time. What is safe to be tried again is: steps with a number
// (RetryOptions), and, where several addresses were given, calls that change nothing at the other addresses.
#ifndef LSTMD_CLIENT_CLIENT_H_
#define LSTMD_CLIENT_CLIENT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/array.h"
#include "client/endpoints.h"
#include "client/resumable_stream.h"
#include "client/retry.h"
#include "client/session.h"
#include "client/stream.h"
#include "client/watch.h"
#include "grpcpp/channel.h"
#include "grpcpp/security/credentials.h"
#include "lstmd/v1/admin_service.grpc.pb.h"
#include "lstmd/v1/inference_service.grpc.pb.h"
#include "lstmd/v1/model_service.grpc.pb.h"
#include "lstmd/v1/session_service.grpc.pb.h"

namespace lstmd::client {

struct ClientOptions {
  // Of each call but streams, which have none. Infinite: wait for ever.
  absl::Duration timeout = absl::Minutes(2);
  // Of Connect. With `wait_for_server` it keeps trying so long; without, a refused connection is an error at once.
  absl::Duration connect_timeout = absl::Seconds(5);
  bool wait_for_server = false;
  RetryOptions retry;
  // Largest message either way. The server has a bound of its own (ServerInfo.max_message_bytes).
  int max_message_bytes = 256 << 20;
  // Silence after which a connection with open streams is probed, so that a dead server is noticed. Servers of this
  // project allow it; 0 turns it off.
  absl::Duration keepalive = absl::Seconds(60);
  // Sent with every call, for example {"authorization", "Bearer …"}. Keys in lower case.
  std::vector<std::pair<std::string, std::string>> metadata;
  // Absent: plain text.
  std::shared_ptr<grpc::ChannelCredentials> credentials;
};

struct CreateSessionOptions {
  std::string id;                          // empty: the server makes one
  int64_t model_version = 0;               // 0: the default version
  std::optional<absl::Duration> idle_ttl;  // absent: the server's setting; zero: never ends
  std::optional<absl::Time> expire_time;   // ends then whatever happens; absent: never
  std::map<std::string, std::string> labels;
  // Unspecified: the server's setting. See lstmd.v1.Session.
  v1::Session::Durability durability = v1::Session::DURABILITY_UNSPECIFIED;
  bool pinned = false;                 // its state stays on the device
  std::optional<State> initial_state;  // absent: the model's
  bool exists_ok = false;              // answer the living session of that name instead of ALREADY_EXISTS
};

struct ImportSessionOptions {
  std::string id;            // empty: the server makes one
  bool replace = false;      // a living session of that name becomes what the snapshot says
  bool any_weights = false;  // see lstmd.v1.ImportSessionRequest
};

struct RunOptions {
  int64_t model_version = 0;      // 0: the default version
  std::vector<uint32_t> lengths;  // valid steps: one of [T, I], N of [N, T, I]; empty: all T
  std::optional<State> initial_state;
  v1::OutputMode output_mode = v1::OUTPUT_MODE_ALL;
  bool return_final_state = false;
  bool time_major = false;  // the batch is [T, N, I]
};

struct RunResult {
  Array output;  // [T, O] or [O]; of a batch [N, T, O] or [N, O]
  std::optional<State> final_state;
  v1::Timing timing;
  int64_t model_version = 0;
};

// "models/{model}"; a name that has the prefix already stays as it is.
std::string ModelName(absl::string_view model);
// "models/{model}/sessions/{id}".
std::string SessionName(absl::string_view model, absl::string_view id);

// A connection to one server, or to one of several that serve the same sessions (over one store). Thread-safe. Calls
// block the calling thread; streams do not.
class Client {
 public:
  // `address`: "host:port", "unix:path" or "unix:///path", or several with commas. Returns when a server has answered;
  // it is the one that is talked to as long as it serves. UNAVAILABLE names the address and what went wrong.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const std::string& address, ClientOptions options = {});
  // Over a channel that the caller made; does not wait.
  Client(std::shared_ptr<grpc::Channel> channel, ClientOptions options);

  // --- The server and its models ---
  absl::StatusOr<v1::ServerInfo> GetServerInfo();
  // All pages, by name, then version.
  absl::StatusOr<std::vector<v1::Model>> ListModels();
  absl::StatusOr<v1::Model> GetModel(absl::string_view model, int64_t version = 0);
  absl::StatusOr<v1::Model> LoadModel(absl::string_view model, int64_t version = 0, absl::string_view device = "");
  // Puts another version (0: the highest of the repository) in the place of the default one while sessions live on.
  absl::StatusOr<v1::Model> UpdateWeights(absl::string_view model, int64_t version = 0,
                                          v1::UpdatePolicy policy = v1::UPDATE_POLICY_UNSPECIFIED);
  absl::Status UnloadModel(absl::string_view model, int64_t version = 0, bool force = false);
  absl::StatusOr<v1::ServerStats> GetStats(const v1::GetStatsRequest& request = {});
  // "debug" …; the second answers the level from now on.
  absl::StatusOr<std::string> GetLogLevel();
  absl::StatusOr<std::string> SetLogLevel(absl::string_view level);

  // Has the server save every session, let everybody go, and end. Absent: the server's own setting of how long that may
  // take. `new_address` ("host:port") is told to its streams; "": each chooses by itself.
  absl::StatusOr<v1::DrainResponse> Drain(std::optional<absl::Duration> timeout = std::nullopt,
                                          absl::string_view new_address = "");

  // --- Sessions ---
  absl::StatusOr<Session> CreateSession(absl::string_view model, const CreateSessionOptions& options = {});
  // A session that goes on where the snapshot (SessionSnapshot.data) was taken.
  absl::StatusOr<Session> ImportSession(absl::string_view model, std::string snapshot,
                                        const ImportSessionOptions& options = {});
  // A session that is there already, by its full name. No call is made. The Client must outlive it.
  Session OpenSession(std::string name);
  // Up to `limit` sessions of "models/-" (all) or one model, by name; with labels only those that have all of them.
  absl::StatusOr<std::vector<v1::Session>> ListSessions(absl::string_view model = "-", size_t limit = SIZE_MAX,
                                                        const std::map<std::string, std::string>& labels = {});
  // What happens to sessions of one model or all, of these kinds or all. Returns when the watch is on.
  absl::StatusOr<std::unique_ptr<Watch>> WatchSessions(absl::string_view model = "-",
                                                       const std::vector<v1::SessionEvent::Kind>& kinds = {});

  // --- Work ---
  // One sequence [T, I] or a batch [N, T, I].
  absl::StatusOr<RunResult> RunSequence(absl::string_view model, const Array& input, const RunOptions& options = {});
  // Everything else that the contract allows. Errors of single items are in the response.
  absl::StatusOr<v1::RunSequencesResponse> RunSequences(const v1::RunSequencesRequest& request);
  absl::StatusOr<v1::StepResponse> Step(const v1::StepRequest& request);
  // The caller keeps all three until `done` was called, on a thread of gRPC that must not block.
  // REQUIRES: no call was made with `context`.
  void StepAsync(grpc::ClientContext* context, const v1::StepRequest* request, v1::StepResponse* response,
                 std::function<void(absl::Status)> done);
  // Any number at a time; each keeps the connection open.
  std::unique_ptr<Stream> OpenStream(StreamOptions options = {});
  // The same for callers who want to hear of nothing but results (client/resumable_stream.h).
  std::unique_ptr<ResumableStream> OpenResumableStream(ResumeOptions options = {});

  // A context for a call with one of the stubs: deadline and metadata of the options.
  std::unique_ptr<grpc::ClientContext> NewContext() const;
  void Prepare(grpc::ClientContext* context) const;
  // Of the server that is talked to now.
  v1::SessionService::Stub* sessions() { return endpoints_->Current()->sessions.get(); }
  v1::ModelService::Stub* models() { return endpoints_->Current()->models.get(); }
  v1::InferenceService::Stub* inference() { return endpoints_->Current()->inference.get(); }
  v1::AdminService::Stub* admin() { return endpoints_->Current()->admin.get(); }

  // Makes a unary call, again where `safety` allows it.
  absl::Status Call(Safety safety, absl::FunctionRef<grpc::Status(Endpoint*, grpc::ClientContext*)> call);

 private:
  Client(std::shared_ptr<Endpoints> endpoints, ClientOptions options);
  // Whether the server at `address` is one, and serves.
  absl::Status Greet(const std::string& address);

  const ClientOptions options_;
  const std::shared_ptr<Endpoints> endpoints_;
};

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_CLIENT_H_
