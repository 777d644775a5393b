// SPDX-License-Identifier: Apache-2.0
//
// A gRPC proxy that breaks things: it forwards every call, message by message, and at random cuts a call's connection,
// leaves a reply out, or gives one twice. It never changes or reorders what it passes on.
#ifndef LSTMD_TESTS_FAULTS_FAULT_PROXY_H_
#define LSTMD_TESTS_FAULTS_FAULT_PROXY_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <string>

#include "grpcpp/generic/async_generic_service.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"

namespace lstmd {

// Chances for each reply message.
struct FaultRates {
  double cut = 0;
  double drop = 0;
  double duplicate = 0;
};

struct FaultCounts {
  std::atomic<uint64_t> calls{0};
  std::atomic<uint64_t> replies{0};
  std::atomic<uint64_t> cuts{0};
  std::atomic<uint64_t> drops{0};
  std::atomic<uint64_t> duplicates{0};
};

class FaultProxy {
 public:
  // Listens on a free port of the loopback and forwards to `upstream`, which may come and go.
  FaultProxy(const std::string& upstream, uint32_t seed);
  ~FaultProxy();

  const std::string& address() const { return address_; }
  // From now on.
  void SetRates(const FaultRates& rates);
  const FaultCounts& counts() const { return counts_; }

 private:
  class Relay;
  class Service final : public grpc::CallbackGenericService {
   public:
    explicit Service(FaultProxy* proxy) : proxy_(proxy) {}
    grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override;

   private:
    FaultProxy* const proxy_;
  };

  enum class Verdict { kPass, kCut, kDrop, kDuplicate };
  Verdict Judge();

  Service service_{this};
  FaultCounts counts_;
  std::mutex mutex_;
  std::mt19937 random_;  // guarded by mutex_, as rates_
  FaultRates rates_;
  std::unique_ptr<grpc::GenericStub> stub_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

}  // namespace lstmd

#endif  // LSTMD_TESTS_FAULTS_FAULT_PROXY_H_
