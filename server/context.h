// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_CONTEXT_H_
#define LSTMD_SERVER_CONTEXT_H_

#include <atomic>
#include <cstdint>
#include <functional>

#include "absl/time/time.h"
#include "engine/engine.h"
#include "server/blocking_pool.h"

namespace lstmd::server {

class AccessControl;        // server/access.h
struct ConnectionBounds;    // server/connection_guard.h
struct ConnectionCounters;  // server/connection_guard.h
class History;              // server/monitor/history.h
class SlowLog;              // server/slow_log.h
class StreamRegistry;       // server/stream_registry.h

// Bounds on what one message or stream may ask for.
struct Limits {
  // Largest request, and largest reply the server will make.
  uint64_t max_message_bytes = 64 << 20;
  // Steps that one stream may have in flight before it is no longer read.
  uint32_t max_in_flight_per_stream = 8192;
  // Items of one Step or RunSequences call.
  int max_items = 4096;
  // Rows of all batches of a call together; binds, steps and unbinds of one frame.
  int64_t max_rows = 65536;
  // Time steps of one sequence, or of one step of a session.
  int64_t max_sequence_length = 1 << 20;
  // Streams that are open at a time, on all connections. 0: as StreamsFor has it.
  uint64_t max_streams = 0;
  // A step of a session that is not done so long after it came is dropped. Zero: never.
  absl::Duration max_queue_age = absl::Minutes(1);
};

// What all services share; outlives them.
struct Context {
  Engine* engine = nullptr;
  Limits limits;
  const AccessControl* access = nullptr;  // nullptr: everyone may do all
  StreamRegistry* streams = nullptr;
  const ConnectionCounters* connections = nullptr;
  const ConnectionBounds* connection_bounds = nullptr;
  uint64_t memory_limit = 0;  // of the process; 0: none
  SlowLog* slow_log = nullptr;
  History* history = nullptr;
  // Those that only watch; a drain does not wait for them.
  StreamRegistry* watches = nullptr;
  uint32_t watch_buffer = 0;
  // For engine calls that wait: a load may take minutes, so sessions have threads of their own.
  BlockingPool* session_pool = nullptr;
  BlockingPool* model_pool = nullptr;
  // For GetServerInfo and the models' configuration.
  absl::Time start_time;
  uint32_t max_batch_size = 0;
  uint64_t max_sessions = 0;
  std::atomic<bool> draining{false};
  // Hands the sessions over to the store; see Engine::HandOver. For the Drain rpc, which calls on_drained when it is
  // done.
  std::function<Handover(absl::Time deadline, const std::string& new_address)> hand_over;
  std::function<void()> on_drained;
  absl::Duration drain_timeout;
  // Models were loaded, sockets are open.
  std::atomic<bool> serving{false};
  // There should be at least one.
  bool wants_models = false;
  // For a session that gives none.
  absl::Duration idle_ttl;
  Durability durability = Durability::kNone;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_CONTEXT_H_
