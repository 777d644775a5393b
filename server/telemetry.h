// SPDX-License-Identifier: Apache-2.0
//
// Counts of rpcs and failures, of the whole process like its log: several servers in one process share them.
#ifndef LSTMD_SERVER_TELEMETRY_H_
#define LSTMD_SERVER_TELEMETRY_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/counters.h"
#include "engine/mutex.h"

namespace lstmd::server {

constexpr size_t kStatusCodes = 17;

// Of one rpc. Thread-safe.
struct RpcCounters {
  std::array<Counter, kStatusCodes> calls;  // that have ended, by code
  Histogram duration{4};                    // ticks from arrival to the reply handed to the transport; unary calls only
  Counter messages_in;                      // of streams
  Counter messages_out;
  Gauge open_streams;
  Counter slow;  // calls, and messages of a stream, at or above --slow-request

  void Ended(absl::StatusCode code);
};

struct RpcStats {
  std::string rpc;
  const RpcCounters* counters = nullptr;  // lives as long as the process
};

struct FailureStats {
  std::string rpc;
  std::string code;    // "INVALID_ARGUMENT"
  std::string reason;  // "TENSOR_SHAPE"
  uint64_t count = 0;
};

struct RefusalStats {
  std::string tenant;
  std::string bound;  // "steps_per_second"
  uint64_t count = 0;
};

// Thread-safe. Look-ups of what is there take no lock.
class Telemetry {
 public:
  static Telemetry& Get();

  // `rpc`: the method's short name, of the few that this program has: never text from outside. The reference stays.
  RpcCounters& Rpc(std::string_view rpc);
  // A call, or an item of one, that failed. Reasons are the program's own words; should they ever be more than fit, the
  // rest counts as "OTHER".
  void CountFailure(std::string_view rpc, absl::StatusCode code, std::string_view reason);

  // A call, or an item of one, that was above a bound of its tenant's quota. Tenants are the operator's; should they be
  // more than fit, the rest counts as "OTHER".
  void CountRefusal(std::string_view tenant, std::string_view bound);

  std::vector<RpcStats> Rpcs() const;
  // Most frequent first.
  std::vector<FailureStats> Failures() const;
  // By tenant and bound.
  std::vector<RefusalStats> Refusals() const;

 private:
  template <typename Value>
  class Table {
   public:
    // The value of `key`, made on first use. nullptr: the table is full.
    Value* Find(std::string_view key);
    template <typename Visitor>
    void ForEach(const Visitor& visit) const;

   private:
    struct Entry {
      std::string key;
      Value value;
    };
    static constexpr size_t kSlots = 512;
    static constexpr size_t kMaxEntries = 256;

    // Open addressing; a slot is filled once and stays.
    std::array<std::atomic<Entry*>, kSlots> slots_{};
    Mutex mutex_;  // of those that fill slots
    std::vector<std::unique_ptr<Entry>> entries_ ABSL_GUARDED_BY(mutex_);
  };

  Table<RpcCounters> rpcs_;
  Table<Counter> failures_;  // "rpc/code/reason"
  Table<Counter> refusals_;  // "bound/tenant"
  RpcCounters other_;
  Counter other_failures_;
  Counter other_refusals_;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_TELEMETRY_H_
