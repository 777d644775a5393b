// SPDX-License-Identifier: Apache-2.0
//
// lstmctl checkpoint, drain.
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/lstmctl/command.h"
#include "client/lstmctl/print.h"

namespace lstmd::client {
namespace {

absl::Status Checkpoint(const Context& context, const std::string& name) {
  absl::StatusOr<std::unique_ptr<Client>> client = context.Connect();
  if (!client.ok()) return client.status();
  absl::StatusOr<v1::Session> session = (*client)->OpenSession(name).Checkpoint();
  if (!session.ok()) return session.status();
  if (context.json) return PrintJson(ToJson(*session));
  return Print(
      absl::StrCat(ShortName(name), " is safe up to seq ", session->durable_seq(), ", ", session->steps(), " steps\n"));
}

absl::Status Drain(const Context& context, const std::string& timeout, const std::string& new_address) {
  std::optional<absl::Duration> limit;
  if (!timeout.empty()) {
    absl::Duration duration;
    if (!absl::ParseDuration(timeout, &duration) || duration < absl::ZeroDuration()) {
      return absl::InvalidArgumentError(absl::StrCat("--within: '", timeout, "' is no duration; write 30s, 5m"));
    }
    limit = duration;
  }
  absl::StatusOr<std::unique_ptr<Client>> client = context.Connect();
  if (!client.ok()) return client.status();
  absl::StatusOr<v1::DrainResponse> drained = (*client)->Drain(limit, new_address);
  if (!drained.ok()) return drained.status();
  if (context.json) {
    return PrintJson(Json{{"saved", drained->checkpointed_sessions()}, {"lost", drained->lost_sessions()}});
  }
  return Print(absl::StrCat(drained->checkpointed_sessions(), " sessions saved, ", drained->lost_sessions(),
                            " not; the server ends\n"));
}

}  // namespace

void AddDurableCommands(CLI::App* app, Context* context) {
  auto name = std::make_shared<std::string>();
  CLI::App* checkpoint = app->add_subcommand("checkpoint", "Save a session in the server's store now");
  AddSessionArgument(checkpoint, name.get());
  checkpoint->footer("Example:\n  lstmctl checkpoint sunspots/alice");
  checkpoint->callback([=] { context->run = [=] { return Checkpoint(*context, *name); }; });

  auto within = std::make_shared<std::string>();
  CLI::App* drain = app->add_subcommand("drain", "Have the server save every session and end");
  drain->add_option("--within", *within, "At most so long; without, the server's setting")->type_name("DURATION");
  auto to = std::make_shared<std::string>();
  drain->add_option("--to", *to, "The server that its streams are told to go to; without, each chooses by itself")
      ->type_name("HOST:PORT");
  drain->footer("Example:\n  lstmctl --server a:8001 drain --within 1m --to b:8001");
  drain->callback([=] { context->run = [=] { return Drain(*context, *within, *to); }; });
}

}  // namespace lstmd::client
