// SPDX-License-Identifier: Apache-2.0
//
// What the subcommands of lstmctl share. Each AddX adds some to the program; the one that is called leaves what it has
// to do in Context::run.
#ifndef LSTMD_CLIENT_LSTMCTL_COMMAND_H_
#define LSTMD_CLIENT_LSTMCTL_COMMAND_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/security.h"

namespace lstmd::client {

struct Context {
  std::string server = "127.0.0.1:8001";
  bool json = false;
  double timeout_seconds = 120;
  SecurityFiles security;
  std::function<absl::Status()> run;

  absl::StatusOr<std::unique_ptr<Client>> Connect() const;
  ClientOptions Options() const;
  // Reads the files of `security`, for Options. Once, before `run`.
  absl::Status ReadSecurity();

 private:
  ClientOptions secured_;
};

void AddModelCommands(CLI::App* app, Context* context);     // models, load, update, unload, info
void AddSessionCommands(CLI::App* app, Context* context);   // sessions, create, get, state, reset, delete
void AddAdminCommands(CLI::App* app, Context* context);     // top, log-level
void AddDurableCommands(CLI::App* app, Context* context);   // checkpoint, drain
void AddSnapshotCommands(CLI::App* app, Context* context);  // fork, export, restore
void AddWatchCommand(CLI::App* app, Context* context);
void AddStepCommand(CLI::App* app, Context* context);
void AddStreamCommand(CLI::App* app, Context* context);
void AddRunCommand(CLI::App* app, Context* context);
void AddBenchCommand(CLI::App* app, Context* context);
void AddImportCommand(CLI::App* app, Context* context);
void AddTokenCommand(CLI::App* app, Context* context);  // token new
void AddHealthCommand(CLI::App* app, Context* context);

// The positional argument SESSION: "MODEL/ID" or "models/MODEL/sessions/ID"; `name` becomes the full name.
CLI::Option* AddSessionArgument(CLI::App* command, std::string* name);
// "models/MODEL" and "models/MODEL/sessions/ID" -> "MODEL" and "MODEL/ID", as people type them.
std::string ShortName(const std::string& name);

// --h FILE and --c FILE: a state kept in two .npy files.
struct StateFiles {
  std::string h;
  std::string c;
  void AddTo(CLI::App* command, const std::string& purpose);
  // Nothing when neither was given.
  absl::StatusOr<std::optional<State>> Read() const;
  absl::Status Write(const State& state) const;
};

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_LSTMCTL_COMMAND_H_
