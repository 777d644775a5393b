// SPDX-License-Identifier: Apache-2.0
//
// Any ModelInferRequest, alone and in a stream, against a server in this process. See OipChecker for what must hold.
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "engine/cpu/cpu_backend.h"
#include "server/logging.h"
#include "tests/integration/oip_checker.h"
#include "tests/integration/oip_request.h"
#include "tests/integration/server_fixture.h"

namespace lstmd {
namespace {

OipChecker MakeChecker() {
  (void)server::SetUpLogging("error", "text");
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(*CreateCpuBackend({}));
  std::unique_ptr<Engine> engine = *Engine::Create({}, std::move(backends));
  AddTestModels(engine.get());
  server::ServerOptions options;
  options.listen = {"127.0.0.1:0"};
  static const std::unique_ptr<server::Server> server = *server::Server::Start(options, std::move(engine));
  return OipChecker(server->addresses().front());
}

}  // namespace
}  // namespace lstmd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static lstmd::OipChecker checker = lstmd::MakeChecker();
  const inference::ModelInferRequest request = lstmd::MakeOipRequest(data, size);
  const std::string problem = checker.Check(request);
  if (problem.empty()) return 0;
  std::fprintf(stderr, "%s\n%.4000s\n", problem.c_str(), request.DebugString().c_str());
  std::abort();
}
