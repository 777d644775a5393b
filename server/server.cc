// SPDX-License-Identifier: Apache-2.0
#include "server/server.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/errors.h"
#include "engine/store/state_store.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/resource_quota.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "server/access.h"
#include "server/admin_service.h"
#include "server/channelz.h"
#include "server/connection_guard.h"
#include "server/device.h"
#include "server/inference_service.h"
#include "server/model_service.h"
#include "server/monitor/history.h"
#include "server/monitor/monitor.h"
#include "server/oip_service.h"
#include "server/repository_watcher.h"
#include "server/session_service.h"
#include "server/slow_log.h"
#include "server/stream_registry.h"
#include "spdlog/spdlog.h"

namespace lstmd::server {
namespace {

constexpr int kSessionThreads = 4;
constexpr int kModelThreads = 2;
constexpr size_t kMaxQueuedCalls = 10'000;
// Of TLS, and the first words of HTTP/2.
constexpr int kHandshakeMs = 20'000;
// After the drain only calls that never end by themselves are left: watches of the health, reflection.
constexpr absl::Duration kLastCalls = absl::Milliseconds(200);

int Milliseconds(absl::Duration duration) {
  return static_cast<int>(std::clamp<int64_t>(absl::ToInt64Milliseconds(duration), 1, INT32_MAX));
}

class RunningServer final : public Server {
 public:
  RunningServer(const ServerOptions& options, std::shared_ptr<const AccessControl> access,
                std::unique_ptr<Engine> engine)
      : access_(std::move(access)),
        engine_(std::move(engine)),
        session_pool_(std::make_unique<BlockingPool>(kSessionThreads, kMaxQueuedCalls)),
        model_pool_(std::make_unique<BlockingPool>(kModelThreads, kMaxQueuedCalls)),
        inference_service_(context_),
        session_service_(context_),
        model_service_(context_),
        admin_service_(context_),
        oip_service_(context_, [this] { return healthy(); }),
        slow_log_(options.slow_request) {
    context_.engine = engine_.get();
    context_.limits = options.limits;
    if (context_.limits.max_streams == 0) context_.limits.max_streams = StreamsFor(options.engine.memory_limit);
    context_.access = access_.get();
    context_.streams = &streams_;
    context_.connections = &connection_counters_;
    context_.connection_bounds = &connection_bounds_;
    context_.memory_limit = options.engine.memory_limit;
    context_.slow_log = &slow_log_;
    context_.watches = &watches_;
    context_.watch_buffer = options.engine.sessions.watch_buffer;
    context_.session_pool = session_pool_.get();
    context_.model_pool = model_pool_.get();
    context_.start_time = absl::Now();
    context_.max_batch_size = options.engine.scheduler.max_batch_size;
    context_.max_sessions = options.engine.sessions.max_sessions;
    context_.idle_ttl = options.engine.sessions.idle_ttl;
    context_.durability = options.engine.durability.durability;
    context_.hand_over = [this](absl::Time deadline, const std::string& new_address) {
      streams_.SetNewAddress(new_address);
      return HandOver(deadline);
    };
    context_.on_drained = options.on_drained;
    context_.drain_timeout = options.drain_timeout;
    history_ = std::make_unique<History>(context_);
    context_.history = history_.get();
    if (options.watch_repository > absl::ZeroDuration() && !options.engine.repository.empty()) {
      watcher_ =
          std::make_unique<RepositoryWatcher>(engine_.get(), options.engine.repository, options.watch_repository);
    }
  }

  ~RunningServer() override {
    guard_.reset();
    watcher_.reset();
    monitor_.reset();
    if (server_) {
      server_->Shutdown(std::chrono::system_clock::now());
      // Calls that are cancelled end when their work does: what is in the engine, and in the pools.
      streams_.StopReading();
      engine_->Drain(absl::Now());
    }
    session_pool_.reset();
    model_pool_.reset();
    // Waits for the last reaction; the services must live until then, the engine as long as calls have work in it.
    server_.reset();
  }

  // Before models are loaded: that may take minutes, in which the process is alive and not ready.
  absl::Status Watch(const ServerOptions& options);
  absl::Status LoadModels(const ServerOptions& options);
  absl::Status Listen(const ServerOptions& options, const Transport& transport);

  const std::vector<std::string>& addresses() const override { return addresses_; }
  std::string metrics_address() const override { return monitor_ == nullptr ? "" : monitor_->address(); }
  Engine& engine() override { return *engine_; }
  bool healthy() const override {
    const std::vector<const Backend*> backends = engine_->Backends();
    return std::all_of(backends.begin(), backends.end(), [](const Backend* backend) { return backend->healthy(); });
  }
  bool Drain(absl::Time deadline) override;

 private:
  Handover HandOver(absl::Time deadline);

  const std::shared_ptr<const AccessControl> access_;
  std::unique_ptr<Engine> engine_;
  StreamRegistry streams_;
  StreamRegistry watches_;
  std::unique_ptr<BlockingPool> session_pool_;
  std::unique_ptr<BlockingPool> model_pool_;
  Context context_;
  InferenceService inference_service_;
  SessionService session_service_;
  ModelService model_service_;
  AdminService admin_service_;
  OipService oip_service_;
  SlowLog slow_log_;
  std::unique_ptr<History> history_;
  std::unique_ptr<Monitor> monitor_;
  std::unique_ptr<RepositoryWatcher> watcher_;  // nullptr: not watched
  std::vector<std::string> addresses_;
  ConnectionBounds connection_bounds_;
  ConnectionCounters connection_counters_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<ConnectionGuard> guard_;
};

absl::Status RunningServer::Watch(const ServerOptions& options) {
  if (options.metrics_listen.empty()) return absl::OkStatus();
  absl::StatusOr<std::unique_ptr<Monitor>> monitor = Monitor::Start(options.metrics_listen, context_);
  if (monitor.ok()) {
    monitor_ = *std::move(monitor);
  } else if (options.metrics_optional) {
    spdlog::warn("no metrics: {}; --metrics-listen names another", std::string(monitor.status().message()));
  } else {
    return monitor.status();
  }
  return absl::OkStatus();
}

absl::Status RunningServer::LoadModels(const ServerOptions& options) {
  if (options.engine.repository.empty()) return absl::OkStatus();
  absl::StatusOr<int> ready = engine_->LoadRepository();
  if (!ready.ok()) return ready.status();
  int failed = 0;
  std::string token;
  do {
    absl::StatusOr<Page<ModelInfo>> page = engine_->ListModels(0, token);
    if (!page.ok()) return page.status();
    for (const ModelInfo& model : page->items) {
      if (model.state == ModelState::kReady) {
        spdlog::info("loaded {} version {}: {} parameters on {}", model.name, model.version, model.parameters,
                     model.device);
      } else if (model.state == ModelState::kFailed) {
        ++failed;
        spdlog::error("{} version {} did not load: {}", model.name, model.version, model.error);
      }
      context_.wants_models = true;
    }
    token = page->next_token;
  } while (!token.empty());
  spdlog::info("{} models ready, {} failed, from {}", *ready, failed, options.engine.repository);
  return absl::OkStatus();
}

absl::Status RunningServer::Listen(const ServerOptions& options, const Transport& transport) {
  connection_bounds_ = options.connections;
  if (connection_bounds_.max_calls == 0) connection_bounds_.max_calls = CallsFor(options.engine.memory_limit);
  if (connection_bounds_.max_unfinished_bytes == 0) {
    connection_bounds_.max_unfinished_bytes =
        UnfinishedFor(options.engine.memory_limit, options.limits.max_message_bytes);
  }
  const uint64_t room = RoomForConnections();
  if (room < connection_bounds_.max_connections) {
    spdlog::warn("room for {} connections: the limit of open files is low", room);
    connection_bounds_.max_connections = room;
  }
  spdlog::info(
      "at most {} connections with {} calls each, {} calls and {} streams in all, {} MiB of unfinished messages, {} "
      "MiB of "
      "memory",
      connection_bounds_.max_connections, connection_bounds_.max_streams_per_connection, connection_bounds_.max_calls,
      context_.limits.max_streams, connection_bounds_.max_unfinished_bytes >> 20, options.engine.memory_limit >> 20);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(static_cast<int>(options.limits.max_message_bytes));
  // Replies are bounded where they are made; this leaves room for what stands around the tensors.
  builder.SetMaxSendMessageSize(-1);
  // Another server on the same port is an error, not a silent share of the traffic.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(options.keepalive_time));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(options.keepalive_timeout));
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
  // Clients may ping, also between calls: streams of sessions are long and often silent.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
  // What one read brings is parsed as a whole: this bounds how many calls begin before the guard can step in.
  builder.AddChannelArgument(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, 64 << 10);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                             static_cast<int>(options.connections.max_streams_per_connection));
  if (options.max_connection_idle > absl::ZeroDuration()) {
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, Milliseconds(options.max_connection_idle));
  }
  if (options.max_connection_age > absl::ZeroDuration()) {
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, Milliseconds(options.max_connection_age));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, Milliseconds(options.drain_timeout));
  }
  if (options.engine.memory_limit > 0) {
    // What the transport holds, of calls that never end and of messages that never come whole, has a share of its own.
    grpc::ResourceQuota quota("lstmd");
    quota.Resize(options.engine.memory_limit / 2);
    builder.SetResourceQuota(quota);
  }
  builder.RegisterService(&inference_service_);
  builder.RegisterService(&session_service_);
  builder.RegisterService(&model_service_);
  builder.RegisterService(&admin_service_);
  builder.RegisterService(&oip_service_);
  std::vector<int> ports(options.listen.size(), -1);
  for (size_t i = 0; i < options.listen.size(); ++i) {
    builder.AddListeningPort(options.listen[i], transport.For(options.listen[i]), &ports[i]);
  }
  int64_t id = 0;
  {
    // The newest server is the one that was built here: others in this process wait.
    static auto* const mutex = new Mutex();
    MutexLock lock(mutex);
    server_ = builder.BuildAndStart();
    id = NewestServer();
  }
  for (size_t i = 0; i < ports.size(); ++i) {
    const std::string& address = options.listen[i];
    if (ports[i] <= 0 || !server_) {
      server_.reset();
      return Unavailable("LISTEN", absl::StrCat("cannot listen on ", address,
                                                ": it is in use, not allowed, or no address of this machine"));
    }
    const bool is_unix = address.rfind("unix:", 0) == 0;
    addresses_.push_back(is_unix ? address : absl::StrCat(address.substr(0, address.rfind(':')), ":", ports[i]));
  }
  if (!server_) return Unavailable("LISTEN", "cannot serve");
  guard_ = std::make_unique<ConnectionGuard>(connection_bounds_, id, std::move(ports), &connection_counters_);
  if (grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService()) {
    for (const char* service : {v1::InferenceService::service_full_name(), v1::SessionService::service_full_name(),
                                v1::ModelService::service_full_name(), v1::AdminService::service_full_name(),
                                inference::GRPCInferenceService::service_full_name()}) {
      health->SetServingStatus(service, true);
    }
    health->SetServingStatus(true);
  }
  context_.serving.store(true, std::memory_order_release);
  return absl::OkStatus();
}

Handover RunningServer::HandOver(absl::Time deadline) {
  context_.draining.store(true, std::memory_order_relaxed);
  if (grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService()) health->SetServingStatus(false);
  const Handover handover = engine_->HandOver(deadline);
  if (engine_->has_store()) spdlog::info("{} sessions saved and given up", handover.saved);
  if (handover.left != 0) {
    spdlog::error("{} sessions could not be saved: {}", handover.left,
                  handover.error.ok() ? "the time was over" : std::string(handover.error.message()));
  }
  return handover;
}

bool RunningServer::Drain(absl::Time deadline) {
  // Clients leave when all is safe: wherever they go next finds it.
  HandOver(deadline);
  streams_.SendGoAway(deadline);
  const bool finished = engine_->Drain(deadline);
  streams_.StopReading();
  watches_.StopReading();
  const bool closed = streams_.WaitUntilEmpty(deadline);
  // Shutdown waits for every call, cancelled ones too: with work still on the device it would outlast the deadline.
  if (!finished || !closed) return false;
  server_->Shutdown(absl::ToChronoTime(std::min(deadline, absl::Now() + kLastCalls)));
  return true;
}

// nullptr: none.
absl::StatusOr<std::shared_ptr<StateStore>> MakeStore(const ServerOptions& options) {
  if (options.store == "none") return std::shared_ptr<StateStore>();
  std::string password;
  if (!options.store_password_file.empty()) {
    std::ifstream file(options.store_password_file);
    if (!std::getline(file, password)) {
      return InvalidArgument("STORE", absl::StrCat("cannot read the password in ", options.store_password_file));
    }
  }
  absl::StatusOr<std::unique_ptr<StateStore>> store = OpenStore(options.store, password);
  if (!store.ok()) return store.status();
  // One that cannot be reached yet is used when it can.
  if (absl::Status status = (*store)->Check(); !status.ok()) spdlog::warn("{}", std::string(status.message()));
  spdlog::info("sessions are saved in {}", (*store)->description());
  if (const std::string warning = (*store)->warning(); !warning.empty()) spdlog::warn("{}", warning);
  return std::shared_ptr<StateStore>(*std::move(store));
}

// Who is let in, and how; made first, so that what is wrong with the flags does not wait for models to load.
struct Door {
  std::shared_ptr<const AccessControl> access;
  Transport transport;
};

absl::StatusOr<Door> MakeDoor(const ServerOptions& options) {
  absl::StatusOr<Transport> transport = Transport::Create(options.transport, options.listen);
  if (!transport.ok()) return transport.status();
  absl::StatusOr<std::shared_ptr<const AccessControl>> access = AccessControl::Create(options.access);
  if (!access.ok()) return access.status();
  return Door{*std::move(access), *std::move(transport)};
}

// `load`: also the models of the repository.
absl::StatusOr<std::unique_ptr<Server>> Serve(const ServerOptions& options, const Door& door,
                                              std::unique_ptr<Engine> engine, bool load) {
  auto server = std::make_unique<RunningServer>(options, door.access, std::move(engine));
  absl::Status status = server->Watch(options);
  if (status.ok() && load) status = server->LoadModels(options);
  if (status.ok()) status = server->Listen(options, door.transport);
  if (!status.ok()) return status;
  return server;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options, std::unique_ptr<Engine> engine) {
  const absl::StatusOr<Door> door = MakeDoor(options);
  if (!door.ok()) return door.status();
  return Serve(options, *door, std::move(engine), /*load=*/false);
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  const absl::StatusOr<Door> door = MakeDoor(options);
  if (!door.ok()) return door.status();
  absl::StatusOr<std::vector<std::unique_ptr<Backend>>> backends = MakeBackends(options);
  if (!backends.ok()) return backends.status();
  EngineOptions engine_options = options.engine;
  engine_options.sessions.quota_of = [access = door->access](std::string_view owner) { return access->QuotaOf(owner); };
  absl::StatusOr<std::shared_ptr<StateStore>> store = MakeStore(options);
  if (!store.ok()) return store.status();
  engine_options.store = *std::move(store);
  absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Create(std::move(engine_options), *std::move(backends));
  if (!engine.ok()) return engine.status();
  return Serve(options, *door, *std::move(engine), /*load=*/true);
}

}  // namespace lstmd::server
