// SPDX-License-Identifier: Apache-2.0
//
// lstmctl health: grpc.health.v1, which answers without a token. Its messages are small enough to be written by hand.
#include <future>
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/endpoints.h"
#include "client/error.h"
#include "client/lstmctl/command.h"
#include "client/lstmctl/print.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"

namespace lstmd::client {
namespace {

// HealthCheckResponse { ServingStatus status = 1; }, SERVING = 1.
constexpr absl::string_view kServing("\x08\x01", 2);

absl::Status Health(const Context& context) {
  const ClientOptions options = context.Options();
  const std::shared_ptr<grpc::Channel> channel = grpc::CreateChannel(
      context.server, options.credentials ? options.credentials : grpc::InsecureChannelCredentials());
  grpc::GenericStub stub(channel);
  grpc::ClientContext call;
  if (options.timeout < absl::Hours(1)) {
    call.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMicroseconds(options.timeout));
  }
  TryToConnect(channel.get(), call.deadline());
  grpc::ByteBuffer request;
  const grpc::Slice empty;
  grpc::ByteBuffer(&empty, 1).Swap(&request);
  grpc::ByteBuffer reply;
  std::promise<grpc::Status> ended;
  stub.UnaryCall(&call, "/grpc.health.v1.Health/Check", {}, &request, &reply,
                 [&](const grpc::Status& status) { ended.set_value(status); });
  const grpc::Status status = ended.get_future().get();
  if (!status.ok()) return FromGrpc(status);
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (reply.Dump(&slices).ok()) {
    for (const grpc::Slice& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  if (bytes != kServing) return absl::UnavailableError(absl::StrCat(context.server, " is not serving"));
  return context.json ? PrintJson(Json{{"status", "SERVING"}}) : Print("SERVING\n");
}

}  // namespace

void AddHealthCommand(CLI::App* app, Context* context) {
  CLI::App* command = app->add_subcommand("health", "Whether the server serves: exit status 0 if so. Needs no token");
  command->footer("Example:\n  lstmctl --server unix:/run/lstmd.sock health");
  command->callback([context] { context->run = [context] { return Health(*context); }; });
}

}  // namespace lstmd::client
