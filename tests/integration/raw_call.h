// SPDX-License-Identifier: Apache-2.0
//
// Calls of services that come without generated stubs (health, reflection): bytes out, bytes in.
#ifndef LSTMD_TESTS_INTEGRATION_RAW_CALL_H_
#define LSTMD_TESTS_INTEGRATION_RAW_CALL_H_

#include <memory>
#include <optional>
#include <string>

#include "grpcpp/completion_queue.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"

namespace lstmd {

// One call, of any kind. Blocking; one thread.
class RawCall {
 public:
  // `method`: "/package.Service/Method".
  RawCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& method);
  // Cancels what is still open.
  ~RawCall();

  // Sends a message; `last`: the only one, or the last one.
  void Write(const std::string& bytes, bool last);
  // The next message; nullopt at the end.
  std::optional<std::string> Read();

 private:
  // Waits for the operation that was just started.
  bool Wait();

  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  grpc::GenericStub stub_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

}  // namespace lstmd

#endif  // LSTMD_TESTS_INTEGRATION_RAW_CALL_H_
