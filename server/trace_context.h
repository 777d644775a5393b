// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_TRACE_CONTEXT_H_
#define LSTMD_SERVER_TRACE_CONTEXT_H_

#include <string>
#include <string_view>

#include "grpcpp/server_context.h"

namespace lstmd::server {

// Which trace a call belongs to, and which span of the caller made it: W3C Trace Context, from the metadata
// "traceparent". Empty where there is none, or one that is not well formed (the standard says to go on without).
struct TraceContext {
  std::string trace_id;  // 32 digits a-f0-9
  std::string span_id;   // 16; of the caller

  bool empty() const { return trace_id.empty(); }
};

TraceContext ParseTraceparent(std::string_view value);
// Of a call; only while it lives.
TraceContext TraceOf(const grpc::ServerContextBase& call);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_TRACE_CONTEXT_H_
