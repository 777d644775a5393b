// SPDX-License-Identifier: Apache-2.0
//
// lstmctl: the command line client of lstmd. Exit status: 0 done, 1 failed, 2 used wrongly.
#include <csignal>
#include <cstdio>
#include <exception>
#include <iostream>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "client/error.h"
#include "client/lstmctl/command.h"
#include "client/lstmctl/print.h"

namespace lstmd::client {
namespace {

// What to do about an error, "" when its message says it all.
std::string Hint(const absl::Status& status, const Context& context) {
  const std::string reason = GetDetails(status).reason;
  if (reason == "SESSION_NOT_FOUND") return "lstmctl sessions lists those there are; lstmctl create MODEL ID makes one";
  if (reason == "MODEL_NOT_FOUND") return "lstmctl models lists those there are; lstmctl load MODEL loads one";
  if (reason == "SESSION_EXISTS") return "lstmctl create --exists-ok takes it as it is; lstmctl reset starts it anew";
  if (reason == "MODEL_IN_USE") return "lstmctl sessions MODEL lists its sessions; lstmctl unload --force ends them";
  if (reason == "TOKEN") return "lstmctl --token-file FILE presents a token; lstmctl token new makes one";
  if (reason == "WEIGHTS_MISMATCH")
    return "lstmctl load MODEL --version N loads the version it ran on; --any-weights takes those there are";
  if (reason == "NOT_STEPPABLE") return "lstmctl run runs whole sequences";
  if (reason.empty() && absl::StartsWith(status.message(), "cannot reach")) {
    return "start a server with: lstmd --repository DIR --listen " + context.server +
           "\n      or name another with --server ADDRESS or LSTMD_SERVER";
  }
  return "";
}

int Main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error of write, and cleaning up goes on
  Context context;
  CLI::App app("lstmctl talks to an lstmd server: models, sessions, steps, sequences, load.", "lstmctl");
  app.add_option(
         "--server", context.server,
         "Address of the server: HOST:PORT or unix:PATH; several with commas where they serve the same sessions")
      ->envname("LSTMD_SERVER")
      ->capture_default_str();
  app.add_flag("--json", context.json, "Answer in JSON");
  app.add_option("--timeout", context.timeout_seconds, "Longest time for one call, seconds; 0: none")
      ->capture_default_str();
  const std::pair<const char*, std::pair<std::string*, const char*>> files[] = {
      {"tls-ca", {&context.security.tls_ca, "Speak TLS; the server's certificate must come from this authority (PEM)"}},
      {"tls-cert", {&context.security.tls_cert, "Certificate of this client (PEM)"}},
      {"tls-key", {&context.security.tls_key, "Its key (PEM)"}},
      {"token-file", {&context.security.token, "File with the token to present (lstmctl token new)"}}};
  for (const auto& [name, option] : files) {
    app.add_option(absl::StrCat("--", name), *option.first, option.second)
        ->type_name("FILE")
        ->envname(absl::StrCat("LSTMCTL_", absl::AsciiStrToUpper(absl::StrReplaceAll(name, {{"-", "_"}}))));
  }
  app.set_version_flag("--version", LSTMD_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  app.footer(
      "lstmctl COMMAND --help says more about one, with an example.\nExit status: 0 done, 1 failed, 2 wrong use.");
  AddModelCommands(&app, &context);
  AddSessionCommands(&app, &context);
  AddAdminCommands(&app, &context);
  AddDurableCommands(&app, &context);
  AddSnapshotCommands(&app, &context);
  AddWatchCommand(&app, &context);
  AddStepCommand(&app, &context);
  AddStreamCommand(&app, &context);
  AddRunCommand(&app, &context);
  AddBenchCommand(&app, &context);
  AddImportCommand(&app, &context);
  AddTokenCommand(&app, &context);
  AddHealthCommand(&app, &context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  absl::Status status = context.ReadSecurity();
  if (status.ok()) status = context.run();
  if (status.ok()) return 0;
  if (context.json) {
    std::cerr << ToJson(status).dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
    return 1;
  }
  std::cerr << "lstmctl: " << Describe(status) << "\n";
  const std::string hint = Hint(status, context);
  if (!hint.empty()) std::cerr << "hint: " << hint << "\n";
  return 1;
}

}  // namespace
}  // namespace lstmd::client

int main(int argc, char** argv) {
  try {
    return lstmd::client::Main(argc, argv);
  } catch (const std::exception& error) {  // bad_alloc, or a library's
    std::fprintf(stderr, "lstmctl: %s\n", error.what());
    return 1;
  }
}
