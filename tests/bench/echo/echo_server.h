// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_TESTS_BENCH_ECHO_ECHO_SERVER_H_
#define LSTMD_TESTS_BENCH_ECHO_ECHO_SERVER_H_

#include <memory>
#include <string>

#include "grpcpp/server.h"

namespace lstmd::bench {

// Echoes messages through gRPC's callback API on `address` ("127.0.0.1:0": a free port, set in *port) for as long as it
// lives. nullptr when it cannot listen.
std::unique_ptr<grpc::Server> StartEchoServer(const std::string& address, int* port);

}  // namespace lstmd::bench

#endif  // LSTMD_TESTS_BENCH_ECHO_ECHO_SERVER_H_
